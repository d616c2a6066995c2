"""Data sets: converts a finished export into the files that training and analysis tools read.

`convert` makes one, with a format of `formats`. It reads the export with `finished_export`, asks `choosing`
which records are wanted, counts in `counts`, writes with `written`, and describes the result in `conversion`.
Nothing below this room knows of it.
"""

"""Data sets: converts a finished export into the files that training and analysis tools read.

Nothing below this room knows of it.
"""

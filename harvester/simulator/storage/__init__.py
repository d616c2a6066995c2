"""The object store of the simulated platform: a file for every data unit, served from a port of its own."""

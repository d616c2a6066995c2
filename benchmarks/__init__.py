"""Measurements of harvester: the suite (`make bench`), and scripts for single rooms of the package."""

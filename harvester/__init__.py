"""harvester: all the labels of an Encord project to newline-delimited JSON."""

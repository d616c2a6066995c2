"""From a listing to the rows of a plan: read, sorted on disk, compared. Knows no target."""

"""The report: statistics of an export as JSON and as a page. It reads the target only, in one pass."""

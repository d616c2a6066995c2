"""The bench suite: exports measured as whole processes, side by side with the SDK used by hand."""

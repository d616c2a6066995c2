"""`harvester bench`: an export measured as a whole process, side by side with the SDK used by hand."""

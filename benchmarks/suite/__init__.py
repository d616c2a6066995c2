"""The bench suite: commands measured as whole processes, side by side with the SDK and other tools."""

"""Does nothing, like any payload that never opens Pipes."""

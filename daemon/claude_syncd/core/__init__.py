"""What syncing means: pure decisions over plain values, no clock, no randomness, no I/O."""

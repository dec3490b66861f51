"""The cut graph and the replayed tail."""

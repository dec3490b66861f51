"""The checks: one file each, and what single checks need beside it."""

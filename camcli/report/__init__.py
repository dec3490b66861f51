"""Results of a run for people: comparison figures."""

"""The search for something that images of a class have in common, and what it does to the model."""

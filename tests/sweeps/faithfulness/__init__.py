"""How faithful all methods are, of several models on the same photographs, against what they cost."""

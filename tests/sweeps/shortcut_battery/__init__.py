"""Does the check ``shortcut`` report planted shortcuts, and nothing else? See ``__main__`` for the command."""

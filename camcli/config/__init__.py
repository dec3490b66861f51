"""The settings of a run: the dataclass (``settings``), what its fields declare (``fields``), the TOML file (``file``),
text (``parse``)."""

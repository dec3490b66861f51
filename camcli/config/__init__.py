"""The settings of a run: the dataclass (``settings``), the TOML file (``file``), single values (``parse``)."""

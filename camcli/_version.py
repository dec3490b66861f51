"""The version, in a module of its own: what states it must not import the package."""

__version__ = "0.1.0"

"""How the documentation is built: ``sphinx-build -W -b html docs build/html``. Needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # the package, and the commands of the reference

import camcli  # noqa: E402

project = "cambatch"
copyright = "the authors of cambatch, MIT licence"  # noqa: A001
release = camcli.__version__
html_title = f"cam {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["notebooks"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_show_sourcelink = False

"""What run folders in stores hold."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from camcli.storage import file_system


def content(url: str) -> dict[str, bytes]:
    """Relative path and content of each object below a URL."""
    fs = file_system(url)
    paths = fs.find(url)
    root = fs._strip_protocol(url).rstrip("/")
    return {path.removeprefix(root + "/"): fs.cat_file(path) for path in paths}


def index_at(url: str) -> dict[str, Any]:
    document = json.loads(content(url)["index.json"])
    assert isinstance(document, dict)
    return document


def artefacts_at(url: str) -> dict[str, str]:
    objects = {name: data for name, data in content(url).items() if not name.startswith(("index.json", "shards/"))}
    return {name: hashlib.sha256(data).hexdigest() for name, data in objects.items()}

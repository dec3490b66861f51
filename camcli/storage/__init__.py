"""Files behind URLs (``s3://``, ``gs://``, ``hf://``, ``memory://``, ``https://`` …), read through fsspec.

Nothing of fsspec is imported before a URL is used. Local paths never come here; a ``file://`` URL becomes one first.
"""

from camcli.storage.errors import StorageError
from camcli.storage.filesystem import MOST_CONNECTIONS, file_system, forget_file_systems
from camcli.storage.paths import run_path
from camcli.storage.reading import (
    Listed,
    find,
    list_folder,
    open_parts,
    open_stream,
    read_bytes,
    require_store,
    version_in_store,
)
from camcli.storage.urls import (
    as_local,
    base_name,
    child,
    is_remote,
    is_url,
    is_web,
    join,
    mask_all,
    mask_text,
    masked,
    parent,
    scheme_of,
    without_query,
    without_slash,
)
from camcli.storage.writing import remove_below, require_writable, write_object

__all__ = [
    "MOST_CONNECTIONS", "Listed", "StorageError", "as_local", "base_name", "child", "file_system", "find",
    "forget_file_systems", "is_remote", "is_url", "is_web", "join", "list_folder", "mask_all", "mask_text", "masked",
    "open_parts", "open_stream", "parent", "read_bytes", "remove_below", "require_store", "require_writable",
    "run_path", "scheme_of", "version_in_store", "without_query", "without_slash",
    "write_object",
]  # fmt: skip

"""The file system behind a URL: made by fsspec, once for each scheme, and only when it is needed."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from camcli.errors import did_you_mean
from camcli.storage.errors import StorageError
from camcli.storage.retry import explain
from camcli.storage.urls import is_web, scheme_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MOST_CONNECTIONS = 256
"""How many connections a file system is allowed; a run opens as many as --connections."""
EXTRA = "pip install 'cambatch[cloud]'"

_OF_THE_EXTRA = ("s3", "s3a", "gs", "gcs", "http", "https", "hf")
_CONNECT_SECONDS, _SILENT_SECONDS = 10, 30
_creating = threading.Lock()


def file_system(url: str) -> AbstractFileSystem:
    """The file system of a URL; used by many threads.

    Its settings, such as the endpoint and the credentials, come from where fsspec and its library look for them:
    the environment, ``~/.config/fsspec``, ``~/.aws``.

    Raises:
        StorageError: no such scheme, or its package is not installed.
    """
    with _creating:
        return _file_system(scheme_of(url))


def forget_file_systems() -> None:
    """Make them again, for settings of the environment that have changed."""
    _file_system.cache_clear()


@functools.cache
def _file_system(scheme: str) -> AbstractFileSystem:
    import fsspec
    from fsspec.registry import known_implementations

    try:
        fs = fsspec.filesystem(scheme, **_options(scheme))
        if scheme in ("s3", "s3a"):
            fs.connect()  # once: many threads that begin together would each make a client
            fs.retries = 1  # the client repeats requests, and with_retries those that break off
    except ImportError as error:
        remedy = EXTRA if scheme in _OF_THE_EXTRA else known_implementations.get(scheme, {}).get("err", str(error))
        raise StorageError("unusable", f"{scheme}:// needs a package that is not installed: {remedy}") from error
    except ValueError as error:
        if scheme in known_implementations:
            raise explain(error, f"{scheme}://") from error
        hint = did_you_mean(scheme, known_implementations) or " Others are s3://, gs://, hf:// and https://."
        raise StorageError("unusable", f"no file system is called {scheme}://.{hint}") from error
    except Exception as error:  # each library checks its settings in its own way
        raise explain(error, f"{scheme}://") from error
    return fs


def _options(scheme: str) -> dict[str, Any]:
    """What is not left to the defaults of a file system; settings of the user win."""
    from fsspec.config import conf

    own: dict[str, Any] = conf.get(scheme, {})
    options: dict[str, Any] = {"use_listings_cache": False}  # a cache would hold the names of all images
    if scheme in ("s3", "s3a"):
        pool = {"max_pool_connections": MOST_CONNECTIONS}
        # With more, each object would be asked for its size before it is read.
        options |= {"config_kwargs": pool | own.get("config_kwargs", {}), "max_concurrency": 1}
    if is_web(f"{scheme}://"):
        options["get_client"] = _web_client
    return options | {key: own[key] for key in options if key in own and key != "config_kwargs"}


async def _web_client(**settings: Any) -> Any:
    """A session that notices a server which no longer answers, and allows as many connections as are asked for."""
    import aiohttp

    settings.pop("loop", None)
    own: dict[str, Any] = {
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS),
        "connector": aiohttp.TCPConnector(limit=MOST_CONNECTIONS),
    }
    return aiohttp.ClientSession(**own | settings)

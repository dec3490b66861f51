"""What is a URL, its parts, and what of it is shown."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys

import pytest

from camcli.storage import (
    StorageError,
    as_local,
    base_name,
    child,
    is_remote,
    is_url,
    join,
    mask_text,
    masked,
    parent,
    without_slash,
)


@pytest.mark.parametrize(
    ("text", "url", "remote"),
    [
        ("s3://b/x", True, True), ("HTTPS://h/x", True, True), ("file:///x", True, False), ("C://x", False, False),
        ("a/b.jpg", False, False), ("s3:/b", False, False), ("@s3://b", False, False),
    ],
)  # fmt: skip
def test_what_is_a_url(text: str, url: bool, remote: bool) -> None:
    assert (is_url(text), is_remote(text)) == (url, remote)


def test_file_urls_are_local_paths() -> None:
    assert as_local("file:///a/b") == "/a/b"
    assert as_local("file://localhost/a") == "/a"
    assert as_local("local:///a") == "/a"
    assert as_local("s3://b/a") == "s3://b/a"


@pytest.mark.parametrize(
    ("url", "name", "folder"),
    [
        ("s3://b/a/x y?.jpg", "x y?.jpg", "s3://b/a"), ("s3://b/a/", "a", "s3://b"), ("s3://b", "b", "s3://b"),
        ("https://h/a/x%20y.jpg?v=1#z", "x y.jpg", "https://h/a"), ("https://me:pw@h", "h", "https://me:pw@h"),
    ],
)  # fmt: skip
def test_parts(url: str, name: str, folder: str) -> None:
    assert (base_name(url), parent(url)) == (name, folder)


@pytest.mark.parametrize(
    ("folder", "path", "joined"),
    [
        ("s3://b/a", "x.jpg", "s3://b/a/x.jpg"), ("s3://b/a", "../x#?.jpg", "s3://b/x#?.jpg"),
        ("s3://b/a", "../../../x.jpg", "s3://b/x.jpg"), ("s3://b", "./c//x.jpg", "s3://b/c/x.jpg"),
        ("s3://b/a", "gs://c/x", "gs://c/x"), ("s3://b/a", "/local/x", "/local/x"), ("s3://b", "file:///x", "/x"),
        ("https://h/a", "b c.jpg?v=1", "https://h/a/b%20c.jpg?v=1"), ("https://h/a", "../x", "https://h/x"),
    ],
)  # fmt: skip
def test_join(folder: str, path: str, joined: str) -> None:
    assert join(folder, path) == joined


def test_children() -> None:
    assert child("s3://b/a/", "x#1.jpg") == "s3://b/a/x#1.jpg"
    assert child("https://h/a/", "x #1.jpg") == "https://h/a/x%20%231.jpg"
    assert child("https://h/a", "c", is_folder=True) == "https://h/a/c/"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@h/x", "https://***@h/x"), ("ftp://me:pw@h/x", "ftp://***@h/x"),
        ("https://h/x?X-Amz-Signature=ab&X-Amz-Expires=3&v=2", "https://h/x?X-Amz-Signature=***&X-Amz-Expires=***&v=2"),
        ("https://h/x?sv=1&se=2&sig=ab%2F&page=3", "https://h/x?sv=***&se=***&sig=***&page=3"),
        ("https://h/x?id=7&anything=" + 50 * "a", "https://h/x?id=7&anything=***"), ("https://h/x?" + 50 * "a", "https://h/x?***"),
        ("https://h/x?apikey=1;access_token=2", "https://h/x?apikey=***;access_token=***"),
        ("hf://datasets/a/b@main/x", "hf://datasets/a/b@main/x"), ("s3://b/x?sig=1", "s3://b/x?sig=1"),
        ("@https://h/l?token=1", "@https://h/l?token=***"), ("a/b?token=1", "a/b?token=1"),
    ],
)  # fmt: skip
def test_what_is_secret_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert masked(shown) == shown
    assert mask_text(f"cannot read '{url}', sorry") == f"cannot read '{shown}', sorry"


@pytest.mark.parametrize("password", ["it's", 'a"b', "<x>", "a@b'c", "'"])
def test_a_password_with_quotes_is_masked_as_a_whole(password: str) -> None:
    text = f"cannot read 'https://me:{password}@h/x' and s3://me:{password}@b/y"
    assert mask_text(text) == "cannot read 'https://***@h/x' and s3://***@b/y"


def test_slashes_at_the_end() -> None:
    assert without_slash("s3://b/a//") == "s3://b/a"
    assert without_slash("memory://") == "memory://"
    assert child("memory://", "a.jpg") == "memory://a.jpg"
    assert child("s3://b", "a.jpg") == "s3://b/a.jpg"


def test_errors_are_those_of_files() -> None:
    missing = StorageError("missing", "https://me:hush@h/x is not there")
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.cause) == (errno.ENOENT, "missing")
    assert "hush" not in f"{missing} {missing.strerror} {missing.args}"
    broken = pickle.loads(pickle.dumps(StorageError("broken", "it broke off")))
    assert not isinstance(broken, FileNotFoundError)
    assert (broken.errno, broken.strerror, broken.cause) == (errno.EIO, "it broke off", "broken")


def test_nothing_of_stores_is_imported_before_it_is_needed() -> None:
    program = "import sys, camcli.cli, camcli.storage, camcli.images; print([m for m in NAMES if m in sys.modules])"
    names = ["fsspec", "s3fs", "gcsfs", "aiohttp", "huggingface_hub", "botocore"]
    done = subprocess.run(
        [sys.executable, "-c", f"NAMES = {names}; {program}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

"""Stores for tests: one in memory, and an S3 server over real HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from camcli.storage import file_system, forget_file_systems, retry
from tests.conftest import photographs

from .servers import FaultyServer, files_below, s3_application


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[FaultyServer]:
    """An S3 server, found by the variables of the environment."""
    server = FaultyServer(s3_application())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "SECRET-VALUE", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": server.url, "AWS_MAX_ATTEMPTS": "1", "AWS_RETRY_MODE": "standard",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        yield server
        server.stop()
        forget_all()


@pytest.fixture
def s3(moto_server: FaultyServer) -> Iterator[FaultyServer]:
    """An S3 server with an empty bucket `bucket`."""
    moto_server.reset()
    fs = file_system("s3://")
    fs.mkdir("bucket")
    moto_server.reset()
    yield moto_server
    moto_server.reset()
    urlopen(Request(f"{moto_server.url}/moto-api/reset", method="POST")).close()


@pytest.fixture
def memory() -> Iterator[None]:
    fs = file_system("memory://")
    fs.store.clear()
    yield
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def forget_all() -> None:
    import s3fs

    forget_file_systems()
    s3fs.S3FileSystem.clear_instance_cache()


Upload = Callable[[Path, str], None]


@pytest.fixture
def upload() -> Upload:
    """Copies a local folder to a URL."""

    def copy(folder: Path, url: str) -> None:
        fs = file_system(url)
        for name, content in files_below(folder):
            fs.pipe_file(f"{url}/{name}", content)

    return copy


@pytest.fixture
def pictures(tmp_path: Path, made_once: Path) -> Path:
    """Photographs in class folders, with names of all kinds, a broken one and a file that is no image."""
    return Path(shutil.copytree(made_once, tmp_path / "pictures"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "pictures"
    names = ("cat/a.jpg", "cat/b b.png", "dog/ä#1.jpg", "dog/deep/c.jpg", "dog.jpg", "cup/100%.jpg", "cup/a.jpg")
    for number, (name, source) in enumerate(zip(names, photographs() * 2, strict=False)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.open(source).convert("RGB")
        picture.thumbnail((96 + number, 96))
        picture.save(folder / name)
    (folder / "flower").mkdir()
    (folder / "flower/broken.jpg").write_bytes((folder / "cat/a.jpg").read_bytes()[:700])
    (folder / "flower/notes.txt").write_text("no image")
    return folder

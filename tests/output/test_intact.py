from pathlib import Path

import pytest

from camcli.output.artefacts import ArtefactWriter, artefacts_intact

from .examples import item

PATH = "overlays/gradcam/a/x.jpg.jpg"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    ArtefactWriter(tmp_path).write(PATH, b"12345678")
    return tmp_path


def test_whole(run: Path) -> None:
    assert artefacts_intact(run, item())


def test_deleted(run: Path) -> None:
    (run / PATH).unlink()
    assert not artefacts_intact(run, item())


def test_cut_short(run: Path) -> None:
    (run / PATH).write_bytes(b"1234567")
    assert not artefacts_intact(run, item())


def test_replaced_by_a_folder(run: Path) -> None:
    (run / PATH).unlink()
    (run / PATH).mkdir()
    size = (run / PATH).stat().st_size
    assert not artefacts_intact(run, item(sizes={PATH: size}))


def test_named_but_without_size(run: Path) -> None:
    assert not artefacts_intact(run, item(sizes={}))


def test_nothing_was_saved(tmp_path: Path) -> None:
    assert artefacts_intact(tmp_path, item(maps=[], sizes={}))

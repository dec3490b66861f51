"""Images of stores give what the same images give from a disk."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from camcli.errors import SourceError
from camcli.images import Sources
from camcli.images.lists import Replay
from camcli.storage import file_system, read_bytes
from tests.conftest import TINY, Cam, artefacts, index_of, items

from .conftest import Upload
from .servers import FaultyServer

# Most of it is the same for all stores: over HTTP, only some of it is tested each time.
STORES = ("memory://bucket/in", "s3://bucket/in")
IN_BOTH = pytest.mark.parametrize("store", STORES, indirect=True)


@pytest.fixture(params=[STORES[0], pytest.param(STORES[1], marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty folder of a store."""
    url: str = request.param
    request.getfixturevalue("s3" if url.startswith("s3") else "memory")
    return url


def without_source(run_dir: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in item.items() if key != "source"} for item in items(run_dir)]


def names(*image_paths: str, **options: Any) -> list[str]:
    return [entry.image for entry in Sources(image_paths, **options)]


@IN_BOTH
def test_a_folder(tiny: Cam, store: str, pictures: Path, upload: Upload, tmp_path: Path) -> None:
    upload(pictures, store)
    here = tiny(pictures, "-o", tmp_path / "here")
    there = tiny(store, "-o", tmp_path / "there")
    assert (here.code, there.code) == (3, 3)
    assert without_source(tmp_path / "there") == without_source(tmp_path / "here")
    assert {item["source"] for item in items(tmp_path / "there")} == {store}
    assert artefacts(tmp_path / "there") == artefacts(tmp_path / "here")
    counts = index_of(tmp_path / "there")["counts"]
    assert counts == index_of(tmp_path / "here")["counts"]
    assert counts["labelled"] == 5
    assert counts["passed_over"] == 1


def test_every_form(store: str, pictures: Path, upload: Upload) -> None:
    upload(pictures, store)
    assert names(f"{store}/") == names(str(pictures))
    assert names(f"{store}/dog.jpg") == ["dog.jpg"]
    for pattern in ("*/*.jpg", "**/c.jpg", "c*", "*.txt", "*/notes.*t", "d?g/*.jpg"):
        assert names(f"{store}/{pattern}") == names(f"{pictures}/{pattern}"), pattern
    assert names(store, f"{store}/dog.jpg") == [*names(store), "dog.jpg#2"]
    assert names(store, limit=2) == names(store)[:2]


def test_lists_and_manifests(store: str, pictures: Path, upload: Upload, tmp_path: Path) -> None:
    upload(pictures, store)
    put(f"{store}/lists/all.txt", f"../dog.jpg\n{store}/cat/a.jpg\n\n{pictures}/cat/a.jpg\n")
    entries = list(Sources([f"@{store}/lists/all.txt"]))
    assert [entry.path for entry in entries] == [f"{store}/dog.jpg", f"{store}/cat/a.jpg", f"{pictures}/cat/a.jpg"]
    assert [entry.image for entry in entries] == ["../dog.jpg", f"{store}/cat/a.jpg", f"{pictures}/cat/a.jpg"]
    put(f"{store}/m.csv", "image,mask,label,avoid\ncat/a.jpg,cat/b b.png,dog,cat/b b.png\n")
    put(f"{store}/m.jsonl", json.dumps({"image": "cat/a.jpg", "mask": "cat/b b.png", "label": "dog"}))
    for name in ("m.csv", "m.jsonl"):
        (entry,) = Sources([f"{store}/{name}"])
        assert (entry.path, entry.mask, entry.label) == (f"{store}/cat/a.jpg", f"{store}/cat/b b.png", "dog")
    local = tmp_path / "list.txt"
    local.write_text(f"{store}/dog.jpg\npictures/dog.jpg\nfile://{pictures}/dog.jpg\n")
    here = f"{pictures}/dog.jpg"
    assert [entry.path for entry in Sources([f"@{local}"])] == [f"{store}/dog.jpg", here, here]
    stdin = io.StringIO(f"{store}/dog.jpg\n")
    assert [entry.path for entry in Sources(["-"], stdin=stdin)] == [f"{store}/dog.jpg"]
    assert list(Replay(stdin)) == []


def test_explained_with_masks_and_as_a_list(
    tiny: Cam, cam: Cam, store: str, pictures: Path, upload: Upload, tmp_path: Path
) -> None:
    upload(pictures, store)
    rows = "image,label,mask\ndog.jpg,dog,dog.jpg\ncat/a.jpg,cat,cat/a.jpg\nnone.jpg,cat,\n"
    put(f"{store}/m.csv", rows)
    (pictures / "m.csv").write_text(rows)
    for source, run in ((f"{store}/m.csv", "there"), (pictures / "m.csv", "here")):
        assert tiny(source, "-o", tmp_path / run).code == 3
    there, here = (without_source(tmp_path / run) for run in ("there", "here"))
    assert there[:2] == here[:2]
    assert there[2]["error"]["kind"] == here[2]["error"]["kind"] == "missing"
    checked = [cam("check", tmp_path / run, "--json").document["checks"] for run in ("there", "here")]
    values = [[(one["check"], one["status"], one["value"], one["n"], one["why"]) for one in each] for each in checked]
    assert values[0] == values[1]


def test_a_file_url_is_a_local_path(tiny: Cam, pictures: Path, tmp_path: Path) -> None:
    url = f"file://{pictures}"
    assert names(url) == names(str(pictures))
    assert tiny(f"{url}/dog.jpg", "-o", tmp_path / "run").code == 0
    assert items(tmp_path / "run")[0]["source"] == f"{url}/dog.jpg"


@IN_BOTH
def test_names_never_leave_the_run_folder(tiny: Cam, store: str, pictures: Path, tmp_path: Path) -> None:
    picture = (pictures / "dog.jpg").read_bytes()
    hostile = ["a\\b.jpg", "%2e%2e.jpg", "é*?[x].jpg", ("x" * 200) + ".jpg"]
    if store.startswith("s3"):
        hostile += ["../../up.jpg", "./here.jpg", "a/../b.jpg"]
    for name in hostile:
        if store.startswith("s3"):
            file_system(store).call_s3("put_object", Bucket="bucket", Key=f"in/{name}", Body=picture)
        else:
            file_system(store).pipe_file(f"{store}/{name}", picture)
    assert tiny(store, "-o", tmp_path / "deep/run").code == 0
    assert sorted(item["image"] for item in items(tmp_path / "deep/run")) == sorted(hostile)
    files = [one for item in items(tmp_path / "deep/run") for one in item["maps"][0]["files"].values() if one]
    assert len(set(files)) == 2 * len(hostile)
    assert all((tmp_path / "deep/run" / file).is_file() for file in files)
    assert [path.name for path in tmp_path.iterdir() if path.name != "pictures"] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]


def test_a_folder_and_a_file_of_one_name(s3: object) -> None:
    store = STORES[1]
    fs = file_system(store)
    for key in ("in/a.jpg", "in/a.jpg/b.jpg", "in/a.jpg-x.jpg", "in/empty/"):
        fs.call_s3("put_object", Bucket="bucket", Key=key, Body=b"x")
    assert names(store) == ["a.jpg", "a.jpg/b.jpg", "a.jpg-x.jpg"]
    fs.call_s3("put_object", Bucket="bucket", Key="in/c//d.jpg", Body=b"x")
    *_, nameless = Sources([store])
    assert nameless.image == "c/"
    assert nameless.problem is not None
    assert "objects with // in their names" in nameless.problem.message
    assert read_bytes(f"{store}/c//d.jpg") == b"x"


@IN_BOTH
def test_continued_without_a_request_for_each_image(
    tiny: Cam, store: str, pictures: Path, upload: Upload, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    upload(pictures, store)
    run = (store, "-o", tmp_path / "run", "--json")
    assert tiny(*run).document["explained_now"] == 8
    server = request.getfixturevalue("s3") if store.startswith("s3") else None
    if server:
        server.reset()
    assert tiny(*run).document["explained_now"] == 0
    if server:
        assert server.count("GET /bucket/in/|HEAD /bucket/in/") <= 1  # the first image, to examine the model
    file_system(store).pipe_file(f"{store}/cat/a.jpg", (pictures / "dog.jpg").read_bytes())
    assert tiny(*run).document["explained_now"] == 1
    assert items(tmp_path / "run")[0]["sha256"] != items(tmp_path / "run")[1]["sha256"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://nowhere/in", "there is no bucket nowhere"),
        ("s3://nowhere", "there is no bucket nowhere"),
        ("s3://", "a bucket or host is missing"),
        ("s3://bucket/nothing", "nothing of this name is there"),
        ("s3://bucket/nothing/", "cannot be listed (it is not there)"),
        ("s3://bucket/nothing/*.jpg", "cannot be listed (it is not there)"),
        ("@s3://bucket/nothing.txt", "no list is there"),
        ("@s3://bucket/in", "this is a folder"),
        ("s4://bucket/in", "no file system is called s4://"),
        ("abfs://bucket/in", "Install adlfs"),
        ("zip://a.jpg::s3://bucket/a.zip", "chained URLs"),
    ],
)
def test_refused_before_any_image(
    cam: Cam, s3: object, pictures: Path, upload: Upload, tmp_path: Path, path: str, words: str
) -> None:
    upload(pictures, "s3://bucket/in")
    outcome = cam("run", path, "-o", tmp_path / "run")
    assert outcome.code == 2
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_list_whose_store_cannot_be_used_is_refused(s3: object, tmp_path: Path) -> None:
    local = tmp_path / "list.txt"
    for line, words in (("s3://nowhere/a.jpg", "no bucket"), ("s4://x/a.jpg", "s4://"), ("abfs://x/a.jpg", "adlfs")):
        local.write_text(f"{line}\n" * 4)
        with pytest.raises(SourceError, match=words):
            list(Sources([f"@{local}"]))
    local.write_text("s3://bucket/none.jpg\nfile:///none.jpg\n")
    assert len(list(Sources([f"@{local}"]))) == 2


def test_without_credentials(cam: Cam, s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    outcome = cam("run", "s3a://bucket/in", "-o", tmp_path / "run")  # the same under another name: made only now
    s3fs.S3FileSystem.clear_instance_cache()
    assert outcome.code == 2
    assert "no valid credentials were found; set AWS_ACCESS_KEY_ID" in outcome.err


def test_without_the_extra(cam: Cam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    outcome = cam("run", "gs://bucket/in", "-o", tmp_path / "run")
    assert outcome.code == 2
    assert "gs:// needs a package that is not installed: pip install 'cambatch[cloud]'" in outcome.err


def put(url: str, text: str) -> None:
    file_system(url).pipe_file(url, text.encode())


def test_the_root_of_the_memory(memory: None, pictures: Path, upload: Upload) -> None:
    upload(pictures, "memory://")
    assert names("memory://") == names(str(pictures))
    assert names("memory://*/*.jpg") == names(f"{pictures}/*/*.jpg")
    assert names("memory://dog.jpg") == ["dog.jpg"]


def test_other_commands_read_the_images_again(
    tiny: Cam, cam: Cam, s3: FaultyServer, pictures: Path, upload: Upload, tmp_path: Path
) -> None:
    upload(pictures, STORES[1])
    run = tmp_path / "run"
    for source, folder in ((STORES[1], run), (pictures, tmp_path / "here")):
        assert tiny(source, "-o", folder).code == 3
        assert cam("render", folder, "--colormap", "hot").code == 0
    assert artefacts(run) == artefacts(tmp_path / "here")
    s3.reset()
    report = cam("report", run)
    assert report.code == 0
    assert "missing" not in report.out + report.err
    assert s3.count("GET /bucket/in/") == 6  # two have the same content
    assert "s3://bucket/in/cat/a.jpg" in "".join(p.read_text() for p in run.rglob("*.js*"))
    few = ("--method", "gradcam", "--metrics", "drop", "--limit", 2, "--no-baselines")
    assert cam("eval", STORES[1], *TINY, *few).code == 0

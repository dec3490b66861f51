"""Run folders in object stores hold what run folders on a disk hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from camcli.storage import file_system, writing
from tests.conftest import TINY, Cam, artefacts, index_of, items
from tests.faults.conftest import pictures as some_pictures
from tests.faults.forking import Forks

from .conftest import Upload
from .contents import artefacts_at, content, index_at
from .kills import kill_until
from .servers import FaultyServer

BATCH = ("--batch-size", 2)
RUNS = ("memory://bucket/run", "s3://bucket/run")
RUN = RUNS[1]
SECONDS = ("started", "finished", "timing", "command", "config")


@pytest.fixture(params=[RUNS[0], pytest.param(RUNS[1], marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest) -> str:
    """The URL of a run folder that is not there yet."""
    url: str = request.param
    request.getfixturevalue("s3" if url.startswith("s3") else "memory")
    return url


def same_as(url: str, run_dir: Path) -> None:
    """Check that two run folders hold the same."""
    assert index_at(url)["items"] == items(run_dir)
    here = {name: digest for name, digest in artefacts(run_dir).items() if not name.startswith("shards/")}
    assert artefacts_at(url) == here
    tops = [{k: v for k, v in top.items() if k not in SECONDS} for top in (index_at(url), index_of(run_dir))]
    assert tops[0] == tops[1]


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_a_run(tiny: Cam, cam: Cam, run: str, pictures: Path, tmp_path: Path) -> None:
    assert tiny(pictures, "-o", tmp_path / "run", *BATCH).code == 3
    outcome = tiny(pictures, "-o", run, *BATCH)
    assert outcome.code == 3
    assert f"{run} is in an object store, which has no locks: start only one process on it" in outcome.out
    assert f"results in {run}" in outcome.out
    same_as(run, tmp_path / "run")
    objects = content(run)
    assert [name for name in objects if "tmp" in name or "lock" in name] == []
    rows = objects["index.jsonl"].splitlines()
    assert rows[1:] == (tmp_path / "run/index.jsonl").read_bytes().splitlines()[1:]
    again = tiny(pictures, "-o", run, *BATCH, "--json")
    assert again.document["explained_now"] == 0
    assert content(run) == objects
    assert cam("merge", run).code == 3
    assert index_at(run)["items"] == items(tmp_path / "run")


def test_what_is_missing_or_changed_is_made_again(tiny: Cam, run: str, pictures: Path, tmp_path: Path) -> None:
    tiny(pictures, "-o", tmp_path / "run", *BATCH)
    command = (pictures, "-o", run, *BATCH, "--json")
    assert tiny(*command).document["explained_now"] == 8
    fs, files = file_system(run), [item["maps"][0]["files"] for item in index_at(run)["items"] if item["maps"]]
    fs.rm_file(f"{run}/{files[0]['overlay']}")
    fs.pipe_file(f"{run}/{files[2]['heatmap']}", b"cut short")
    assert tiny(*command).document["explained_now"] == 2
    same_as(run, tmp_path / "run")
    fs.rm_file(f"{run}/shards/units/00000001.jsonl")
    fs.rm_file(f"{run}/index.json")
    assert tiny(*command).document["explained_now"] == 2
    same_as(run, tmp_path / "run")
    damaged = content(run)["shards/units/00000000.jsonl"].replace(b'"ok"', b"")
    fs.pipe_file(f"{run}/shards/units/00000000.jsonl", damaged[:-5])
    assert tiny(*command).document["explained_now"] == 2
    same_as(run, tmp_path / "run")
    assert tiny(*command, "--retry-failed").document["explained_now"] == 1
    same_as(run, tmp_path / "run")


def test_another_configuration_is_refused_or_replaced(tiny: Cam, run: str, pictures: Path, tmp_path: Path) -> None:
    other = (pictures, *BATCH, "--method", "layercam", "--save", "heatmap")
    tiny(*other, "-o", tmp_path / "run")
    tiny(pictures, "-o", run, *BATCH)
    before = content(run)
    refused = tiny(*other, "-o", run)
    assert refused.code == 2
    assert 'config.method: ["gradcam"] → ["layercam"]' in refused.err
    assert tiny(pictures, "-o", run, *BATCH, "--no-resume").code == 2
    more = tiny(pictures, pictures / "dog.jpg", "-o", run, *BATCH)
    assert more.code == 2
    assert content(run) == before
    file_system(run).pipe_file(f"{run}/overlays/mine.txt", b"mine")
    assert tiny(*other, "-o", run, "--overwrite").code == 3
    file_system(run).rm_file(f"{run}/overlays/mine.txt")
    same_as(run, tmp_path / "run")
    assert not any(name.startswith("overlays") for name in content(run))
    assert tiny(*other, "-o", run, "--dry-run").code == 0


def test_inputs_and_outputs_in_one_store(tiny: Cam, run: str, pictures: Path, upload: Upload, tmp_path: Path) -> None:
    top = run.rpartition("/")[0]
    upload(pictures, f"{top}/in")
    tiny(pictures, "-o", tmp_path / "run", *BATCH)
    for image_path in (f"{top}/in", top):  # the run folder is in the second one, and is not entered
        out = run if image_path != top else f"{top}/run2"
        assert tiny(image_path, "-o", out, *BATCH).code == 3
        found = [{**item, "source": "", "image": "", "maps": "", "sizes": ""} for item in index_at(out)["items"]]
        assert found == [
            {**item, "source": "", "image": "", "maps": "", "sizes": ""} for item in items(tmp_path / "run")
        ]
    inside = tiny(f"{run}/overlays", "-o", run, *BATCH)
    assert inside.code == 2
    assert "lies in the run folder" in inside.err


def test_shards(tiny: Cam, cam: Cam, run: str, pictures: Path, tmp_path: Path) -> None:
    tiny(pictures, "-o", tmp_path / "run", *BATCH)
    for shard in ("0/2", "1/2"):
        assert cam("merge", run).code in (1, 2)
        assert tiny(pictures, "-o", run, *BATCH, "--shard", shard).code in (0, 3)
    assert tiny(pictures, "-o", run, *BATCH, "--shard", "1/2", "--json").document["explained_now"] == 0
    assert cam("merge", run).code == 3
    same_as(run, tmp_path / "run")


@pytest.mark.parametrize(
    "fault", ["cut_request", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fail", "hang_up"))]
)
def test_uploads_that_break_off_once(tiny: Cam, s3: FaultyServer, pictures: Path, tmp_path: Path, fault: str) -> None:
    tiny(pictures, "-o", tmp_path / "run", *BATCH)
    for name in ("overlays", "shards/units/00000001.jsonl", "index.jsonl", "index.json$", "shards/plan.json"):
        getattr(s3, fault)(f"PUT /bucket/run/{name}", 1)
    assert tiny(pictures, "-o", "s3://bucket/run", *BATCH).code == 3
    same_as("s3://bucket/run", tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "kept"),
    [("overlays/gradcam/dog/", 4), *(pytest.param(*one, marks=pytest.mark.slow) for one in (
        ("shards/units/00000002", 4), ("shards/plan", 0), ("index.jsonl", 8), ("index.json$", 8), ("shards/0-of-1", 8),
    ))],
)  # fmt: skip
def test_uploads_that_break_off_for_ever(
    tiny: Cam, s3: FaultyServer, pictures: Path, tmp_path: Path, name: str, kept: int
) -> None:
    tiny(pictures, "-o", tmp_path / "run", *BATCH)
    s3.cut_request(f"PUT /bucket/run/{name}")
    run = ("s3://bucket/run", *BATCH)
    outcome = tiny(pictures, "-o", *run)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert f"cannot write s3://bucket/run/{name.rstrip('$')}" in outcome.err
    assert "What was finished is kept: repeat the same command" in outcome.err
    assert not any(name.rstrip("$") == found for found in content("s3://bucket"))
    s3.reset()
    assert tiny(pictures, "-o", *run, "--json").document["explained_now"] <= 8 - kept
    same_as("s3://bucket/run", tmp_path / "run")


@pytest.mark.slow
def test_a_large_index_is_sent_in_parts(
    tiny: Cam, s3: FaultyServer, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "IN_MEMORY", 1000)
    tiny(pictures, "-o", tmp_path / "run", *BATCH)
    s3.fail("PUT /bucket/run/index.json$", 1)
    assert tiny(pictures, "-o", "s3://bucket/run", *BATCH).code == 3
    same_as("s3://bucket/run", tmp_path / "run")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://nowhere/run", "there is no bucket nowhere"), ("https://example.org/run", "cannot be written to"),
        ("s4://bucket/run", "no file system is called s4://"), ("sftp://host/run", "sftp://"),
        ("s3://bucket/file", "an object of this name is there"), ("hf://datasets/a/b", "each file would be a commit"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_written_is_refused(cam: Cam, s3: object, pictures: Path, url: str, words: str) -> None:
    file_system("s3://").pipe_file("s3://bucket/file", b"x")
    outcome = cam("run", pictures, "-o", url)
    assert outcome.code == 2
    assert f"--output-dir {url}: " in outcome.err
    assert words in outcome.err


def test_without_permission_to_write(tiny: Cam, s3: FaultyServer, pictures: Path) -> None:
    s3.fail("PUT", status=403)
    outcome = tiny(pictures, "-o", "s3://bucket/run", *BATCH)
    assert outcome.code == 1
    assert "access was denied (HTTP 403" in outcome.err
    s3.fail("", status=403)
    assert tiny(pictures, "-o", "s3://bucket/run", *BATCH).code == 2


def test_artefacts_are_sent_at_once(tiny: Cam, s3: FaultyServer, pictures: Path) -> None:
    s3.delay = 0.05
    assert tiny(pictures / "cat", "-o", "s3://bucket/run", *BATCH, "--workers", 1, "--connections", 2).code == 0
    assert s3.most_writes_at_once == 2


def test_commands_on_a_run_in_a_store(tiny: Cam, cam: Cam, s3: object, pictures: Path) -> None:
    assert tiny(pictures / "dog.jpg", "-o", RUN).code == 0
    for command in (("check", RUN), ("report", RUN), ("render", RUN, "--colormap", "hot"), ("diff", RUN, RUN)):
        outcome = cam(*command)
        assert outcome.code == 2
        assert f"Copy it, and name the copy: aws s3 sync {RUN} RUN" in outcome.err


@pytest.mark.parametrize(
    "command",
    [("check", "-o", RUN), ("eval", "--output-dir", RUN), ("run", "-o", RUN, "--sheet", "x.jpg")],
    ids=lambda command: command[0],
)  # fmt: skip
def test_what_needs_a_disk_is_refused_at_the_start(
    cam: Cam, s3: object, pictures: Path, command: tuple[str, ...]
) -> None:
    outcome = cam(command[0], pictures, *command[1:])
    assert outcome.code == 2
    assert "needs the run folder on a disk. Name a folder there." in outcome.err
    assert content("s3://bucket") == {}


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_at_random_requests(forks: Forks, s3: FaultyServer, tmp_path: Path, kills: int) -> None:
    photos = some_pictures(tmp_path / "photos", 8)
    (photos / "0003.jpg").write_bytes((photos / "0003.jpg").read_bytes()[:300])
    assert kill_until(kills, forks, s3, photos) == kills


@pytest.mark.slow
def test_several_processes(cam: Cam, s3: object, pictures: Path, tmp_path: Path) -> None:
    outcome = cam("run", pictures, "-o", RUN, *BATCH, *TINY, "--processes", 2)
    assert outcome.code == 3, outcome.err
    assert cam("run", pictures, "-o", tmp_path / "run", *BATCH, *TINY).code == 3
    same_as(RUN, tmp_path / "run")
    assert cam("run", pictures, "-o", "memory://run", *TINY, "--processes", 2).code == 2


@pytest.mark.parametrize("option", ["--csv", "--checkpoint", "--class-names"])
def test_other_files_are_no_urls(cam: Cam, pictures: Path, tmp_path: Path, option: str) -> None:
    outcome = cam("run", pictures, "-o", tmp_path / "run", option, "s3://bucket/x")
    assert outcome.code == 2
    assert f"{option} s3://bucket/x: only images and the run folder may be URLs" in outcome.err


def test_tars(tiny: Cam, run: str, pictures: Path, tmp_path: Path) -> None:
    tiny(pictures, "-o", tmp_path / "run", *BATCH, "--save-to", "tar")
    command = (pictures, "-o", run, *BATCH, "--save-to", "tar", "--json")
    assert tiny(*command).document["explained_now"] == 8
    same_as(run, tmp_path / "run")
    assert tiny(*command).document["explained_now"] == 0
    file_system(run).rm_file(f"{run}/tar/00000001.tar")
    assert tiny(*command).document["explained_now"] == 2
    same_as(run, tmp_path / "run")

"""``--engine ray``: the index of one process, on a real cluster of this machine, whose workers are really killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines import ray_workers
from camcli.engines.ray_cluster import size_of_workers
from camcli.engines.unit_worker import Done, Place, Ready, Refused, Survived, UnitWorker
from camcli.errors import CamError, ConfigError, OutputError
from camcli.output import UnitFiles, open_units
from camcli.pipeline.folder import list_inputs
from camcli.pipeline.inputs import list_sources
from camcli.pipeline.stream import Watcher
from camcli.schemas.index import ImageRow
from tests.conftest import Cam, index_of, items
from tests.faults.forking import Forks

from . import conftest
from .conftest import BATCH, artefacts_of, explain, make_mixed, rows_of
from .forked import ForkServer, stand_in_for_python
from .models import POISONED

ray = pytest.importorskip("ray")
MODEL = ("--model", "factory:tests.engines.models:build_slow", "--input-size", 64, *BATCH)
ON_RAY = ("--engine", "ray", "--cpus-per-worker", 1)


def start_cluster(python: str | None = None) -> None:
    """A cluster of two cores, of which the tests are the program that calls us.

    Args:
        python: the command of the interpreter of this program's workers.
    """
    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=100 << 20, runtime_env={"py_executable": python} if python else None,
        # No workers that nobody asked for, and patience where the machine is busy.
        _system_config={"prestart_worker_first_driver": False, "worker_register_timeout_seconds": 600},
    )  # fmt: skip


@pytest.fixture(scope="module")
def cluster(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster whose workers are forked with everything imported, instead of started anew."""
    with ForkServer(forks) as server:
        start_cluster(stand_in_for_python(server, tmp_path_factory.mktemp("python")))
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all tests share."""
    return make_mixed(tmp_path_factory.mktemp("images") / "mixed")


@pytest.fixture(scope="module")
def one(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert explain(settings(mixed, folder, engine="local", cpus_per_worker=None)).exit_code == 3
    return folder


def settings(images: Path, run_dir: Path, **more: object) -> RunConfig:
    return conftest.settings(images, run_dir, **{"engine": "ray", "cpus_per_worker": 1} | more)


class Events(Watcher):
    """Records what is said, and acts at a row."""

    def __init__(self, at: int = -1, act: Callable[[], object] | None = None) -> None:
        self.at, self.act = at, act
        self.rows, self.earlier = 0, 0
        self.notes: list[str] = []

    def row(self, row: ImageRow) -> None:
        self.rows += 1
        if self.rows == self.at and self.act is not None:
            self.act()

    def skipped(self, count: int) -> None:
        self.earlier += count

    def note(self, line: str) -> None:
        self.notes.append(line)


def workers() -> list[int]:
    """The processes of the actors of this cluster: those that write into its logs."""
    logs, found = ray._private.worker.global_worker.node.get_session_dir_path(), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::UnitWorker") and any(
                os.readlink(file).startswith(logs) for file in (path.parent / "fd").iterdir()
            ):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def kill_one() -> None:
    os.kill(random.choice(workers()), signal.SIGKILL)


def assert_same(run_dir: Path, one: Path) -> None:
    assert items(run_dir) == items(one)
    assert rows_of(run_dir) == rows_of(one)
    assert without_units(artefacts_of(run_dir)) == artefacts_of(one)
    assert index_of(run_dir)["counts"] == index_of(one)["counts"]
    assert index_of(run_dir)["status"] == "complete"
    assert not list(run_dir.rglob(".*"))


def without_units(artefacts: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in artefacts.items() if not path.startswith("shards/")}


@pytest.mark.usefixtures("cluster")
def test_the_command_gives_what_one_process_gives(cam: Cam, mixed: Path, one: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = cam("run", mixed, *MODEL, *ON_RAY, "-o", run_dir, "--csv", tmp_path / "maps.csv")
    assert done.code == 3
    assert "2 workers of 1 CPU core on 1 machine of a Ray cluster" in done.out
    assert "\nlayer    " in done.out
    assert "16 images: 12 explained, 4 failed" in done.out
    assert_same(run_dir, one)
    config = index_of(run_dir)["config"]
    assert (config["engine"], config["processes"], config["cpus_per_worker"]) == ("ray", "2", 1.0)
    assert len((tmp_path / "maps.csv").read_text().splitlines()) == 17
    # With one worker: nothing is left for another one, whose start takes seconds.
    again = cam("run", mixed, *MODEL, *ON_RAY, "--cpus-per-worker", 2, "-o", run_dir, "--json")
    assert (again.code, again.document["explained_now"]) == (3, 0)
    assert_same(run_dir, one)


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed_is_replaced(
    mixed: Path, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers, "_PATIENCE", 0)
    watch = Events(random.Random().randint(1, 8), kill_one)
    summary = explain(settings(mixed, tmp_path / "run"), watch)
    assert summary.exit_code == 3
    assert (summary.explained, watch.rows) == (16, 16)
    assert_same(tmp_path / "run", one)
    assert sum("still waiting for the first worker" in note for note in watch.notes) == 1


@pytest.mark.slow  # two more nodes are started
def test_a_node_that_is_lost_costs_nothing(mixed: Path, one: Path, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    lost = nodes.add_node(num_cpus=1, object_store_memory=100 << 20)
    try:
        ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
        watch = Events(3, lambda: nodes.remove_node(lost, allow_graceful=False))
        assert explain(settings(mixed, tmp_path / "run"), watch).exit_code == 3
        assert watch.rows == 16
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert_same(tmp_path / "run", one)


@pytest.mark.usefixtures("cluster")
def test_an_image_that_ends_every_worker_is_named(mixed: Path, tmp_path: Path) -> None:
    photos = tmp_path / "mixed"
    photos.mkdir()
    for path in sorted(mixed.iterdir())[:9]:
        (photos / path.name).write_bytes(path.read_bytes())
    how = {"model": "factory:tests.engines.models:build_poisoned", "input_size": None}
    explain(settings(photos, tmp_path / "one", engine="local", cpus_per_worker=None, **how))
    Image.new("RGB", POISONED).save(photos / "02.jpg")
    watch = Events()
    # One worker, of both cores: each that is started costs seconds.
    assert explain(settings(photos, tmp_path / "run", cpus_per_worker=2, **how), watch).exit_code == 3
    *others, fatal = sorted(items(tmp_path / "run"), key=lambda item: item["image"] == "02.jpg")
    assert fatal["error"]["kind"] == "worker-died"
    assert "explaining this image ended its worker 2 times" in fatal["error"]["message"]
    assert others == items(tmp_path / "one")
    assert sum("a worker was lost at unit 1" in note for note in watch.notes) == 2
    assert sum("unit 1 has ended 2 workers: its images are tried one by one" in note for note in watch.notes) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_run_that_is_stopped_goes_on_with_the_same_command(mixed: Path, one: Path, tmp_path: Path) -> None:
    stop, run_dir = Stop(), tmp_path / "run"
    summary = explain(settings(mixed, run_dir), Events(2, lambda: stop.request(signal.SIGINT)), stop)
    assert (summary.status, summary.exit_code) == ("interrupted", 130)
    partial = index_of(run_dir)
    assert partial["status"] == "interrupted"
    assert 2 <= len(partial["items"]) == summary.explained < 16
    assert not (run_dir / "index.jsonl").exists()
    watch = Events()
    assert explain(settings(mixed, run_dir), watch).exit_code == 3
    assert (watch.earlier, watch.rows) == (summary.explained, 16 - summary.explained)
    assert_same(run_dir, one)


@pytest.mark.usefixtures("cluster")
def test_what_is_wrong_is_said_before_any_image(cam: Cam, mixed: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        outcome = cam("run", mixed, *MODEL, *ON_RAY, "-o", tmp_path / "run", *arguments)
        assert outcome.code == 2
        assert not (tmp_path / "run").exists()
        return " ".join(outcome.err.split())

    assert "no layer 'nowhere'" in refused("--layer", "nowhere")
    assert "no machine of the cluster has room for a worker of 1 CPU cores and 1 GPUs" in refused("--device", "cuda")
    assert "has room for a worker of 64 CPU cores" in refused("--cpus-per-worker", 64)
    assert "--engine ray and --shard contradict each other" in refused("--shard", "0/2")
    only_ray = cam("run", mixed, "-o", tmp_path / "run", "--ray-address", "auto")
    assert (only_ray.code, "--ray-address is for --engine ray" in only_ray.err) == (2, True)


def test_what_is_missing_is_named(cam: Cam, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = cam("run", mixed, *MODEL, *ON_RAY, "-o", tmp_path / "run")
    assert outcome.code == 2
    assert "Ray is not installed. pip install ray (the extra ray" in " ".join(outcome.err.split())


def nodes(*sizes: tuple[float, float]) -> list[dict[str, float]]:
    return [{"CPU": cpus, "GPU": gpus} for cpus, gpus in sizes]


@pytest.mark.parametrize(
    ("cluster_nodes", "flags", "expected"),
    [
        (nodes((16, 1)), {}, (1, 16, 1)),
        (nodes((32, 4), (32, 4)), {}, (1, 8, 8)),
        (nodes((16, 1)), {"gpus_per_worker": 0.25}, (0.25, 4, 4)),
        (nodes((16, 1)), {"device": "cpu"}, (0, 4, 4)),
        (nodes((2, 0)), {}, (0, 2, 1)),
        (nodes((2, 0), (9, 0)), {}, (0, 4, 2)),
        (nodes((2, 0)), {"cpus_per_worker": 0.5}, (0, 0.5, 4)),
        (nodes((8, 0)), {"processes": "7"}, (0, 4, 7)),
        (nodes((2, 0)), {"processes": "3", "cpus_per_worker": 4, "ray_address": "auto"}, (0, 4, 3)),
        (nodes((8, 1)), {"device": "cuda", "cpus_per_worker": 2}, (1, 2, 1)),
    ],
)
def test_workers_fill_the_cluster(
    cluster_nodes: list[dict[str, float]], flags: dict[str, Any], expected: tuple[float, float, int]
) -> None:
    size = size_of_workers(RunConfig(image_path=("x",), engine="ray", **flags), cluster_nodes)
    assert (size.gpus, size.cpus, size.count) == expected


def test_a_cluster_of_ones_own_does_not_grow() -> None:
    config = RunConfig(image_path=("x",), engine="ray", processes="3", cpus_per_worker=4)
    with pytest.raises(ConfigError, match="no machine of the cluster has room"):
        size_of_workers(config, nodes((2, 0)))


def test_a_worker_without_the_gpu_that_is_asked_for_is_refused() -> None:
    config = RunConfig(image_path=("x",), engine="ray", device="cuda", gpus_per_worker=0)
    with pytest.raises(ConfigError, match="contradict each other"):
        size_of_workers(config, nodes((8, 1)))


@pytest.mark.usefixtures("cluster")
def test_the_head_is_killed_and_started_again(mixed: Path, one: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [str(argument) for argument in ("run", mixed, *MODEL, *ON_RAY, "-o", run_dir)]
    # Its workers are started anew, as those of every user are.
    with (tmp_path / "err").open("w") as err:
        head = subprocess.Popen(
            [sys.executable, "-m", "camcli", *arguments, "--ray-address", ray.get_runtime_context().gcs_address],
            stdout=subprocess.DEVNULL, stderr=err,
        )  # fmt: skip
    units = run_dir / "shards/units"
    while not list(units.glob("*.jsonl")):
        assert head.poll() is None, (tmp_path / "err").read_text()
        time.sleep(0.01)
    head.kill()
    head.wait()
    assert not (run_dir / "index.json").exists()
    watch = Events()
    assert explain(settings(mixed, run_dir), watch).exit_code == 3
    assert watch.earlier >= 2
    assert watch.earlier + watch.rows == 16
    assert_same(run_dir, one)


@pytest.mark.slow  # eight workers are started, one after the other
@pytest.mark.usefixtures("cluster")
def test_workers_that_always_end_are_not_the_fault_of_images(mixed: Path, tmp_path: Path) -> None:
    """Memory that is too small ends a worker at any image: none is named, and the run ends."""
    photos, how = tmp_path / "poison", {"model": "factory:tests.engines.models:build_poisoned", "input_size": None}
    photos.mkdir()
    (photos / "00.png").write_bytes((mixed / "00.png").read_bytes())
    for number in range(1, 8):
        Image.new("RGB", POISONED).save(photos / f"{number:02}.png")
    with pytest.raises(CamError, match=r"workers end at every image .*03\.png the last one"):
        explain(settings(photos, tmp_path / "run", batch_size="4", **how))
    assert index_of(tmp_path / "run")["items"] == []


@pytest.mark.usefixtures("cluster")
def test_a_run_folder_that_is_not_shared_is_said(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(files: UnitFiles, number: int) -> list[bytes]:
        raise OutputError(f"cannot read the file of unit {number}")

    monkeypatch.setattr(UnitFiles, "read", away)
    with pytest.raises(CamError, match="must be on a file system that all machines of the cluster share"):
        explain(settings(mixed, tmp_path / "run", cpus_per_worker=2))


def test_an_address_without_a_cluster_is_refused(cam: Cam, mixed: Path, tmp_path: Path) -> None:
    if ray.is_initialized():
        ray.shutdown()
    outcome = cam("run", mixed, *MODEL, *ON_RAY, "-o", tmp_path / "run", "--ray-address", "nonsense")
    assert outcome.code == 2
    message = " ".join(outcome.err.split())
    assert "--ray-address nonsense: no Ray cluster could be reached" in message
    assert "If the cluster asks for a token, set RAY_AUTH_MODE=token." in message


def test_a_worker_explains_units_and_images(mixed: Path, one: Path, tmp_path: Path) -> None:
    """What an actor does, in this process."""
    run_dir = tmp_path / "run"
    config = settings(mixed, run_dir, engine="local", cpus_per_worker=None)
    worker = UnitWorker(config, ("cam", "run"), Place.here())
    ready = worker.prepare(None, str)
    assert isinstance(ready, Ready)
    assert ready.description.startswith("Setup(")
    sources = list_sources(config)
    with open_units(run_dir, ready.header, list_inputs(sources)) as folder:
        entries = list(sources)[2:4]
        assert worker.explain_alone(folder.plan, entries[0]) == Survived()
        assert not folder.files.done
        first = worker.explain(folder.plan, 1, entries, {})
        earlier = {0: folder.files.read(1)[0]}
        done = worker.explain(folder.plan, 1, entries[1:], earlier)
        assert isinstance(first, Done)
        assert isinstance(done, Done)
        rows = folder.files.read(1)
    assert first.sha256 == done.sha256
    assert done.sha256 == hashlib.sha256(b"\n".join(rows)).hexdigest()
    assert [json.loads(line) for line in rows] == items(one)[2:4]


def test_a_worker_says_what_is_wrong_where_it_is(mixed: Path, tmp_path: Path) -> None:
    config = settings(mixed, tmp_path / "run", engine="local", cpus_per_worker=None, layer="nowhere")

    def refusal(place: Place) -> Refused:
        refused = UnitWorker(config, (), place).prepare(None, None)
        assert isinstance(refused, Refused)
        assert refused.error.exit_code == 2
        return refused

    here = Place.here()
    assert "nowhere" in refusal(here).message
    assert "the working directory /not/here is not there on" in refusal(replace(here, folder="/not/here")).message
    assert "Install the same version on all" in refusal(replace(here, version="0.0")).message


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_tars_are_those_of_one_process(mixed: Path, tmp_path: Path) -> None:
    explain(settings(mixed, tmp_path / "one", engine="local", cpus_per_worker=None, save_to="tar"))
    explain(settings(mixed, tmp_path / "run", save_to="tar"))
    assert tars_of(tmp_path / "run") == tars_of(tmp_path / "one") != {}
    assert items(tmp_path / "run") == items(tmp_path / "one")
    tar = tmp_path / "run/tar/00000002.tar"
    tar.unlink()
    assert explain(settings(mixed, tmp_path / "run", save_to="tar")).explained == 2
    assert tars_of(tmp_path / "run") == tars_of(tmp_path / "one")


def tars_of(run_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run_dir / "tar").iterdir()}


@pytest.mark.slow  # six workers are started
@pytest.mark.usefixtures("cluster")
def test_a_tar_with_an_image_that_ends_every_worker(mixed: Path, tmp_path: Path) -> None:
    """The tar of its unit is written, with the row of the image and without its pictures."""
    photos, how = tmp_path / "mixed", {"model": "factory:tests.engines.models:build_poisoned", "input_size": None}
    photos.mkdir()
    for path in sorted(mixed.iterdir())[:9]:
        (photos / path.name).write_bytes(path.read_bytes())
    explain(settings(photos, tmp_path / "one", engine="local", cpus_per_worker=None, save_to="tar", **how))
    Image.new("RGB", POISONED).save(photos / "02.jpg")
    assert explain(settings(photos, tmp_path / "run", save_to="tar", **how)).exit_code == 3
    *others, fatal = sorted(items(tmp_path / "run"), key=lambda item: item["image"] == "02.jpg")
    assert fatal["error"]["kind"] == "worker-died"
    assert [item["predictions"] for item in others] == [item["predictions"] for item in items(tmp_path / "one")]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_what_does_not_stand_is_explained_again(mixed: Path, one: Path, tmp_path: Path) -> None:
    """An artefact and the file of a unit that are gone, a damaged one, images that failed, the index of before."""
    run_dir = tmp_path / "run"
    assert explain(settings(mixed, run_dir)).explained == 16
    (run_dir / items(run_dir)[2]["maps"][0]["files"]["overlay"]).unlink()
    (run_dir / "shards/units/00000003.jsonl").unlink()
    damaged = run_dir / "shards/units/00000005.jsonl"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert explain(settings(mixed, run_dir)).explained == 1 + 2 + 2
    assert_same(run_dir, one)
    assert explain(settings(mixed, run_dir, retry_failed=True)).explained == 4
    assert_same(run_dir, one)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_image_that_stops_a_run_is_said(cam: Cam, mixed: Path, tmp_path: Path) -> None:
    stopped = cam("run", mixed, *MODEL, *ON_RAY, "-o", tmp_path / "run", "--fail-fast")
    assert stopped.code == 1
    assert "the file is empty (0 bytes)" in stopped.err

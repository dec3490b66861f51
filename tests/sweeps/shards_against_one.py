"""Every way to share out a run against one process, on real photographs with bad files among them.

``python -m tests.sweeps.shards_against_one [--images FOLDER] [--numbers 1,2,3,7] [--ways shard,processes,…]`` prints a
table: whether the items of the index, the rows of the journal and the bytes of every artefact are those of one process.
It ends with exit code 1 where they are not. Shards and processes are forked from a process that has everything
imported; torchrun starts its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from camcli.images.entry import has_image_extension
from tests.conftest import SAMPLES, index_of, items
from tests.engines.conftest import artefacts_of, rows_of
from tests.engines.forked import ForkedCam, ForkServer

WAYS = ("shard", "processes", "torchrun", "slurm", "ray")
_FAILED = 3


def with_bad_files(folder: Path, images: Path) -> int:
    """Copy photographs, with files among them that cannot be read: at the beginning, in a row, at the end."""
    paths = sorted(path for path in images.rglob("*") if has_image_extension(path.name))
    for count, path in enumerate(paths, 1):
        target = folder / path.relative_to(images)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        if count % 17 == 1:
            target.with_name(f"{target.stem}-empty.jpg").write_bytes(b"")
            target.with_name(f"{target.stem}-text.jpg").write_text("no image")
            target.with_name(f"{target.stem}-cut.jpg").write_bytes(path.read_bytes()[:2000])
    (folder / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "~.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return len(paths)


class Sweep:
    """Runs one command in different ways.

    Args:
        server: forks the processes.
        command: of ``cam``, without a run folder.
    """

    def __init__(self, server: ForkServer, command: list[object]) -> None:
        self.server, self.command = server, command

    def one(self, out: Path) -> None:
        self._finish(self._cam(out))

    def shard(self, out: Path, count: int) -> None:
        for index in range(count):
            self._cam(out, "--shard", f"{index}/{count}")
        self._finish(self.server.run(["merge", out]))

    def processes(self, out: Path, count: int) -> None:
        self._finish(self._cam(out, "--processes", count))

    def slurm(self, out: Path, count: int) -> None:
        for index in range(count):
            variables = {"SLURM_PROCID": str(index), "SLURM_NTASKS": str(count), "SLURM_LOCALID": str(index)}
            self._cam(out, "--shard", "auto", before=f"import os; os.environ.update({variables!r})")
        self._finish(self.server.run(["merge", out]))

    def torchrun(self, out: Path, count: int) -> None:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "-m", "camcli"]
        self._call([*launcher, *map(str, self.command), "-o", str(out), "--shard", "auto"], (0, 1))

    def ray(self, out: Path, count: int) -> None:
        more = ["--engine", "ray", "--processes", str(count), "--cpus-per-worker", str((os.cpu_count() or 1) / count)]
        self._call([sys.executable, "-m", "camcli", *map(str, self.command), "-o", str(out), *more], (_FAILED,))

    def _cam(self, out: Path, *more: object, before: str = "") -> ForkedCam:
        running = self.server.run([*self.command, "-o", out, *more], before=before)
        assert running.returncode in (0, _FAILED), running.err
        return running

    def _finish(self, running: ForkedCam) -> None:
        assert running.returncode == _FAILED, running.err

    def _call(self, command: list[str], codes: tuple[int, ...]) -> None:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode in codes, ended.stderr


def compare(out: Path, one: Path) -> tuple[bool, bool, bool]:
    """Whether the items, the rows of the journal and the artefacts are the same."""
    return items(out) == items(one), rows_of(out) == rows_of(one), _artefacts(out) == _artefacts(one)


def _artefacts(run_dir: Path) -> dict[str, bytes]:
    """Overlays and raw maps, or tars of them; not the rows of units."""
    return {name: content for name, content in artefacts_of(run_dir).items() if not name.startswith("shards/")}


def cases(ways: list[str], numbers: list[int]) -> Iterator[tuple[str, int]]:
    for way in ways:
        if way == "ray" and importlib.util.find_spec("ray") is None:
            print("ray is not installed: left out", file=sys.stderr)
            continue
        # torchrun counts its processes itself; one is enough to know that it does, and costs a start each.
        yield from ((way, count) for count in ([2] if way == "torchrun" else numbers))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=SAMPLES)
    parser.add_argument("--numbers", default="1,2,3,7")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--save-to", default="folder", help="tar: artefacts in tars")
    arguments = parser.parse_args()
    numbers = [int(number) for number in arguments.numbers.split(",")]
    os.environ["OMP_NUM_THREADS"] = "1"  # with another number convolutions add up in another order
    is_same = True
    with tempfile.TemporaryDirectory() as name, ForkServer() as server:
        folder = Path(name)
        count = with_bad_files(folder / "photos", arguments.images)
        command = ["run", folder / "photos", "--model", arguments.model, "--save", "overlay,raw", "--device", "cpu"]
        command += ["--save-to", arguments.save_to]
        sweep = Sweep(server, command)
        sweep.one(folder / "one")
        counts = index_of(folder / "one")["counts"]
        print(f"{count} photographs; {counts['ok']} explained, {counts['failed']} failed; {arguments.model}")
        print("| way | N | items | rows | artefacts | s |\n|---|--:|---|---|---|--:|", flush=True)
        for way, number in cases(arguments.ways.split(","), numbers):
            run: Callable[[Path, int], None] = getattr(sweep, way)
            began = time.perf_counter()
            run(folder / "out", number)
            same = compare(folder / "out", folder / "one")
            shutil.rmtree(folder / "out")
            is_same &= all(same)
            said = " | ".join("same" if part else "OTHERS" for part in same)
            print(f"| {way} | {number} | {said} | {time.perf_counter() - began:.0f} |", flush=True)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())

"""The same images as files with a manifest, as tars and as a table."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import items

Samples = list[tuple[str, bytes, int]]


def make_samples(photos: Path) -> Samples:
    """Names, contents and labels; one file is bad."""
    contents = [(path.name, path.read_bytes()) for path in sorted(photos.iterdir())]
    contents.insert(2, ("bad.png", b"no picture"))
    return [(name, data, number % 3) for number, (name, data) in enumerate(contents)]


def as_manifest(folder: Path, samples: Samples) -> str:
    with (folder / "files.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label"])
        for name, data, label in samples:
            (folder / name).write_bytes(data)
            rows.writerow([name, label])
    return str(folder / "files.csv")


def as_tars(folder: Path, samples: Samples) -> str:
    for part in range(3):
        with tarfile.open(folder / f"set-{part}.tar", "w") as tar:
            for name, data, label in samples[3 * part : 3 * part + 3]:
                for member, content in ((name, data), (f"{Path(name).stem}.cls", str(label).encode())):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return str(folder / "set-{0..2}.tar")


def as_table(folder: Path, samples: Samples) -> str:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": data, "path": name} for name, data, _ in samples], kind)
    pq.write_table(
        pa.table({"image": images, "label": [label for *_, label in samples]}),
        folder / "set.parquet",
        row_group_size=3,
    )
    return str(folder / "set.parquet")


def without_source(run_dir: Path) -> list[dict[str, Any]]:
    """The items of a run but for where they came from."""
    return [{key: value for key, value in item.items() if key != "source"} for item in items(run_dir)]

"""Tars, tables and data sets give the items and artefacts of the same images as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Cam, artefacts, items
from tests.packing import Samples, as_manifest, as_table, as_tars, make_samples, without_source
from tests.tiny import CLASSES


@pytest.fixture
def samples_of(photos: Path) -> Samples:
    return make_samples(photos)


@pytest.mark.parametrize("pack", [as_tars, as_table])
def test_items_and_artefacts_are_those_of_files(
    tmp_path: Path, tiny: Cam, cam: Cam, samples_of: Samples, pack: Any
) -> None:
    few = ("--batch-size", 2, "--save", "overlay")
    assert tiny(as_manifest(tmp_path, samples_of), "-o", tmp_path / "files", *few).code == 3
    expected, pictures = without_source(tmp_path / "files"), artefacts(tmp_path / "files")
    assert [item["label"]["index"] for item in expected if item["label"]] == [0, 1, 0, 1, 2, 0]
    packed = pack(tmp_path, samples_of)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert tiny(packed, "-o", whole, *few, "--limit", 4).code == 3
    assert tiny(packed, "-o", whole, *few).code == 3  # continued
    assert without_source(whole) == expected
    assert artefacts(whole) == pictures
    for part in range(2):
        assert tiny(packed, "-o", parts, *few, "--shard", f"{part}/2").code == 3 * part  # the bad one is in the second
    assert cam("merge", parts).code == 3
    assert without_source(parts) == expected
    assert tiny(packed, "-o", tmp_path / "some", *few, "--sample", 4).code in (0, 3)
    some = without_source(tmp_path / "some")
    assert len(some) == 4
    assert all(item in expected for item in some)
    assert cam("report", whole, "--output", tmp_path / "page.html").code == 0
    assert len(list((tmp_path / "page").rglob("*.jpg"))) >= 6  # thumbnails are made of what the archive holds


def test_classes_of_a_table_count_as_folders_do(tmp_path: Path, tiny: Cam, samples_of: Samples) -> None:
    names = [f"class {number}" for number in range(len(CLASSES))]  # of the data set; the model has others, as many
    features = {"label": {"_type": "ClassLabel", "names": names}}
    made = pa.table({"image": pa.array([data for _, data, _ in samples_of]), "label": [n for *_, n in samples_of]})
    made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(made, tmp_path / "set.parquet")
    assert tiny(tmp_path / "set.parquet", "-o", tmp_path / "out", "--save", "none").code == 3
    labels = [item["label"] for item in items(tmp_path / "out")]
    assert [label["index"] for label in labels if label] == [0, 1, 0, 1, 2, 0]


def test_a_folder_of_archives_says_how_they_are_named(tmp_path: Path, tiny: Cam, samples_of: Samples) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    packed = as_table(tmp_path / "set" / "data", samples_of)
    refused = tiny(tmp_path / "set", "-o", tmp_path / "out")
    assert refused.code == 2
    assert f"Tars and tables are named: --image-path '{Path(packed).parent}/*.parquet'" in " ".join(refused.err.split())

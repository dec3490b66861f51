"""``--parquet``: the table of ``--csv``, with types; read back by pandas and pyarrow."""

from __future__ import annotations

import csv
import sys
from array import array
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from camcli.errors import ConfigError, OutputError
from camcli.output import parquet_table
from camcli.output.csv_table import COLUMNS, write_csv
from camcli.output.journal import Journal
from camcli.output.parquet_table import require_parquet, write_parquet
from tests.conftest import Cam

from .examples import failed, header, item


def test_the_rows_of_the_csv_with_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_table, "ROWS", 4)
    one = item('a,"b"\n.jpg')
    fused = {**one["maps"][0], "method": "layercam", "layer": ["bn1", "bn2"], "status": "zero", "attention": None}
    with Journal.open(tmp_path, header()) as journal:
        offsets = array(
            "q", [journal.append({**one, "maps": [*one["maps"], fused]}), journal.append(failed("c\udce9"))]
        )
        for number in range(9):
            offsets.append(journal.append(item(f"{number}.jpg")))
        write_csv(tmp_path / "index.csv", journal.in_order(offsets))
        write_parquet(tmp_path / "tables/index.parquet", journal.in_order(offsets))
    table = pd.read_parquet(tmp_path / "tables/index.parquet")
    assert list(table.columns) == list(COLUMNS)
    with (tmp_path / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    written = table.astype(object).where(table.notna(), None).to_dict("records")
    assert len(written) == len(rows) == 12
    for row, values in zip(rows, written, strict=True):
        for name, text in row.items():
            value = values[name]
            if isinstance(value, bool):
                assert text == str(value).lower()
            elif isinstance(value, float | int):
                assert float(text) == value
            else:
                assert text == (value or "")
    file_of = pq.ParquetFile(tmp_path / "tables/index.parquet")
    kinds = {field.name: str(field.type) for field in file_of.schema_arrow}
    assert {kinds["image"], kinds["layer"], kinds["overlay"]} == {"string"}
    assert (kinds["width"], kinds["predicted_index"], kinds["correct"]) == ("int64", "int64", "bool")
    assert {kinds[name] for name in ("entropy", "target_logit", "box_x0", "raw_min")} == {"double"}
    assert file_of.metadata.num_row_groups == 3  # streamed


def test_no_rows_and_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with Journal.open(tmp_path, header()) as journal:
        write_parquet(tmp_path / "none.parquet", journal.in_order(array("q")))
        assert pd.read_parquet(tmp_path / "none.parquet").empty
        offset = journal.append(item())
        (tmp_path / "index.parquet").mkdir()
        with pytest.raises(OutputError, match=r"index\.parquet: Is a directory"):
            write_parquet(tmp_path / "index.parquet", journal.in_order([offset]))
        (tmp_path / "index.jsonl").write_bytes(b"damaged")
        before = (tmp_path / "none.parquet").read_bytes()
        with pytest.raises(OutputError, match="no whole line"):
            write_parquet(tmp_path / "none.parquet", journal.in_order([offset]))
    assert (tmp_path / "none.parquet").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"index.parquet", "index.jsonl", "none.parquet"}


def test_without_pyarrow_the_run_does_not_begin(
    tmp_path: Path, tiny: Cam, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"cambatch\[parquet\]"):
        require_parquet()
    refused = tiny(photos, "-o", tmp_path / "run", "--parquet", tmp_path / "t.parquet")
    assert (refused.code, "pip install pyarrow" in refused.err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_runs_merges_and_drawings_write_it(tmp_path: Path, tiny: Cam, cam: Cam, photos: Path) -> None:
    run = (photos, "--batch-size", 2, "--save", "overlay")
    table = tmp_path / "one.parquet"
    assert tiny(*run, "-o", tmp_path / "one", "--parquet", table, "--csv", tmp_path / "one.csv").code == 0
    assert list(pd.read_parquet(table)["image"]) == list(pd.read_csv(tmp_path / "one.csv")["image"])
    refused = tiny(*run, "-o", tmp_path / "parts", "--shard", "0/1", "--parquet", table)
    assert (refused.code, "cam merge RUN --parquet FILE" in refused.err) == (2, True)
    assert tiny(*run, "-o", tmp_path / "parts", "--shard", "0/1").code == 0
    assert cam("merge", tmp_path / "parts", "--parquet", tmp_path / "merged.parquet").code == 0
    assert pd.read_parquet(tmp_path / "merged.parquet").equals(pd.read_parquet(table))
    assert cam("render", tmp_path / "one", "--image-format", "png").code == 0
    assert set(pd.read_parquet(table)["overlay"].str[-4:]) == {".png"}

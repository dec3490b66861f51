import csv
from pathlib import Path

import pytest

from camcli.errors import OutputError
from camcli.output.csv_table import COLUMNS, write_csv
from camcli.output.journal import Journal

from .examples import failed, header, item


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_a_map_in_the_given_order(tmp_path: Path) -> None:
    one = item('a,"b"\n.jpg')
    fused = {**one["maps"][0], "method": "layercam", "layer": ["bn1", "bn2"], "status": "zero", "attention": None}
    with Journal.open(tmp_path, header()) as journal:
        offsets = [journal.append({**one, "maps": [*one["maps"], fused]}), journal.append(failed("c\udce9.jpg"))]
        write_csv(tmp_path / "tables/index.csv", journal.in_order(reversed(offsets)))
    bad, first, second = table(tmp_path / "tables/index.csv")
    assert list(first) == list(COLUMNS)
    assert (bad["image"], bad["status"], bad["error_kind"], bad["method"]) == ("c\ufffd.jpg", "failed", "corrupt", "")
    assert (first["image"], first["source"], first["correct"]) == ('a,"b"\n.jpg', "photos", "true")
    assert (first["method"], first["layer"], first["map_status"]) == ("gradcam", "bn2", "ok")
    assert (first["label_name"], first["predicted_index"], first["target_logit"]) == ("Egyptian cat", "285", "9.1")
    assert [first[f"box_{side}"] for side in ("x0", "y0", "x1", "y1")] == ["120", "80", "500", "370"]
    assert (first["peak_x"], first["centroid_y"], first["raw_min"]) == ("311.0", "171.9", "-0.4")
    assert (first["overlay"], first["heatmap"]) == ("overlays/gradcam/a/x.jpg.jpg", "")
    assert (second["method"], second["layer"], second["map_status"], second["peak_x"]) == (
        "layercam", "bn1+bn2", "zero", "",
    )  # fmt: skip


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.csv").mkdir()
    with Journal.open(tmp_path, header()) as journal:
        offset = journal.append(item())
        with pytest.raises(OutputError, match=r"index\.csv: Is a directory"):
            write_csv(tmp_path / "index.csv", journal.in_order([offset]))
    assert {path.name for path in tmp_path.iterdir()} == {"index.csv", "index.jsonl"}


def test_beside_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal.open(tmp_path, header()) as journal:
        write_csv("index.csv", journal.in_order([journal.append(item())]))
    assert len(table(tmp_path / "index.csv")) == 1

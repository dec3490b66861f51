"""Tables of images: Parquet files and saved data sets, as pyarrow and Hugging Face write them."""

from __future__ import annotations

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from camcli.errors import ImageError, SourceError
from camcli.images import Sampler, Sources, read, was_replaced
from camcli.images.entry import TableRow

CONTENTS = [f"content {number}".encode() * 50 for number in range(50)]
CLASSES = {"names": ["cat", "dog"], "_type": "ClassLabel"}


def structs(paths: list[str | None] | None = None, contents: list[Any] | None = None) -> pa.Array:
    """An image column as Hugging Face writes it."""
    contents = CONTENTS if contents is None else contents
    paths = [None] * len(contents) if paths is None else paths
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": data, "path": path} for data, path in zip(contents, paths, strict=True)], kind)


def table(features: dict[str, Any] | None = None, **columns: Any) -> pa.Table:
    made = pa.table(columns)
    if features is None:
        return made
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write(path: str, made: pa.Table, rows: int = 20) -> str:
    pq.write_table(made, path, row_group_size=rows)
    return path


def test_a_file_of_hugging_face_is_read_in_order(tree: Path) -> None:
    labels = [number % 3 - 1 for number in range(50)]  # -1: no label
    features = {"label": CLASSES, "image": {"_type": "Image"}}
    # The label comes first: columns are told apart by their names.
    write("train.parquet", table(features, label=pa.array(labels), image=structs()))
    sources = Sources(["train.parquet"])
    entries = list(sources)
    assert [entry.image for entry in entries] == [f"train-{number:08d}" for number in range(50)]
    assert [read(entry) for entry in entries] == CONTENTS
    assert [entry.folder for entry in entries[:3]] == [None, "cat", "dog"]
    assert {entry.label for entry in entries} == {None}
    assert sources.class_folders("train.parquet") == ("cat", "dog")
    assert [entry.member for entry in entries][39:41] == [TableRow("image", 1, 19), TableRow("image", 2, 0)]
    assert list(sources) == entries
    assert (sources.count(), sources.passed_over) == (50, 0)


def test_rows_are_read_in_any_order_from_threads_and_other_processes(tree: Path) -> None:
    write("t.parquet", table(image=structs()), rows=50)
    entries = pickle.loads(pickle.dumps(list(Sources(["t.parquet"]))))
    order = np.random.default_rng(0).permutation(50)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, [entries[place] for place in order])) == [CONTENTS[place] for place in order]
    assert not was_replaced(entries[0], 1)


def test_names_are_the_paths_where_there_are_some(tree: Path) -> None:
    paths = ["a/x.jpg", "a/x.jpg", "", None, "/data/y.jpg", *[None] * 45]
    write("t.parquet", table(image=structs(paths), label=pa.array(["tabby"] * 50)))
    entries = list(Sources(["t.parquet"]))
    assert [e.image for e in entries[:5]] == ["a/x.jpg", "a/x.jpg#2", "t-00000002", "t-00000003", "/data/y.jpg"]
    assert [entry.label for entry in entries[:2]] == ["tabby", "tabby"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([3, None]), ["3", None]),
        (pa.array([3.0, float("nan")]), ["3", None]),
        (pa.array(["tabby", ""]), ["tabby", None]),
        (pa.array(["tabby", "tench"]).dictionary_encode(), ["tabby", "tench"]),
        (pa.array([[1], [2]]), [None, None]),
    ],
)
def test_labels_are_numbers_or_names(tree: Path, labels: pa.Array, expected: list[str | None]) -> None:
    for key in ("label", "category", "target"):
        write("t.parquet", table(image=pa.array([b"a", b"b"]), **{key: labels}))
        assert [entry.label for entry in Sources(["t.parquet"])] == expected


def test_plain_binary_columns_and_paths_are_images_too(tree: Path) -> None:
    write("b.parquet", table(content=pa.array(CONTENTS, pa.large_binary())))
    assert [read(entry) for entry in Sources(["b.parquet"])] == CONTENTS
    (tree / "x.jpg").write_bytes(b"x")
    write("p.parquet", table(image=pa.array(["x.jpg", "gone.jpg", None]), label=pa.array([1, 2, 3])))
    first, gone, null = Sources(["p.parquet"])
    assert (first.image, first.label, read(first)) == ("x.jpg", "1", b"x")
    assert (null.image, gone.image) == ("p-00000002", "gone.jpg")
    for entry in (gone, null):
        with pytest.raises(ImageError) as raised:
            read(entry)
        assert raised.value.kind == "missing"


def test_null_rows_empty_images_and_paths_without_bytes(tree: Path) -> None:
    (tree / "data").mkdir()
    (tree / "data" / "there.jpg").write_bytes(b"there")
    image = structs([None, None, "there.jpg", "gone.jpg"], [None, b"", None, None])
    kind = image.type
    image = pa.concat_arrays([image, pa.array([None], kind)])
    write("data/t.parquet", table(image=image))
    kinds: list[str | bytes] = []
    for entry in Sources(["data/t.parquet"]):  # a relative path is relative to the folder of the table
        try:
            kinds.append(read(entry))
        except ImageError as error:
            kinds.append(error.kind)
    assert kinds == ["missing", "empty", b"there", "missing", "missing"]


def test_tables_that_do_not_say_which_column_are_refused(tree: Path) -> None:
    for refusal, made in (
        (
            r"no column holds images; there is text \(string\), n \(int64\)",
            table(text=pa.array(["a"]), n=pa.array([1])),
        ),
        ("several columns hold images: left, right", table(left=pa.array([b"a"]), right=pa.array([b"b"]))),
        ("no column holds images", table({"sound": {"_type": "Audio"}}, sound=structs(contents=[b"wave"]))),
        ("no column holds images; there is none", table()),
    ):
        write("t.parquet", made)
        with pytest.raises(SourceError, match=refusal):
            next(iter(Sources(["t.parquet"])))
    write("t.parquet", table(mask=pa.array([b"m"]), image=pa.array([b"i"])))
    assert [read(entry) for entry in Sources(["t.parquet"])] == [b"i"]


def test_damaged_files_are_refused_or_their_rows_named(tree: Path) -> None:
    write("t.parquet", table(image=structs(), label=pa.array(range(50))), rows=25)
    whole = (tree / "t.parquet").read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no table" * 100):
        (tree / "t.parquet").write_bytes(content)
        with pytest.raises(SourceError, match=r"t\.parquet: not a Parquet file, or cut short"):
            next(iter(Sources(["t.parquet"])))
    column = pq.ParquetFile(pa.BufferReader(whole)).metadata.row_group(1).column(0)  # the bytes of the second group
    at = column.dictionary_page_offset or column.data_page_offset
    (tree / "t.parquet").write_bytes(whole[:at] + b"\xff" * 200 + whole[at + 200 :])
    results: list[str | bytes] = []
    for entry in Sources(["t.parquet"]):
        try:
            results.append(read(entry))
        except ImageError as error:
            results.append(error.kind)
    assert results == [*CONTENTS[:25], *["corrupt"] * 25]
    label = pq.ParquetFile(pa.BufferReader(whole)).metadata.row_group(0).column(2)
    at = label.dictionary_page_offset or label.data_page_offset
    (tree / "t.parquet").write_bytes(whole[:at] + b"\xff" * 60 + whole[at + 60 :])
    first, *others = Sources(["t.parquet"])  # what cannot be listed is one input, which fails
    with pytest.raises(ImageError, match=r"rows 0 to 24 cannot be listed"):
        read(first)
    assert [read(entry) for entry in others] == CONTENTS[25:]


def test_a_file_that_vanishes_or_is_replaced_is_noticed(tree: Path) -> None:
    write("t.parquet", table(image=structs()))
    entries = list(Sources(["t.parquet"]))
    assert read(entries[0]) == CONTENTS[0]
    write("t.parquet", table(image=structs(contents=[b"other"] * 50)))
    with pytest.raises(ImageError, match="changed or replaced since it was listed"):
        read(entries[0])
    assert read(next(iter(Sources(["t.parquet"])))) == b"other"
    (tree / "t.parquet").unlink()
    with pytest.raises(ImageError, match="the table is not there"):
        read(entries[1])


def test_samples_limits_and_patterns(tree: Path) -> None:
    features = {"label": CLASSES}
    for part in range(2):
        half = slice(25 * part, 25 * part + 25)
        labels = pa.array([number % 2 for number in range(25)])
        write(f"train-{part}.parquet", table(features, image=structs(contents=CONTENTS[half]), label=labels))
    entries = list(Sources(["train-{0..1}.parquet"]))
    assert [read(entry) for entry in entries] == CONTENTS
    assert [entry.image for entry in entries[24:26]] == ["train-0-00000024", "train-1-00000000"]
    assert [e.image for e in Sources(["train-*.parquet"], limit=30)] == [e.image for e in entries[:30]]
    chosen = list(Sources(["train-{0..1}.parquet"], sample=Sampler(3, True, 0)))
    assert sorted(str(entry.folder) for entry in chosen) == ["cat"] * 3 + ["dog"] * 3
    with pytest.raises(SourceError, match=r"1 of 3 files are not there: train-2\.parquet"):
        Sources(["train-{0..2}.parquet"])
    (tree / "x.tar").touch()
    with pytest.raises(SourceError, match="names both tars and tables"):
        Sources(["{x.tar,train-0.parquet}"])


def test_without_pyarrow_the_remedy_is_said(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("t.parquet", table(image=structs()))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        SourceError, match=r"pip install pyarrow \(the extra parquet: pip install 'cambatch\[parquet\]'\)"
    ):
        Sources(["t.parquet"])


def test_data_sets_saved_on_disk(tree: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pictures = [Image.fromarray(np.full((4, 4, 3), number, np.uint8)) for number in range(7)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    made = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, 0, 1, 0, 1, 0]}, features=features)
    datasets.DatasetDict({"train": made, "test": made.select([5])}).save_to_disk(
        "both", num_shards={"train": 3, "test": 1}
    )
    made.to_parquet("made.parquet")
    with pytest.raises(SourceError, match=r"the splits train, test\. Name one: --image-path both/train\."):
        Sources(["both"])
    entries = list(Sources(["both/train"]))
    assert [entry.image for entry in entries] == [f"train-{number:08d}" for number in range(7)]
    assert [entry.folder for entry in entries] == ["cat", "dog"] * 3 + ["cat"]
    saved = [made.cast_column("image", datasets.Image(decode=False))[number]["image"]["bytes"] for number in range(7)]
    assert [read(entry) for entry in entries] == saved
    assert [read(entry) for entry in Sources(["made.parquet"])] == saved
    (alone,) = Sources(["both/test"])
    assert (alone.folder, read(alone)) == ("dog", saved[5])
    (tree / "both" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert [entry.image for entry in Sources(["both"])] == [entry.image for entry in entries]
    file = sorted((tree / "both" / "train").glob("*.arrow"))[1]
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(SourceError, match=r"not an Arrow file, or cut short"):
        next(iter(Sources(["both/train"])))
    file.unlink()
    with pytest.raises(SourceError, match=rf"files of it are not there: .*{file.name}"):
        Sources(["both/train"])
    (tree / "both" / "train" / "state.json").write_text("{")
    with pytest.raises(SourceError, match=r"state\.json cannot be read"):
        Sources(["both/train"])


def test_a_damaged_arrow_file_is_named(tree: Path) -> None:
    made = table(image=structs(), label=pa.array(range(50)))
    with pa.ipc.new_stream("t.arrow", made.schema) as file:
        file.write_table(made)
    whole = (tree / "t.arrow").read_bytes()
    assert [read(entry) for entry in Sources(["t.arrow"])] == CONTENTS
    at = whole.index(b"".join(len(one).to_bytes(4, "little") for one in (CONTENTS[0], CONTENTS[0] + CONTENTS[1])))
    (tree / "t.arrow").write_bytes(whole[:at] + b"\xff\xff\xff\x7f" * 2 + whole[at + 8 :])  # offsets far behind the end
    (only,) = Sources(["t.arrow"])
    with pytest.raises(ImageError, match="rows 0 to 49 cannot be listed"):
        read(only)

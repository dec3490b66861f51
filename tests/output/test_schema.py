"""The schema accepts what a run writes and refuses each thing that the contract forbids."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from camcli.errors import ERROR_KINDS
from camcli.output.header import HEADER_KEYS
from camcli.output.index import Counts, Ending, write_index
from camcli.output.journal import Journal
from camcli.output.names import FOLDERS
from camcli.schemas import Part, index_schema

from .examples import TIMING, failed, header, item

Edit = Callable[[dict[str, Any]], object]


@functools.cache
def validator(part: Part) -> Any:
    schema = index_schema(part)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def errors(document: object, part: Part = "index") -> list[str]:
    return [error.message for error in validator(part).iter_errors(document)]


def degenerate(status: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("peak", "centroid", "entropy", "border", "box"))
    one = {**item()["maps"][0], "status": status, "attention": nothing}
    return {**one, "raw": {"min": None, "max": None, "mean": None}, "native": None} if status == "nonfinite" else one


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An index as it is written, with an item of every sort."""
    run = tmp_path_factory.mktemp("run")
    maps = [degenerate(status) for status in ("zero", "constant", "nonfinite")]
    fused = {**item()["maps"][0], "layer": ["bn1", "bn2"]}
    whole_network = {**item()["maps"][0], "layer": None, "target": None}
    items = [
        item(),
        item("unlabelled\udce9.jpg", source="caf\udce9", label=None, correct=None),
        item("several.jpg", maps=[*maps, fused, whole_network]),
        *(failed(f"{kind}.jpg", kind) for kind in ERROR_KINDS),
        failed("known.jpg", "truncated", width=640, height=427, format="JPEG", frames=1),
        failed("unknown.jpg", "missing", bytes=None, sha256=None),
    ]
    with Journal.open(run, header()) as journal:
        ending = Ending("complete", "2026-01-02T03:05:05.250Z", TIMING)
        write_index(run, header(), journal.in_order([journal.append(one) for one in items]), ending)
    written: dict[str, Any] = json.loads((run / "index.json").read_bytes())
    return written


def test_what_is_written_is_valid(index: dict[str, Any], tmp_path: Path) -> None:
    assert errors(index) == []
    with Journal.open(tmp_path, header()) as journal:
        journal.append(item())
    first, second = (tmp_path / "index.jsonl").read_bytes().splitlines()
    assert errors(json.loads(first), "journal_header") == []
    assert errors(json.loads(second), "item") == []


def test_fields_may_be_added_everywhere(index: dict[str, Any]) -> None:
    def add(value: Any) -> Any:
        if isinstance(value, list):
            return [add(part) for part in value]
        if not isinstance(value, dict):
            return value
        return {key: add(part) if key not in {"files", "sizes", "stages"} else part for key, part in value.items()} | {
            "added": {"later": 1}
        }

    assert errors(add(index)) == []


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all keys of all objects in a document."""
    if isinstance(value, list):
        return [found for number, part in enumerate(value) for found in paths_of(part, (*path, number))]
    if isinstance(value, dict):
        return [found for key, part in value.items() for found in [(*path, key), *paths_of(part, (*path, key))]]
    return []


def document() -> dict[str, Any]:
    counts = {"images": 1, "ok": 1, "failed": 0, "maps": 1, "degenerate_maps": 0, "labelled": 1, "correct": 1}
    top = header(status="complete", finished="2026-01-02T03:05:05Z", timing=TIMING, counts={**counts, "passed_over": 0})
    top["config"] = {"image_path": ["photos"]}
    return copy.deepcopy({**top, "items": [item(sizes={})]})


def edited(path: tuple[str | int, ...], change: Edit) -> dict[str, Any]:
    """A valid document with the change applied to the object that holds the last key of the path."""
    whole = document()
    inner: Any = whole
    for step in path[:-1]:
        inner = inner[step]
    change(inner)
    return whole


def test_the_document_of_the_following_tests_is_valid() -> None:
    assert errors(document()) == []
    assert set(HEADER_KEYS) | {"items"} == set(document())
    assert set(document()["counts"]) == set(Counts().__dict__)


@pytest.mark.parametrize("path", paths_of(document()), ids=lambda path: ".".join(map(str, path)))
def test_every_documented_key_is_required_and_typed(path: tuple[str | int, ...]) -> None:
    key = str(path[-1])
    assert errors(edited(path, lambda inner: inner.pop(key)))
    of_no_type = [{"no": "such type"}, [[]]]
    assert errors(edited(path, lambda inner: inner.update({key: of_no_type})))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "camcli.index/2"),
        ("status", "running"),
        ("finished", None),
        ("counts", None),
        ("started", "yesterday"),
        ("fingerprint", "sha256:12"),
        ("methods", []),
        ("layers.0.layout", "nchwn"),
        ("layers.0.grid", [7]),
        ("layers.0.proof", "likely"),
        ("model.input_size", [224, 224]),
        ("counts.ok", -1),
        ("items.0.status", "skipped"),
        ("items.0.error", {"kind": "corrupt", "message": "but the status is ok"}),
        ("items.0.sha256", None),
        ("items.0.sha256", "ABC"),
        ("items.0.width", 0),
        ("items.0.width", None),
        ("items.0.view", None),
        ("items.0.view", [0, 0, 1]),
        ("items.0.label", None),  # although `correct` is not null
        ("items.0.correct", "yes"),
        ("items.0.predictions.0.probability", 1.5),
        ("items.0.predictions.0.index", -1),
        ("items.0.maps.0.status", "bad"),
        ("items.0.maps.0.attention.peak", None),
        ("items.0.maps.0.attention.box", [1, 2, 3]),
        ("items.0.maps.0.raw.min", None),
        ("items.0.maps.0.native", None),
        ("items.0.maps.0.native.scale", 0),
        ("items.0.maps.0.native.data", "not base64!"),
        ("items.0.maps.0.layer", []),
        ("items.0.maps.0.files.overlay", "/overlays/x.jpg"),
        ("items.0.maps.0.files.overlay", "overlays/../../x.jpg"),
        ("items.0.maps.0.files.overlay", "elsewhere/x.jpg"),
        ("items.0.maps.0.files.gray", 3),
        ("items.0.sizes", {"overlays/x.jpg": 0}),
        ("items.0.sizes", {"../x.jpg": 1}),
        ("items.0.maps.0", degenerate("zero") | {"native": None}),
        ("items.0", failed() | {"error": None}),
        ("items.0", failed() | {"error": {"kind": "strange", "message": "x"}}),
        ("items.0", failed() | {"error": {"kind": "corrupt", "message": ""}}),
        ("items.0", failed() | {"maps": item()["maps"]}),
        ("items.0", failed() | {"sizes": item()["sizes"]}),
        ("items.0", failed() | {"predictions": item()["predictions"]}),
    ],
)
def test_what_the_contract_forbids_is_refused(path: str, value: object) -> None:
    *_, key = steps = [int(step) if step.isdigit() else step for step in path.split(".")]

    def put(inner: Any) -> None:
        inner[key] = value

    assert errors(edited(tuple(steps), put))


def test_a_journal_header_is_of_a_running_run_without_items() -> None:
    assert errors(header(), "journal_header") == []
    assert errors(header(status="complete"), "journal_header")
    assert errors(header(items=[]), "journal_header")


def test_the_lists_of_the_schema_are_those_of_the_program() -> None:
    definitions = index_schema()["$defs"]
    assert tuple(definitions["error"]["properties"]["kind"]["enum"]) == ERROR_KINDS
    assert tuple(definitions["header"]["required"]) == HEADER_KEYS
    assert all(f"{folder}" in definitions["file"]["pattern"] for folder in FOLDERS.values())
    assert definitions["counts"]["required"] == list(Counts().__dict__)

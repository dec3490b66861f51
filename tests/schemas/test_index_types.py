"""The types of the index say what its JSON Schema says: the same keys, each of the same types."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from camcli.errors import ErrorKind
from camcli.schemas import index, index_schema

DEFINITIONS: Mapping[str, Any] = index_schema()["$defs"]
TYPES: dict[str, tuple[type, ...]] = {
    "header": (index.Header,),
    "model": (index.ModelFields,),
    "output": (index.OutputFields,),
    "layer": (index.LayerFields,),
    "requested_method": (index.RequestedMethod,),
    "candidate": (index.CandidateFields,),
    "excluded_candidate": (index.ExcludedCandidate,),
    "trial": (index.TrialFields,),
    "chosen_method": (index.ChosenMethod,),
    "counts": (index.CountFields,),
    "timing": (index.Timing,),
    "class": (index.ClassFields,),
    "scored_class": (index.ScoredClass,),
    "target": (index.TargetFields,),
    "attention": (index.MapStatistics,),
    "native": (index.NativeMap,),
    "map": (index.MapRow,),
    "error": (index.ErrorFields,),
    "item": (index.ExplainedRow, index.FailedRow),
}
"""Objects of the schema, each with the types that describe it together."""
NOT_OBJECTS = {"journal_header", "probability", "file", "point"}


def test_every_object_of_the_schema_has_its_type() -> None:
    assert set(DEFINITIONS) - NOT_OBJECTS == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_keys_agree(name: str) -> None:
    fields = _fields(DEFINITIONS[name])
    for kind in TYPES[name]:
        assert set(get_type_hints(kind)) == set(fields)
        assert kind.__required_keys__ == _required(DEFINITIONS[name])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TYPES)
def test_types_agree(name: str) -> None:
    for key, schema in _fields(DEFINITIONS[name]).items():
        kinds = [get_type_hints(kind)[key] for kind in TYPES[name]]
        assert set().union(*map(_json_types, kinds)) == _schema_types(schema), key
        _compare_choices(schema, kinds, f"{name}.{key}")


def test_the_comparison_notices_a_difference() -> None:
    assert _json_types(list[int]) != _schema_types({"type": "array", "items": {"type": "string"}})
    assert _json_types(str | None) != _schema_types({"type": "string"})
    assert _json_types(index.ClassFields) != _schema_types({"$ref": "#/$defs/target"})


def _compare_choices(schema: Mapping[str, Any], kinds: list[Any], where: str) -> None:
    """Where the schema lists the values, so does the type; the kinds of errors have a list of their own."""
    if "enum" not in schema:
        return
    values = {value for kind in kinds for value in get_args(kind)}
    assert set(schema["enum"]) == (set(get_args(ErrorKind)) if where == "error.kind" else values), where


def _fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    inherited = [_fields(DEFINITIONS[_name(part)]) for part in schema.get("allOf", ()) if "$ref" in part]
    return {key: value for part in inherited for key, value in part.items()} | schema.get("properties", {})


def _required(schema: Mapping[str, Any]) -> frozenset[str]:
    inherited = [_required(DEFINITIONS[_name(part)]) for part in schema.get("allOf", ()) if "$ref" in part]
    return frozenset(schema.get("required", ())).union(*inherited)


def _name(reference: Mapping[str, str]) -> str:
    return reference["$ref"].removeprefix("#/$defs/")


def _schema_types(schema: Mapping[str, Any]) -> set[str]:
    """What a value may be, in words: ``string``, ``array of integer``, ``null``, or the name of an object."""
    if "$ref" in schema:
        name = _name(schema)
        return {name} if name in TYPES else _schema_types(DEFINITIONS[name])
    if "oneOf" in schema:
        return set().union(*(_schema_types(part) for part in schema["oneOf"]))
    if "type" not in schema:
        return {"string"}  # const and enum: all of them are strings
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return set().union(*({f"array of {one}" for one in _schema_types(schema["items"])} if kind == "array" else {kind}
                         for kind in types))  # fmt: skip


def _json_types(kind: Any) -> set[str]:
    """The same of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is NotRequired:
        return _json_types(arguments[0])
    if origin in (Union, UnionType):
        return set().union(*map(_json_types, arguments))
    if origin is Literal:
        return {"string"}
    if origin is list:
        return {f"array of {one}" for one in _json_types(arguments[0])}
    if is_typeddict(kind):
        named = next((name for name, kinds in TYPES.items() if kind in kinds), None)
        return {named or "object"}
    if origin is not None and issubclass(origin, Mapping):
        return {"object"}
    return {{str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}[kind]}

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camcli.output.jsontext import name_fields, strict_json, true_name


def test_takes_paths_and_numpy_scalars() -> None:
    value = {"path": Path("a/b"), "f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "tuple": (1, 2)}
    assert json.loads(strict_json(value)) == {"path": "a/b", "f": 0.5, "i": 3, "b": True, "tuple": [1, 2]}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.float32("nan"), np.float64("-inf")])
def test_names_the_place_of_a_number_that_is_not_finite(number: float) -> None:
    with pytest.raises(ValueError, match=r"^a\.b\[1\] is (nan|inf|-inf), which JSON cannot hold$"):
        strict_json({"x": 1.0, "a": {"b": (0.0, number)}})


def test_refuses_what_has_no_place_in_json() -> None:
    with pytest.raises(TypeError, match="ndarray has no place in JSON"):
        strict_json({"map": np.zeros(3)})


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(_PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12))
def test_round_trips_in_one_line_of_utf8(value: object) -> None:
    text = strict_json(value)
    assert b"\n" not in text
    assert json.loads(text) == value


@given(st.text(st.characters(), max_size=20))
def test_is_utf8_whatever_the_text(text: str) -> None:
    strict_json([text, {text: 1}]).decode("utf-8")


@given(st.binary(max_size=30).filter(lambda name: b"\0" not in name))
def test_a_name_of_any_bytes_comes_back(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    fields = json.loads(strict_json(name_fields(text)))
    assert true_name(fields) == text
    assert ("image_b64" in fields) == (text != name.decode("utf-8", "ignore"))


def test_a_name_is_one_field_where_it_is_utf8() -> None:
    assert name_fields("é 🐈.jpg", "source") == {"source": "é 🐈.jpg"}

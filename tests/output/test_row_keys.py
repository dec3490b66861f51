"""The key of a line is that of its names, in whatever way they are written."""

from __future__ import annotations

import json

import pytest

from camcli.output.row_keys import key_of, key_of_line, names_of, row_line

from .examples import item

NAMES = ("a/x.jpg", "Ä ö/日本.jpg", 'a "quoted".jpg', "back\\slash.jpg", "new\nline.jpg", "\x01.jpg", "\udcff.jpg", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_key_of_a_line_is_that_of_its_names(name: str) -> None:
    for names in ({"image": name, "source": "photos"}, {"image": "x.jpg", "source": name}):
        row = {**item(), **names}
        key = key_of(names_of(row))  # type: ignore[arg-type]
        line = row_line(row) + b"\n"  # type: ignore[arg-type]
        assert key_of_line(line) == key
        assert key_of_line(json.dumps(json.loads(line)).encode() + b"\n") == key  # escaped to ASCII
        assert key_of_line(line[:-1]) is None
        assert key_of_line(line[:40]) is None


@pytest.mark.parametrize("damage", [b"\x00", b"\xff", b"\x0a"])
def test_a_damaged_name_has_no_key(damage: bytes) -> None:
    line = row_line(item()) + b"\n"
    place = line.index(b'.jpg"')
    assert key_of_line(line[:place] + damage + line[place + 1 :]) is None

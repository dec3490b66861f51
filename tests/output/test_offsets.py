import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camcli.output import offsets, row_keys
from camcli.output.journal import Journal
from camcli.output.offsets import OffsetTable, key_hash

from .examples import header, item

_KEYS = st.sampled_from([0, 1, 2, 3, 1 << 63, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1)


@given(st.lists(st.tuples(_KEYS, st.integers(0, 1 << 62)), max_size=60), st.integers(1, 8))
def test_is_a_dictionary(pairs: list[tuple[int, int]], merged_after: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offsets, "_RECENT", merged_after)
        table, expected = OffsetTable(), dict[int, int]()
        for key, offset in pairs:
            table[key] = offset
            expected[key] = offset
            assert table.get(key) == offset
        assert all(table.get(key) == offset for key, offset in expected.items())
        assert table.get(12345) == expected.get(12345)
        assert table.offsets().tolist() == sorted(expected.values())


def test_many_keys_in_any_order() -> None:
    chance = random.Random(0)
    expected = {chance.getrandbits(64): number for number in range(50_000)}
    table = OffsetTable()
    for key, number in expected.items():
        table[key] = number
    assert all(table.get(key) == number for key, number in expected.items())
    assert len(table.offsets()) == 50_000


def test_the_parts_of_a_key_do_not_run_into_each_other() -> None:
    keys = [(b"a", b"bc"), (b"ab", b"c"), (b"abc", b""), (b"", b"abc"), (b"abc",)]
    assert len({key_hash(*key) for key in keys}) == len(keys)


def test_keys_of_equal_hash_never_give_each_others_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_keys, "key_hash", lambda *parts: 7)
    with Journal.open(tmp_path, header()) as journal:
        journal.append(item("a.jpg"))
        journal.append(item("b.jpg"))
        assert journal.find("photos", "a.jpg") is None  # made again, which costs time and nothing else
        found = journal.find("photos", "b.jpg")
    assert found is not None
    assert found.item["image"] == "b.jpg"

"""Brace patterns: as bash expands them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from camcli.errors import SourceError
from camcli.images import braces
from camcli.images.braces import expand_braces, has_braces

PATTERNS = (
    "train-{0000..0003}.tar", "{a,b}.tar", "{8..11}", "{08..11}", "x{3..1}y", "{0..10..5}", "{a,b{1..2}c}-{0,1}",
    "{-1..1}", "{,x}.tar", "a{b}c", "a{}c", "{a,b", "plain", "{a}{1..2}", "{10..0..-5}", "{{1..2},z}", "{00..100..50}",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_stands_for_what_bash_makes_of_it(pattern: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash to compare with")
    printed = subprocess.run([bash, "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True)
    expected = printed.stdout.splitlines()
    assert expand_braces(pattern) == expected
    assert has_braces(pattern) == (expected != [pattern])


def test_a_pattern_of_too_many_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(braces, "MOST_FILES", 2000)
    assert len(expand_braces("{1..2000}.tar")) == 2000
    with pytest.raises(SourceError, match="more than 2,000 files"):
        expand_braces("{0..99999999}.tar")

"""Every fault in the table of the documentation names tests that exist, and that `pytest` runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_named_in_the_table_of_faults_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(("|---", "| fault |"))]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
    left_out = set(re.findall(r"^@pytest\.mark\.slow\n(?:@.*\n|[ )].*\n)*def (test_\w+)", sources, re.MULTILINE))
    assert len(rows) > 30
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row)
        assert names, f"no test covers: {row}"
        assert set(names) <= existing, f"no such test: {sorted(set(names) - existing)}"
        assert set(names) - left_out, f"only `pytest -m slow` covers: {row}"

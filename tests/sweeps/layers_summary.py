"""The table of the layers sweep for people: ``python -m tests.sweeps.layers_summary tests/sweeps/layers_table.json``.

Writes the file of the same name with the ending ``.md``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def main(path: Path) -> None:
    """Write the table next to the JSON."""
    table = json.loads(path.read_text(encoding="utf-8"))
    rows = sorted(table["rows"].values() if isinstance(table["rows"], dict) else table["rows"], key=lambda r: r["name"])
    counts = Counter(row["status"] for row in rows)
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    lines = [
        "# Automatic layers: the smallest model of each family, random weights",
        "",
        f"{versions}. {len(rows)} families examined: "
        + ", ".join(f"{n} {status}" for status, n in counts.items())
        + ".",
        "`forwards` is the time of choosing and proving in forward passes of one image.",
        "`python -m tests.sweeps.layers_sweep --families --out tests/sweeps/layers_table.json` goes on where it ends.",
        "",
        "| model | layer | layout | grid | prefix | agreement | status | forwards |",
        "|---|---|---|---|---|---|---|---|",
        *map(line, rows),
    ]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def line(row: dict[str, Any]) -> str:
    """One model."""
    grid = "×".join(map(str, row["grid"])) if row.get("grid") else ""
    status = row["status"] + (f": {row['reason']}" if row.get("reason") else "")
    cells = [
        row["name"],
        row.get("path"),
        row.get("layout"),
        grid,
        row.get("prefix_tokens"),
        row.get("agreement"),
        status,
    ]
    return "| " + " | ".join("" if cell is None else str(cell) for cell in [*cells, row.get("forwards")]) + " |"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The tables of the layers sweep for people, written into the documentation.

    python -m tests.sweeps.layers_summary tests/sweeps/layers_table.json
    python -m tests.sweeps.layers_summary --by-family tests/sweeps/layers_all.json

Without ``--by-family`` a line for each model, in ``docs/measured/layers_by_family.md``; with it a line for each
(module, class), and every model that is not verified or was not examined by name, in
``docs/measured/layers_of_all_models.md``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

Row = dict[str, Any]
BARELY = 0.8
STATUSES = {"proven": "verified", "refused": "refused", "wrong": "wrong", "failed": "failed"}
"""What a row of the JSON says, and the word for it in the tables."""
PAGES = Path(__file__).resolve().parents[2] / "docs" / "measured"

CHECKS = """`verified`: the layout of the automatic layer is verified by the package, and the sweep's own check agrees:
a Grad-CAM by plain autograd is finite, not constant and of the reported grid, and for patches inverted at 16 random
positions (8 for networks of more than 150 million parameters, and with `--all`) the centre of the activation change
follows the patch, in rows and in columns, and about equally far in both (the verification of `camcli` itself is not
used)."""

NOTES = """- The thresholds of the verification were tuned on the smallest models of the families; the other models had
  no part in that ([all models](layers_of_all_models.md)).
- The sweep's own threshold, a correlation of 0.7, was lowered once, from 0.8, after `efficientvim_m1`, which mixes all
  positions in every block and ends in 4x4 cells. In return rows and columns must be followed equally far: without that
  a grid of 6x24 passes for 12x12 at 0.75, and close to it at 0.8 (`tests/layers/test_sweep_check.py`).
- LeViT gets its first stage: with random weights the attention between its stages does not preserve positions
  (agreement 0.14 in the 4x4 cells of the last stage; what agrees at 7x7 does not for other blocks). The choice is the
  last layer that can be verified, so a trained LeViT may get a later one.
- `forwards`: processor time of choosing and verifying over that of a forward pass of one image, each in one thread, in
  a fresh process. The machine was busy with other programs, which makes both uneven."""


def main() -> None:
    """Write the page of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by-family", action="store_true")
    parser.add_argument("table", type=Path)
    options = parser.parse_args()
    table = json.loads(options.table.read_text(encoding="utf-8"))
    lines = by_family(table) if options.by_family else by_model(table)
    page = PAGES / ("layers_of_all_models.md" if options.by_family else "layers_by_family.md")
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def by_model(table: Row) -> list[str]:
    """A line for each model."""
    rows = sorted(table["rows"].values(), key=lambda row: row["name"])
    return [
        "# Automatic layers: the smallest model of each family, random weights",
        "",
        f"{_versions(table)}. {len(rows)} families: {_counts(rows)}.",
        "`python -m tests.sweeps.layers_sweep --families --max-params 700 --out tests/sweeps/layers_table.json` "
        "continues where it ended.",
        "",
        CHECKS,
        "",
        NOTES,
        "",
        "| model | layer | layout | grid | prefix | agreement | follows (rows, columns, even) | status | forwards |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_line, rows),
    ]


def _line(row: Row) -> str:
    followed = [*row.get("follows", []), row.get("evenness")]
    cells = [
        row["name"],
        row.get("path"),
        row.get("layout"),
        _grid(row),
        row.get("prefix_tokens"),
        row.get("agreement"),
        " ".join(f"{value:.2f}" for value in followed if value is not None),
        STATUSES[row["status"]] + (f": {row['reason']}" if row.get("reason") else ""),
        row.get("forwards"),
    ]
    return _cells(cells)


def by_family(table: Row) -> list[str]:
    """A line for each family, then what is not verified, then what was not examined."""
    rows = {name: row for name, row in table["rows"].items() if row["status"] != "left out"}
    represented: dict[str, Row] = table.get("represented", {})
    families: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name in sorted({*rows, *represented}):
        known = table["models"][name]
        families[name.partition(":")[0], known["family"], known["class"]].append(name)
    lines = [
        "# Automatic layers: every model of timm and torchvision's classification models, random weights",
        "",
        f"{_versions(table)}. {len(rows)} models examined: {_counts(list(rows.values()))}. {len(represented)} were "
        "not, for time or memory; each is named at the end with the model of its class that represents it.",
        "`python -m tests.sweeps.layers_sweep --all --minutes 90 --out tests/sweeps/layers_all.json` continues where "
        "it ended, models with the least work first.",
        "",
        CHECKS,
        *_unmeasured(rows),
        "",
        "| family | class | models | " + " | ".join(STATUSES.values()) + " | represented | layers, layouts |",
        "|---|---|---|" + "---|" * (len(STATUSES) + 2),
    ]
    for (library, family, kind), names in sorted(families.items()):
        counts = Counter(rows[name]["status"] for name in names if name in rows)
        kinds = sorted({f"{row['layout']}+{row['prefix_tokens']}" if row["prefix_tokens"] else row["layout"]
                        for name in names if "layout" in (row := rows.get(name, {}))})  # fmt: skip
        numbers = [counts[status] or "" for status in STATUSES]
        others = sum(name in represented for name in names)
        lines.append(_cells([f"{library}: {family}", kind, len(names), *numbers, others or "", ", ".join(kinds)]))
    lines += ["", "## Not verified", ""]
    lines += [
        f"- {name}: {row['status']}: {row.get('reason')}"
        for name, row in sorted(rows.items())
        if row["status"] != "proven"
    ] or ["None."]
    lines += ["", f"## Barely verified: agreement below {BARELY}", ""]
    lines += [
        f"- {name}: {row['path']} ({row['module']}), {row['layout']} {_grid(row)}, agreement {row['agreement']}"
        for name, row in sorted(rows.items())
        if row.get("agreement", 1) < BARELY
    ] or ["None."]
    lines += ["", "## Not examined, and the examined model of the same class", ""]
    lines += [
        f"- {name} ({row['reason']}): {row['by'] or 'none examined'}" for name, row in sorted(represented.items())
    ] or ["None."]
    return lines


def _unmeasured(rows: dict[str, Row]) -> list[str]:
    """How far the models that were examined before evenness was asked for are shown in another way."""
    older = [row for row in rows.values() if "evenness" not in row and row.get("grid")]
    if not older:
        return []
    alike = sum(row["grid"][0] * row["input_size"][2] == row["grid"][1] * row["input_size"][1] for row in older)
    return [
        "",
        f"{len(older)} of the models were examined before the check asked how far rows and columns are followed; "
        f"{alike} of these have a grid of exactly the image's aspect, as no wrong factorisation has.",
    ]


def _versions(table: Row) -> str:
    return ", ".join(f"{name} {version}" for name, version in table["versions"].items())


def _counts(rows: list[Row]) -> str:
    return ", ".join(
        f"{count} {STATUSES[status]}" for status, count in Counter(row["status"] for row in rows).most_common()
    )


def _grid(row: Row) -> str:
    return "×".join(map(str, row["grid"])) if row.get("grid") else ""


def _cells(cells: list[Any]) -> str:
    return "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    main()

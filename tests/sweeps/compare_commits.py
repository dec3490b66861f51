"""Whether two commits give the same results: ``python -m tests.sweeps.compare_commits --before COMMIT``.

Both versions are installed beside each other (``pip install --no-deps --target``; the dependencies are those of this
Python), and run the same commands on the same inputs. What is compared:

- exit codes;
- ``items`` of every index, as text, and the other fields but versions, times and the command;
- the lines of every journal but its header, in any order;
- all other files of the run folders, byte for byte;
- the JSON documents that commands write to standard output.

One line a configuration; of what differs, the first value and the first file. Exit code 1 on any difference. Messages
for people are not compared. ``--ignore KEY`` leaves a key of the JSON documents and of the headers out, for fields of
prose whose wording was meant to change. It never applies to ``items``.

The two versions run at the same time, on one thread each, every command in a process of its own that is forked from
one in which torch is imported already.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tests.sweeps.compare_configurations import COMPILED, CONFIGURATIONS, DOCUMENT_FLAGS, Configuration
from tests.sweeps.compare_inputs import make_inputs
from tests.sweeps.compare_version import WORKING_TREE, Outcome, Version

VOLATILE = frozenset({"camcli", "started", "finished", "command", "timing"})
"""Top-level fields of documents that differ from run to run."""
NOT_COMPARED = frozenset({"eval.png"})
"""Files whose bytes depend on the version of a plotting library."""


@dataclass
class Comparison:
    """What was compared in one configuration, and what differs.

    Attributes:
        values: exit codes, documents, headers and items that differ.
        files: artefacts that differ, are missing or are new.
        images, artefacts, documents: how many were compared.
    """

    values: list[str]
    files: list[str]
    images: int = 0
    artefacts: int = 0
    documents: int = 0


def compare(configuration: Configuration, versions: list[Version], inputs: Path, ignored: set[str]) -> Comparison:
    """Run the commands of a configuration with both versions."""
    folders = [version.work / configuration.name.replace(" ", "-") for version in versions]
    for folder in folders:
        folder.mkdir()
        for path in inputs.iterdir():
            (folder / path.name).symlink_to(path)
    result = Comparison([], [])
    codes = configuration.codes or (0,) * len(configuration.commands)
    for i, (command, code) in enumerate(zip(configuration.commands, codes, strict=True)):
        if configuration.interrupted and i == 1:
            cut_run(folders[0] / "cam-output")
            shutil.rmtree(folders[1] / "cam-output")
            shutil.copytree(folders[0] / "cam-output", folders[1] / "cam-output")
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(Version.run, versions, folders, [shlex.split(command)] * 2))
        result.values += compare_codes(command, code, runs)
        if any(flag in command for flag in DOCUMENT_FLAGS):
            documents = [read_document(run.stdout) for run in runs]
            result.values += [f"{command}: {d}" for d in differing(*documents, ignored=VOLATILE | ignored)]
            result.documents += 1
    compare_folders(*folders, result, ignored)
    return result


def cut_run(folder: Path) -> None:
    """Leave what a kill leaves: no index, half of the journal and a torn line, some artefacts of the other half."""
    journal = folder / "index.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    whole = 1 + len(lines) // 2
    maps = [part for line in lines[whole:] for part in json.loads(line)["maps"] or []]
    artefacts = [file for part in maps for file in part["files"].values() if file is not None]
    for file in artefacts[::2]:
        (folder / file).unlink()
    journal.write_bytes(b"".join(lines[:whole]) + lines[whole][: len(lines[whole]) // 2])
    (folder / "index.json").unlink()


def compare_codes(command: str, wanted: int, runs: list[Outcome]) -> Iterator[str]:
    before, after = (run.code for run in runs)
    if before != after:
        yield f"{command}: exit code {before} → {after}: {last_line(runs[1])}"
    elif before != wanted:
        yield f"{command}: exit code {before} of both, not {wanted}: {last_line(runs[0])}"


def last_line(run: Outcome) -> str:
    return run.stderr.strip().rpartition("\n")[2][:200]


def read_document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"no JSON document": text[:200]}


def differing(before: Any, after: Any, key: str = "", ignored: Set[str] = frozenset()) -> Iterator[str]:
    """The keys whose values differ, ``layers[0].grid[1]: 7 → 8``; of lists also the order, of objects the keys'."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [[name for name in document if name not in ignored] for document in (before, after)]
        below = ignored - VOLATILE
        for name in dict.fromkeys(names[0] + names[1]):
            if name in before and name in after:
                yield from differing(before[name], after[name], f"{key}.{name}".lstrip("."), below)
            else:
                yield f"{key}.{name}".lstrip(".") + (" is new" if name in after else " is missing")
        if names[0] != names[1] and set(names[0]) == set(names[1]):
            yield f"{key or 'document'}: order of keys {names[0]} → {names[1]}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differing(one, other, f"{key}[{i}]", ignored)
    elif json.dumps(before) != json.dumps(after):
        yield f"{key}: {json.dumps(before)[:120]} → {json.dumps(after)[:120]}"


def compare_folders(before: Path, after: Path, result: Comparison, ignored: set[str]) -> None:
    """Compare every file that the commands wrote."""
    names = [list_files(folder) for folder in (before, after)]
    result.files += [f"{name} is missing" for name in names[0] if name not in names[1]]
    result.files += [f"{name} is new" for name in names[1] if name not in names[0]]
    for name in (name for name in names[0] if name in names[1]):
        contents = [(folder / name).read_bytes() for folder in (before, after)]
        if name.endswith(".jsonl"):
            result.values += [f"{name}: {difference}" for difference in compare_journals(*contents)]
        elif name.endswith(".json"):
            differences, images = compare_documents(*(json.loads(content) for content in contents), ignored)
            result.values += [f"{name}: {difference}" for difference in differences]
            result.images += images
        else:
            result.artefacts += 1
            result.files += [f"{name}: other bytes"] if contents[0] != contents[1] else []


def list_files(folder: Path) -> list[str]:
    """What was written below a folder; the links to the inputs are not followed."""
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sorted(
        str(path.relative_to(folder)) for path in files if not path.is_symlink() and path.name not in NOT_COMPARED
    )


def compare_documents(before: dict[str, Any], after: dict[str, Any], ignored: set[str]) -> tuple[list[str], int]:
    """Differences of two files such as ``index.json``, and how many items they have."""
    items = [document.pop("items", []) for document in (before, after)]
    differences = []
    for i, (one, other) in enumerate(zip_longest(*items)):
        if json.dumps(one) != json.dumps(other):
            name = f"items[{i}] ({(one or other)['image']})"
            differences += list(differing(one, other, name)) or [f"{name}: its text"]
    return differences + list(differing(before, after, ignored=VOLATILE | ignored)), len(items[0])


def compare_journals(before: bytes, after: bytes) -> Iterator[str]:
    lines = [sorted(content.splitlines()[1:]) for content in (before, after)]
    if lines[0] != lines[1]:
        count = sum(one != other for one, other in zip_longest(*lines))
        yield f"{count} of {len(lines[0])} lines differ"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="COMMIT")
    parser.add_argument("--after", default=WORKING_TREE, metavar="COMMIT", help="(default: the working tree)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="configurations whose name has it; repeatable")
    parser.add_argument("--ignore", action="append", default=[], metavar="KEY", help="of documents; repeatable")
    parser.add_argument(
        "--all",
        action="store_true",
        help="all differences of a configuration, not only the first value and the first file",
    )
    parser.add_argument("--compile", action="store_true", help="also a compiled run, which takes minutes")
    options = parser.parse_args()
    chosen = [*CONFIGURATIONS, *([COMPILED] if options.compile else [])]
    chosen = [c for c in chosen if not options.only or any(text in c.name for text in options.only)]
    start, different = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        make_inputs(folder / "inputs")
        versions = [stack.enter_context(Version(getattr(options, name), folder / name)) for name in ("before", "after")]
        print("| configuration | images | artefacts | documents | time | |\n|---|---|---|---|---|---|", flush=True)
        for configuration in chosen:
            began = time.monotonic()
            result = compare(configuration, versions, folder / "inputs", set(options.ignore))
            shown = [*result.values, *result.files] if options.all else [*result.values[:1], *result.files[:1]]
            more = len(result.values) + len(result.files) - len(shown)
            verdict = "equal"
            if shown:
                verdict = "**different**: " + "; ".join(shown) + (f" (and {more} more)" if more else "")
            counts = f"{result.images} | {result.artefacts} | {result.documents} | {time.monotonic() - began:.0f} s"
            print(f"| {configuration.name} | {counts} | {verdict} |", flush=True)
            different += bool(shown)
    print(f"\n{different} of {len(chosen)} configurations differ ({time.monotonic() - start:.0f} s)")
    return 1 if different or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())

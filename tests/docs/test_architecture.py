"""The page on the architecture names files that exist, and every package."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "camcli"
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_files_that_answer_a_question_exist() -> None:
    files = re.findall(r"`(camcli/[\w/.]+)`", TEXT)
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_module_that_is_named_is_in_its_package() -> None:
    sections = re.split(r"^### ", TEXT.split("## Packages")[1].split("## Decisions")[0], flags=re.MULTILINE)[1:]
    missing: list[str] = []
    for section in sections:
        packages = [name for name in re.findall(r"`(\w+)`", section.splitlines()[0]) if (PACKAGE / name).is_dir()]
        folders = [PACKAGE / name for name in packages] or [PACKAGE]
        missing += [
            f"{section.splitlines()[0]}: {module}"
            for module in re.findall(r"`([\w/]+\.py)`", section)
            if not any((folder / module).exists() for folder in [*folders, PACKAGE])
        ]
    assert missing == []


def test_every_package_is_described() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"schemas"}
    headings = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^### .*$", TEXT, re.MULTILINE))))
    assert packages <= headings

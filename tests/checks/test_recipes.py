"""Each CI recipe of the documentation stops the models that it must stop, and lets the good one pass.

One run of each model is shared by all recipes, since their ``cam run`` is the same; the suite has only checks that read
the run, since those that open the model are executed as they stand in ``test_examples``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from camcli.cli import main
from camcli.errors import ConfigError

from ..conftest import SAMPLES
from . import test_shortcut
from .test_shortcut import write_images

CI = SAMPLES.parent / "docs" / "ci"
JOBS = ("github-actions.yml", "gitlab-ci.yml")
SUITE = "".join(f"[{name}]\n" for name in ("valid", "border", "focus", "agree", "predictions", "drift"))

BROKEN: dict[str, tuple[tuple[str, ...], int]] = {
    "random weights": (("--weights", "random"), 1),
    "another mean and deviation": (("--mean", "0,0,0", "--std", "1,1,1"), 2),  # another baseline is needed
    "another size": (("--input-size", "160"), 2),
    "channels swapped in the model": (("--model", "factory:tests.checks.broken_models:swapped"), 1),
    "a shuffled class order": (("--model", "factory:tests.checks.broken_models:shuffled"), 1),
}
"""Flags of ``cam run`` that make each model, and the exit code of ``cam check``."""


def call(*arguments: str) -> int:
    """The exit code of a command, called in this process."""
    try:
        main(list(arguments))
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def pytest_recipe() -> Any:
    """The module of the pytest example."""
    spec = spec_from_file_location("attention_recipe", CI / "test_attention.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(name: str, of: str) -> list[list[str]]:
    return [line.split() for line in re.findall(of, (CI / name).read_text(encoding="utf-8"), re.MULTILINE)]


def check_of_the_jobs() -> list[str]:
    """The ``cam check`` of both jobs, which differ in what they print alone."""
    ours, theirs = (commands(name, r"^ *(?:run:|-) cam (check .*)$")[0] for name in JOBS)
    place = ours.index("--format")
    assert [*ours[:place], *ours[place + 2 :]] == theirs
    return ours


def without_sheet(command: list[str]) -> list[str]:
    """The command without its pictures, which open the model."""
    place = command.index("--sheet")
    return command[:place] + command[place + 2 :]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with photographs, a suite and the baseline of the good model; the working directory."""
    root = tmp_path_factory.mktemp("user")
    shutil.copytree(SAMPLES, root / "sample_images")
    (root / "configs").mkdir()
    (root / "configs" / "checks.toml").write_text(SUITE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


@pytest.fixture(scope="module")
def explain(repository: Path) -> Callable[..., Path]:
    """Makes ``attention`` the run of a model: the recipes' own ``cam run`` with more flags."""
    once, job = (commands(JOBS[0], of) for of in (r"^#   cam (.*)$", r"^ *(?:run:|-) cam (.*)$"))
    assert job[0] == commands(JOBS[1], r"^ *(?:run:|-) cam (.*)$")[0], "the recipes explain alike"
    for command in once:
        assert call(*command) == 0
    shutil.move("attention", "good")

    def explain(name: str, *flags: str) -> Path:
        if not Path(name).exists():
            command = [*job[0][: job[0].index("--save")], "--save", "none", "--output-dir", name]  # no pictures
            assert call(*command, *flags) == 0
        shutil.rmtree("attention", ignore_errors=True)
        shutil.copytree(name, "attention")
        return Path("attention")

    return explain


@pytest.mark.parametrize("broken", BROKEN)
def test_every_recipe_stops_a_broken_model(broken: str, explain: Callable[..., Path]) -> None:
    flags, code = BROKEN[broken]
    run = explain(broken.replace(" ", "-"), *flags)
    assert call(*without_sheet(check_of_the_jobs())) == code
    example = pytest_recipe()
    if code == 2:
        with pytest.raises(ConfigError, match="cannot be compared"):
            example.check(str(run))
        return
    results = example.check(str(run))
    failed = {name for name, result in results.items() if result.effective_status == "fail"}
    assert failed, results
    for name in failed:
        with pytest.raises(AssertionError):
            example.test_attention(results, name)


def test_every_recipe_passes_the_good_model(explain: Callable[..., Path]) -> None:
    run = explain("good")
    check = check_of_the_jobs()
    assert "--require" in check
    assert call(*without_sheet(check)) == 0
    example = pytest_recipe()
    results = example.check(str(run))
    assert set(example.REQUIRED) <= set(results)
    for name in results:
        example.test_attention(results, name)


TOY = (
    *("--input-size", "96", "--mean", "0,0,0", "--std", "1,1,1", "--resize", "squash", "--layer", "body"),
    *("--layout", "nchw", "--class-names", "names.txt"),
)
"""Flags of ``cam run`` for the networks of ``test_shortcut``."""


def test_every_recipe_stops_a_planted_shortcut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks say the same of nearly every image, one of them because of the mark; the baseline is the other's."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "sample_images", marked=True)
    (tmp_path / "names.txt").write_text("alpha\nbeta\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "checks.toml").write_text(SUITE + "[shortcut]\nmin_images = 20\n", encoding="utf-8")
    job = commands(JOBS[0], r"^ *(?:run:|-) cam (.*)$")[0]
    explain = [*job[: job.index("--save")], "--save", "none", *TOY, "--output-dir"]
    model = f"factory:{test_shortcut.__name__}:"
    assert call(*explain, "good", "--model", f"{model}dark") == 0
    assert call("check", "good", "--write-baseline", "attention.baseline", "--fail-on", "never") == 0
    assert call(*explain, "attention", "--model", f"{model}red") == 0
    assert call(*without_sheet(check_of_the_jobs())) == 1
    example = pytest_recipe()
    assert example.check("good")["shortcut"].status == "pass"
    planted = example.check("attention")
    assert planted["shortcut"].status == "fail", planted["shortcut"].why
    with pytest.raises(AssertionError, match="'alpha' carry the same patch"):
        example.test_attention(planted, "shortcut")

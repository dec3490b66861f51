"""The documented CI jobs and the pytest example, executed as they stand, on the built-in model and real photographs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from camcli.checks import load_suite
from camcli.checks.registry import CHECKS
from camcli.checks.settings import COMMON
from tests.faults.forking import Forks

from ..conftest import SAMPLES, Outcome

ROOT = SAMPLES.parent
CI = ROOT / "docs" / "ci"
JOBS = ("github-actions.yml", "gitlab-ci.yml")


def small_photographs() -> Iterator[tuple[Path, Image.Image]]:
    """The sample images, not much larger than what the model sees: the search for shortcuts is in all their pixels."""
    for path in sorted(SAMPLES.rglob("*.jpg")):
        photo = Image.open(path).convert("RGB")
        photo.thumbnail((320, 320))
        yield path, photo


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of a user's: photographs, a suite."""
    root = tmp_path_factory.mktemp("user")
    for path, photo in small_photographs():
        (root / "sample_images" / path.parent.name).mkdir(parents=True)
        photo.save(root / "sample_images" / path.parent.name / path.name, quality=92)
    (root / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "checks.toml", root / "configs")
    shutil.copy(CI / "test_attention.py", root)
    return root


def commands(text: str, of: str) -> list[list[str]]:
    return [line.split() for line in re.findall(of, text, re.MULTILINE)]


def write_baseline(repository: Path, cam: Callable[..., Outcome], once: list[list[str]]) -> None:
    if not (repository / "attention.baseline").exists():
        for command in once:
            assert cam(*command).code == 0


def test_the_jobs_call_the_same_commands() -> None:
    """So that it is enough to run one of them."""
    github, gitlab = ((CI / name).read_text(encoding="utf-8") for name in JOBS)
    once, job = r"^#   cam (.*)$", r"^ *(?:run:|-) cam (.*)$"
    assert commands(github, once) == commands(gitlab, once)
    of_github = commands(github.replace(" --format github", ""), job)
    assert of_github == commands(gitlab, job)
    assert len(of_github) == 2


@pytest.mark.parametrize("name", [JOBS[0], pytest.param(JOBS[1], marks=pytest.mark.slow)])
def test_a_job_runs_as_it_stands(
    name: str, repository: Path, cam: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    # The pytest example compares with all untrained networks; each takes a second.
    monkeypatch.setattr("camcli.checks.rules.untrained.UNTRAINED_NETWORKS", 2)
    text = (CI / name).read_text(encoding="utf-8")
    once, job = commands(text, r"^#   cam (.*)$"), commands(text, r"^ *(?:run:|-) cam (.*)$")
    assert [c[0] for c in once] == [c[0] for c in job] == ["run", "check"]
    write_baseline(repository, cam, once)
    shutil.rmtree(repository / "attention")
    for command in job:
        done = cam(*command)
        assert done.code == 0, done.out + done.err
    assert (repository / "attention.xml").stat().st_size > 1000
    assert (repository / "attention-worst.jpg").stat().st_size > 10_000
    for written in ("attention.xml", "attention-worst.jpg"):
        assert written in text.split("cam check attention --suite")[1], f"{name} does not keep {written}"


def test_jobs_are_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    github = yaml.safe_load((CI / JOBS[0]).read_text(encoding="utf-8"))
    assert [step.get("uses", step.get("run", "")).split()[0] for step in github["jobs"]["attention"]["steps"]] == [
        "actions/checkout@v4", "actions/setup-python@v5", "pip", "cam", "cam", "actions/upload-artifact@v4",
    ]  # fmt: skip
    gitlab = yaml.safe_load((CI / JOBS[1]).read_text(encoding="utf-8"))
    assert gitlab["attention"]["artifacts"]["reports"]["junit"] == "attention.xml"


def test_the_pytest_example_passes_on_the_built_in_model(
    repository: Path, cam: Callable[..., Outcome], forks: Forks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    write_baseline(repository, cam, commands((CI / "test_attention.py").read_text(encoding="utf-8"), r"^  cam (.*)$"))
    # All 19 untrained networks take half a minute.
    (repository / "few_networks.py").write_text(
        "from camcli.checks.rules import untrained\nassert untrained.UNTRAINED_NETWORKS\n"
        "untrained.UNTRAINED_NETWORKS = 2\n"
    )
    # A run of its own, in a process that has torch imported; not a worker of the one that measures the coverage.
    own = (
        "import os, sys\n"
        "for name in [n for n in os.environ if n.startswith(('PYTEST_', 'COV_'))]: del os.environ[name]\n"
        f"os.chdir({str(repository)!r})\n"
        "sys.path.insert(0, os.getcwd())\n"
        "import pytest\n"
        "options = ['-q', '-rs', '-p', 'no:cacheprovider', '-p', 'few_networks']\n"
        "raise SystemExit(int(pytest.main([*options, 'test_attention.py'])))\n"
    )
    code, running = forks.run((), own)
    assert code == 0, running.out + running.err
    passed = int(re.findall(r"(\d+) passed", running.out)[0])
    assert passed >= 6, running.out  # valid, layout, border, focus, stable, agree, wrong


def test_the_default_suite_passes_on_the_built_in_model_and_real_photographs(
    cam: Callable[..., Outcome], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for path, photo in small_photographs():
        (photos / path.parent.name).mkdir(parents=True, exist_ok=True)
        for number, (x, y) in enumerate(((0, 0), (0.15, 0), (0, 0.15), (0.15, 0.15), (0.07, 0.07))):
            corner = int(x * photo.width), int(y * photo.height)
            size = int(0.85 * photo.width), int(0.85 * photo.height)
            crop = photo.crop((*corner, corner[0] + size[0], corner[1] + size[1]))
            crop.save(photos / path.parent.name / f"{path.stem}-{number}.jpg", quality=92)
    out = tmp_path / "out"
    done = cam("check", photos, "--method", "gradcam,reciprocam", "--save", "none", "--output-dir", out, "--json")
    assert done.code == 0, done.err
    statuses = {row["check"]: row["status"] for row in done.document["checks"]}
    assert {name for name, status in statuses.items() if status == "pass"} == {
        "valid", "border", "focus", "agree", "wrong",
    }, statuses  # fmt: skip
    assert statuses["shortcut"] == "inconclusive"  # no class has ten images
    assert {statuses[name] for name in ("foreground", "avoid", "predictions", "drift")} == {
        "skipped"
    }  # what they need was not given


def test_the_example_suite_states_the_defaults_of_every_check() -> None:
    suite = load_suite(str(ROOT / "configs" / "checks.toml"), ["faithful.enabled=true", "shortcut.enabled=true"])
    assert set(suite.settings) == set(CHECKS)
    for key, settings in suite.settings.items():
        for name, spec in CHECKS[key].settings.items():
            if name not in COMMON and name != "images":
                assert settings[name] == spec.default, f"{key}.{name}"

"""Where your model looks, as a pytest test. Copy it, and change the names in capitals.

Once, from a run that you know to be good, and commit the file (about 300 bytes an image):
  cam run sample_images --method gradcam,reciprocam --save none --output-dir attention
  cam check attention --write-baseline attention.baseline

pytest test_attention.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

import camcli
from camcli.checks import CHECKS, Result, check_run

IMAGES = "sample_images"  # a folder, a glob, or a manifest with the columns image, label, box
MODEL = "builtin"  # factory:my_package.models:build, torchvision:resnet50, timm:...
SUITE = "configs/checks.toml"
CHANGES = ["suite.min_images=5"]  # with so few photographs; leave it out for a real test set
BASELINE = "attention.baseline"
# These must be decided: inconclusive or skipped, they fail. With ten images a class or more add shortcut.
REQUIRED = ["valid", "border", "focus", "predictions", "drift"]


def check(run: str) -> dict[str, Result]:
    """The checks of a finished run."""
    results = check_run(run, suite=SUITE, changes=CHANGES, baseline=BASELINE, require=REQUIRED)
    return {result.check: result for result in results}


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """One run of the model, all checks on it."""
    out: Path = tmp_path_factory.mktemp("attention") / "run"
    config = camcli.RunConfig(
        image_path=(IMAGES,), model=MODEL, method=("gradcam", "reciprocam"), save=(), output_dir=str(out)
    )
    assert camcli.run(config).exit_code == 0
    return check(str(out))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_attention(results: dict[str, Result], name: str) -> None:
    if name not in results:
        pytest.skip("not in the suite")
    result = results[name]
    if result.effective_status in ("skipped", "inconclusive"):
        pytest.skip(result.why)
    worst = "\n".join(f"{one.image}: {one.words}" for one in result.worst)
    assert result.effective_status in ("pass", "warn"), f"{result.reason}\n{worst}"

"""Where your model looks, as a pytest test. Copy it, and change the names in capitals.

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


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """One run of the model, all checks on it."""
    out: Path = tmp_path_factory.mktemp("attention") / "run"
    config = camcli.RunConfig(
        image_path=(IMAGES,), model=MODEL, method=("gradcam", "reciprocam"), save=(), output_dir=str(out)
    )
    assert camcli.run(config).exit_code == 0
    return {result.check: result for result in check_run(str(out), suite=SUITE, changes=CHANGES)}


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_attention(results: dict[str, Result], check: str) -> None:
    if check not in results or results[check].status in ("skipped", "inconclusive"):
        pytest.skip(results[check].why if check in results else "not in the suite")
    result = results[check]
    assert result.status in ("pass", "warn"), f"{result.why}\n" + "\n".join(
        f"{w.image}: {w.words}" for w in result.worst
    )

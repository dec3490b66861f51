"""Models that return something else than logits: their own probability is shown, and the right score explained."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from camcli.api import Result, explain
from camcli.errors import ConfigError, ModelError, UsageError
from camcli.models import ClassNames, Model, load_model
from camcli.models.output_examination import Examination, examine
from camcli.models.output_form import OutputForm
from camcli.pipeline.setup import precision_for
from tests.output_kinds import Returning, certain

SOFTMAX = ["softmax", "own_softmax", "half_softmax", "log_softmax", "nested_softmax", "features_first",
           "softmax_module", "log_softmax_module", "percent", "squeezed_softmax"]  # fmt: skip
SIGMOID = ["sigmoid", "sigmoid_flat", "squeezed_sigmoid", "own_sigmoid", "log_sigmoid", "sigmoid_module", "one_logit"]
LOGITS = ["probabilities_first", "logits_first", "sigmoids_first", "entries", "fields", "column", "pixel", "squeezed",
          "squeezed_pair", "integer_keys", "slots", "two_heads", "features_then_logits"]  # fmt: skip


@cache
def image(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


def model(kind: str) -> Model:
    return load_model(f"factory:tests.output_kinds:{kind}", input_size=64)


def result(kind: str, seed: int = 0, **settings: Any) -> Result:
    settings = {"layer": "0.net.features" if kind.endswith("_module") else "net.features", **settings}
    return explain(model(kind), image(seed), batch_size=1, **settings)[0]


def examined(kind: str, mode: Any = "auto") -> Model:
    loaded = model(kind)
    with loaded.prepared():
        return examine(loaded, mode).model


def probabilities(found: Result) -> dict[int, float | None]:
    return {p.index: p.probability for p in found.predictions}


@cache
def plain(seed: int = 0) -> Result:
    return result("plain", seed)


def gradcam(module: Returning, score: Any, seed: int = 0) -> np.ndarray:
    """By its definition, in float64, of the network without its softmax."""
    loaded = model("plain")
    inputs = loaded.preprocessing(Image.fromarray(image(seed)))
    pixels = torch.from_numpy(np.asarray(inputs.pixels)).permute(2, 0, 1)[None].double() / 255
    mean, std = (
        torch.tensor(v).double()[None, :, None, None] for v in (loaded.preprocessing.mean, loaded.preprocessing.std)
    )
    net = module.double().eval()
    activation = net.net.features((pixels - mean) / std).detach().requires_grad_()
    logits = net.net.head(activation.mean((2, 3)))
    (gradient,) = torch.autograd.grad(score(logits), activation)
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1)[0].detach().numpy()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", SOFTMAX)
def test_softmax_inside(kind: str, seed: int) -> None:
    """The probability is that of the network without it, and the map that of the same scalar, log p."""
    found, expected = result(kind, seed), plain(seed)
    tolerance = 2e-3 if kind == "half_softmax" else 1e-6
    assert probabilities(found) == pytest.approx(probabilities(expected), abs=tolerance)
    own = found.maps["gradcam"]
    assert own.target is not None
    assert own.target.logit == pytest.approx(np.log(own.target.probability), abs=1e-5)
    chosen = own.target.index
    reference = gradcam(Returning(), lambda z: torch.log_softmax(z, 1)[0, chosen], seed)
    np.testing.assert_allclose(
        own.native, reference, atol=(1e-2 if kind == "half_softmax" else 1e-4) * np.abs(reference).max()
    )


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("kind", SIGMOID)
def test_one_output_is_a_classifier_of_two(kind: str, target: int) -> None:
    """p of the second class is the sigmoid; the first class is explained by the negated logit."""
    found = result(kind, target=target)
    logits = {p.index: p.logit for p in plain().predictions}
    z = logits[1] - logits[0]
    p = 1 / (1 + np.exp(-z))
    assert probabilities(found) == pytest.approx({0: 1 - p, 1: p}, abs=1e-6)
    assert found.predictions[0].index == int(z > 0)
    own = found.maps["gradcam"]
    assert own.target is not None
    assert own.target.logit == pytest.approx(z if target else -z, abs=1e-5)
    reference = gradcam(Returning(), lambda z: (z[0, 1] - z[0, 0]) * (1 if target else -1))
    np.testing.assert_allclose(own.native, reference, atol=1e-4 * np.abs(reference).max())


@pytest.mark.parametrize("kind", LOGITS)
def test_logits_beside_their_probabilities(kind: str) -> None:
    found = result(kind)
    expected = probabilities(plain())
    if kind == "sigmoids_first":
        expected = {p.index: 1 / (1 + np.exp(-p.logit)) for p in plain().predictions}
    assert probabilities(found) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(found.maps["gradcam"].native, plain().maps["gradcam"].native)


def test_multi_label() -> None:
    found = result("multi_label")
    for own, expected in zip(found.predictions, plain().predictions, strict=True):
        assert own.probability == pytest.approx(1 / (1 + np.exp(-expected.logit)), abs=1e-6)
        assert own.logit == pytest.approx(expected.logit, abs=1e-5)
    native, reference = found.maps["gradcam"].native, plain().maps["gradcam"].native
    np.testing.assert_allclose(native, reference, atol=1e-4 * np.abs(reference).max())


@pytest.mark.parametrize("margin", [20.0, 60.0])
def test_a_network_that_is_certain(margin: float) -> None:
    """Where p is rounded to 1, the map is still that of log p: a gradient of 1e-9 or 1e-26, but for a factor."""
    scale = margin / 0.04
    chosen = plain().predictions[0].index

    class Certain(Returning):
        def __init__(self) -> None:
            super().__init__(lambda z: torch.softmax(z, 1), scale)

    module = Certain()
    loaded = dataclasses.replace(model("softmax"), module=module)
    found = explain(loaded, image(), layer="net.features", batch_size=1)[0]
    assert found.predictions[0].probability == pytest.approx(1, abs=1e-6)
    native = found.maps["gradcam"].native
    reference = gradcam(Certain(), lambda z: _log_p(z[0], chosen))
    assert native.max() > 1e-6
    np.testing.assert_allclose(native / native.max(), reference / reference.max(), atol=1e-3)


def _log_p(z: Tensor, chosen: int) -> Tensor:
    others = torch.cat([z[:chosen], z[chosen + 1 :]])
    return -torch.log1p((others - z[chosen]).exp().sum())


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("argmax", "int64.*argmax"),
        ("argmax_float", "whole numbers.*argmax"),
        ("threshold", "whole.*argmax"),
        ("rounded", "whole.*argmax"),
        ("decisions", "whole.*argmax"),
        ("one_hot", "whole.*argmax"),
        ("ranks", "places are ranks, not classes"),
        ("sorted", "places are ranks, not classes"),
        ("softmax_over_images", "its softmax goes over an axis of length 1"),
        ("softmax_over_one", "its softmax goes over an axis of length 1"),
        ("nothing", "holds no tensor"),
        ("array", "ndarray, which holds no tensor"),
    ],
)
def test_what_no_score_is_is_refused(kind: str, what: str) -> None:
    with pytest.raises(ModelError, match=what):
        result(kind)


def test_values_that_a_softmax_or_sigmoid_bounds() -> None:
    z = torch.tensor([p.logit for p in sorted(plain().predictions, key=lambda p: p.index)])
    (age,) = result("expected_age").predictions
    assert age.probability is None
    assert age.logit == pytest.approx(float(torch.softmax(z, 0) @ torch.tensor([0.0, 20, 40, 60])), abs=1e-3)
    landmarks = {p.index: p.logit for p in result("landmarks").predictions}
    assert landmarks == pytest.approx(dict(enumerate((64 * torch.sigmoid(z)).tolist())), abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "mode", "expected", "said"),
    [
        ("plain", "auto", ("logits", None), "4 outputs are taken for the logits of 4 classes"),
        ("plain", "softmax", OutputForm(), None),
        ("named", "auto", OutputForm(), None),
        ("softmax", "auto", ("probabilities", "exp"), "probabilities already"),
        ("log_softmax", "auto", ("log-probabilities", "exp"), "logarithms"),
        ("sigmoid", "auto", ("probabilities", "sigmoid"), "probabilities already"),
        ("sigmoid", "sigmoid", ("probabilities", "sigmoid"), "probabilities already"),
        ("own_sigmoid", "auto", ("probabilities", "sigmoid"), "taken for probabilities"),
        ("own_sigmoid", "sigmoid", ("logits", "sigmoid"), None),
        ("one_logit", "auto", ("logits", "sigmoid"), "if it is a value (regression), give --probability none"),
        ("one_logit", "sigmoid", ("logits", "sigmoid"), None),
        ("one_logit", "none", ("values", "none"), None),
        ("plain", "none", ("values", "none"), None),
        ("age", "auto", ("values", "none"), "if it is one, give --probability sigmoid"),
        ("age", "sigmoid", ("logits", "sigmoid"), None),
        ("regression", "auto", ("values", "none"), "configuration says regression"),
        ("animals", "auto", ("logits", "sigmoid"), None),
        ("unit", "auto", ("embedding", "none"), "embedding, not classes"),
        ("unit_positive", "auto", ("embedding", "none"), "embedding, not classes"),
        ("percent", "auto", ("probabilities", "exp"), "in percent already"),
        ("landmarks", "auto", ("values", "none"), "they come from a sigmoid"),
        ("expected_age", "auto", ("values", "none"), "they come from a softmax"),
        ("positive", "auto", ("values", "none"), "as a logit it would always mean class 1"),
        ("two_heads", "auto", ("logits", None), "(0: 4, 1: 3), 0 is taken for the logits"),
        ("features_then_logits", "auto", ("logits", None), "1, which is computed from 0, is taken"),
        ("sigmoids_first", "softmax", ("logits", None), None),
    ],
)
def test_what_is_recognised_and_said(kind: str, mode: str, expected: Any, said: str | None) -> None:
    """Ordinary classifiers: nothing. Whatever else: one line, and none where the user has said it."""
    recognised = examined(kind, mode)
    if isinstance(expected, OutputForm):
        assert recognised.output == expected
    else:
        assert (recognised.output.kind, recognised.output.link) == expected
    lines = (*recognised.notes, *(line for line in recognised.assumptions if "brings no preprocessing" not in line))
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]


def test_probabilities_are_not_rounded_to_bf16_by_default() -> None:
    """From a logit of 6 on, bf16 rounds a sigmoid to 1."""
    assert torch.tensor(6.5).sigmoid().bfloat16() == 1
    assert precision_for(examined("sigmoid"), "auto", "bf16") == "fp32"
    assert precision_for(examined("sigmoid"), "bf16", "bf16") == "bf16"
    assert precision_for(examined("softmax"), "auto", "bf16") == "bf16"
    assert precision_for(examined("plain"), "auto", "bf16") == "bf16"


def test_a_softmax_of_one_output_is_refused() -> None:
    with pytest.raises(ConfigError, match="softmax over one is always 1"):
        examined("one_logit", "softmax")


def test_names_of_one_output(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    loaded = load_model("factory:tests.output_kinds:one_logit", input_size=64, class_names=str(names))
    assert loaded.class_names == ClassNames(("cat", "dog"))
    names.write_text("melanoma\n")
    loaded = load_model("factory:tests.output_kinds:one_logit", input_size=64, class_names=str(names))
    with loaded.prepared():
        assert examine(loaded).model.class_names == ClassNames(("not melanoma", "melanoma"))
    names.write_text("a\nb\nc\n")
    with pytest.raises(ModelError, match="3 names for the 1 classes"):
        load_model("factory:tests.output_kinds:one_logit", input_size=64, class_names=str(names))


def test_values_have_no_probability() -> None:
    found = result("age", method="gradcam,rise", option=("rise.masks=20",))
    assert [p.probability for p in found.predictions] == [None]
    logits = {p.index: p.logit for p in plain().predictions}
    assert found.predictions[0].logit == pytest.approx(40 + logits[1] - logits[0], abs=1e-4)
    with pytest.raises(UsageError, match="--score prob"):
        result("age", score="prob")


def test_an_encoder_from_python() -> None:
    found = result("unit", method="eigencam")
    assert (found.predictions, found.maps["eigencam"].target) == ((), None)
    with pytest.raises(UsageError, match="encoder without a classifier"):
        result("unit")


def test_two_passes() -> None:
    """No more than one pass of two images, or two of one."""
    passes: list[int] = []
    for kind in ("plain", "softmax", "one_logit", "unit"):
        loaded = model(kind)
        handle = loaded.module.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
        with loaded.prepared():
            examination = examine(loaded)
        handle.remove()
        assert isinstance(examination, Examination)
        assert passes == [2]
        assert examination.first is not None
        assert examination.first.shape[0] == 1
        passes.clear()


def test_a_model_that_fails_is_left_to_the_layout_verification() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    loaded = dataclasses.replace(model("plain"), module=Fails())
    assert examine(loaded).first is None


def test_a_guess_that_turns_out_wrong_is_an_error() -> None:
    recognised = examined("own_sigmoid")
    assert recognised.output.assumed is not None
    with pytest.raises(ModelError, match=r"returned 3, so its outputs are no probabilities.*--probability"):
        recognised.logits(torch.tensor([[3.0]]))


def test_probabilities_that_are_rounded_away() -> None:
    """Scores stay finite, and so do gradients."""
    p = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], requires_grad=True)
    scores = OutputForm("probabilities", link="exp").scores(p)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.exp(), p.detach(), atol=1e-7, rtol=0)
    scores.sum().backward()  # type: ignore[no-untyped-call]
    assert p.grad is not None
    assert p.grad.isfinite().all()
    one = torch.tensor([[1.0], [0.0], [0.25]], requires_grad=True)
    scores = OutputForm("probabilities", link="sigmoid", is_binary=True).scores(one)
    assert scores.isfinite().all()
    torch.testing.assert_close(torch.sigmoid(scores), torch.cat([1 - one, one], 1).detach(), atol=1e-6, rtol=0)
    logarithms = torch.tensor([[0.0], [-1e4]], requires_grad=True)
    assert OutputForm("log-probabilities", link="sigmoid").scores(logarithms).isfinite().all()


def test_the_network_that_is_certain_beyond_float32_has_no_map() -> None:
    loaded = dataclasses.replace(model("softmax"), module=certain())
    found = explain(loaded, image(), layer="net.features", batch_size=1)[0]
    assert found.predictions[0].probability == 1
    assert not found.maps["gradcam"].normalised.any()

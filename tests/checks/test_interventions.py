"""Checks that run the model again: each passes for a good reason and fails for one."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from camcli.checks import Result, check_run
from camcli.checks.distances import spearman
from camcli.checks.recorded import read_run
from camcli.checks.reopened import ReopenedModel
from camcli.checks.rules.faithful import sign_test
from camcli.checks.rules.reinitialise import reinitialise
from camcli.checks.rules.stable import CHANGES, shift
from camcli.checks.rules.untrained import measure_lead

from .conftest import World
from .handmade import only
from .shapes import Net


def one(run: Path, name: str, *changes: str) -> Result:
    results = check_run(str(run), changes=[*only(name), *changes])
    return next(result for result in results if result.check == name)


def test_stable_passes_for_a_trained_model_and_fails_for_a_chaotic_one(world: World) -> None:
    calm = one(world.run("clean", "plain"), "stable", "stable.images=32")
    assert calm.status == "pass"
    assert calm.n == 32
    # Such a model hardly follows the places of its input, by which a layout is verified.
    chaotic = one(world.run("chaotic", "plain", layout="nchw"), "stable", "stable.images=32")
    assert chaotic.status == "fail"
    assert "photometric" in chaotic.why


def test_random_passes_for_a_class_map_and_fails_for_one_that_ignores_the_weights(world: World) -> None:
    good = one(world.run("clean", "plain"), "random", "random.images=32")
    assert good.status == "pass"
    assert good.details["lead"] > 3  # it is trained
    fixed = one(world.run("fixed_gaze", "plain", layout="nchw"), "random", "random.images=32")
    assert fixed.status == "fail"
    assert "Maps stay much the same" in fixed.why  # and so has this one; its maps do not show it
    assert fixed.details["lead"] > 3
    by_name = {condition.name: condition for condition in fixed.conditions}
    assert by_name["weights median"].value > 0.9
    assert one(world.run("clean", "plain", method="eigencam"), "random").status == "skipped"


def test_a_re_initialised_model_fails_random_since_there_is_nothing_to_depend_on(world: World) -> None:
    found = one(world.run("reinitialised", "plain"), "random", "random.images=32")
    assert found.status == "fail"
    assert "was the checkpoint loaded?" in found.why
    assert found.deciding is not None
    assert found.deciding.name == "lead"
    assert found.deciding.value < 1
    # The correlations alone would let it pass: its maps change with new weights like those of any model.
    unasked = one(world.run("reinitialised", "plain"), "random", "random.images=32", "random.lead_min=0")
    assert "lead" not in unasked.why
    assert abs({c.name: c.value for c in unasked.conditions}["weights median"]) < 0.4
    few = one(world.run("reinitialised", "plain"), "random", "random.images=12")
    assert few.status == "inconclusive"


def test_re_initialising_changes_the_map_of_a_method_that_depends_on_the_weights_and_no_other(
    world: World, tmp_path: Path
) -> None:
    """The check's own statistic, measured from outside: run, re-initialise, run again, compare."""

    def correlation(trained: Path, reinitialised: Path) -> float:
        base, run = read_run(trained), read_run(reinitialised)
        key = base.keys[0]
        old = {record.image: np.maximum(record.maps[key].raw, 0) for record in base.images}
        rhos = [spearman(old[record.image], np.maximum(record.maps[key].raw, 0)) or 0.0 for record in run.images]
        return float(np.median(rhos))

    assert abs(correlation(world.run("clean", "plain"), world.run("reinitialised", "plain"))) < 0.4
    flags = {"layout": "nchw"}
    assert (
        correlation(world.run("fixed_gaze", "plain", **flags), world.run("reinitialised_gaze", "plain", **flags)) > 0.9
    )


@pytest.mark.parametrize("seed", range(3))
def test_only_a_trained_model_is_ahead_of_random_weights(world: World, seed: int) -> None:
    trained = read_run(world.run("clean", "plain"))
    key = trained.keys[0]
    with ReopenedModel(trained, key) as reopened:
        discs = [record for record in trained.images if record.label == "disc"]
        several, alike = ([p.pixels for p in reopened.pictures(some)] for some in (trained.images[:48], discs))
        assert measure_lead(reopened, several, seed) > 3
        assert measure_lead(reopened, alike, seed) > 3  # also where all images are of one class
        net = reopened.setup.model.module
        for reinitialised in (reinitialise(net, reopened.inputs(several[:16]), 100 + seed), torch_default(seed)):
            net.load_state_dict(reinitialised.state_dict())
            assert measure_lead(reopened, several, seed) < 1


def test_maps_are_made_in_halves_where_memory_runs_out(world: World) -> None:
    run = read_run(world.run("clean", "plain"))
    with ReopenedModel(run, run.keys[0]) as reopened:
        pixels = [picture.pixels for picture in reopened.pictures(run.images[:5])]
        arguments = pixels, [0, 1, 0, 1, 0], [0, 1, 2, 3, 4]
        whole, probabilities = reopened.maps(*arguments), reopened.probabilities(pixels)
        sizes: list[int] = []

        def limited(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
            sizes.append(len(inputs[0]))
            if sizes[-1] > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        with reopened.setup.model.module.register_forward_pre_hook(limited):
            np.testing.assert_allclose(reopened.maps(*arguments), whole, atol=1e-4 * np.abs(whole).max())
            np.testing.assert_allclose(reopened.probabilities(pixels), probabilities, atol=1e-5)
        assert sizes == [5, 3, 2, 2, 2, 2, 2, 2]  # the second time, no more are tried than fitted before


def torch_default(seed: int) -> Net:
    torch.manual_seed(seed)
    return Net()


def test_new_weights_change_the_maps_more_the_further_down_they_reach(world: World) -> None:
    curve = one(world.run("clean", "plain"), "random", "random.images=32").details["median_by_stage"]
    assert len(curve) == 3
    assert curve[0] > curve[-1]
    assert abs(curve[-1]) < 0.4


def test_randomised_copies_leave_the_model_alone_and_carry_signals() -> None:
    net = Net().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    inputs = torch.randn(8, 3, 64, 64)
    upper, whole = reinitialise(net, inputs, seed=0, share=1 / 3), reinitialise(net, inputs, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not torch.equal(upper.head.weight, net.head.weight)  # type: ignore[union-attr]
    assert torch.equal(upper.features[0].weight, net.features[0].weight)  # type: ignore[index,union-attr]
    assert not torch.equal(whole.features[0].weight, net.features[0].weight)  # type: ignore[index,union-attr]
    assert not whole.training
    with torch.no_grad():
        deepest = whole.features(inputs)  # type: ignore[operator]
    assert 0.1 < float(deepest.std()) < 10


def test_faithful_passes_for_evidence_and_fails_for_its_opposite(world: World) -> None:
    good = one(world.run("clean", "plain"), "faithful", "faithful.images=32", "faithful.steps=8")
    assert good.status in ("pass", "warn"), good.why
    assert good.conditions[0].value > 0.8
    against = one(world.run("clean", "plain", score="neg-logit"), "faithful", "faithful.images=32", "faithful.steps=8")
    assert against.status == "fail"  # evidence against the class decides it less than chance
    noise = one(world.run("clean", "plain", method="randomcam"), "faithful", "faithful.images=16", "faithful.steps=8")
    assert noise.status in ("inconclusive", "fail")


def test_random_is_inconclusive_where_the_other_maps_show_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silence(module: torch.nn.Module, *_: object) -> torch.nn.Module:
        other = copy.deepcopy(module)
        torch.nn.init.zeros_(other.head.weight)  # type: ignore[union-attr,arg-type]
        return other

    monkeypatch.setattr("camcli.checks.rules.randomization.reinitialise", silence)
    found = one(world.run("clean", "plain"), "random", "random.images=32")
    assert found.status == "inconclusive"  # a map of zeros correlates with nothing, and shows nothing about the weights
    assert "only 0 of 32 maps with new random weights show anything" in found.why


def test_faithful_is_inconclusive_with_few_images_and_where_nothing_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = one(world.run("clean", "plain"), "faithful", "faithful.images=16", "faithful.steps=4")
    assert few.status == "inconclusive"  # 16 of 16 wins are significant; an image set of that size is not enough
    monkeypatch.setattr(ReopenedModel, "score", lambda self, inputs, classes: torch.full((len(inputs),), 0.5))
    deaf = one(world.run("clean", "plain"), "faithful", "faithful.images=32", "faithful.steps=4")
    assert deaf.status == "inconclusive"
    assert "32 other images decide nothing" in deaf.why


def test_a_test_that_breaks_off_is_inconclusive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: object) -> None:
        raise RuntimeError("expected 3 channels")

    monkeypatch.setattr(ReopenedModel, "maps", break_off)
    found = one(world.run("clean", "plain"), "stable")
    assert (found.status, found.why) == ("inconclusive", "could not be carried out: expected 3 channels")


def test_pictures_of_any_number_of_bands_are_compressed() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 5)).astype(np.uint8)
    again = CHANGES[0].apply(picture, np.random.default_rng(0))
    assert again.shape == picture.shape
    assert 0 < np.abs(again.astype(int) - picture).mean() < 30


def test_sign_test_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for wins, n in ((81, 135), (60, 100), (0, 5), (5, 5)):
        expected = stats.binomtest(wins, n, alternative="greater").pvalue
        assert sign_test(wins, n) == pytest.approx(expected, rel=1e-9)
    assert sign_test(82, 135) < 0.01 < sign_test(80, 135)  # hence the 135 images


def test_layout_is_verified_again_and_a_wrong_record_is_found(world: World, tmp_path: Path) -> None:
    good = world.run("clean", "plain")
    assert one(good, "layout").status == "pass"
    wrong = tmp_path / "wrong"
    shutil.copytree(good, wrong)
    text = (wrong / "index.json").read_text()
    assert '"layout": "nchw"' in text
    (wrong / "index.json").write_text(text.replace('"layout": "nchw"', '"layout": "nhwc"'))
    found = one(wrong, "layout")
    assert found.status == "fail"
    assert "nhwc" in found.why


def test_a_layout_that_the_user_insisted_on_is_a_warning(world: World) -> None:
    assert one(world.run("scrambled", "plain", layout="nchw"), "layout").status == "warn"


def test_without_images_an_intervention_is_skipped_and_a_shortcut_stays_open(world: World, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(world.run("watermark", "marked"), gone)
    document = json.loads((gone / "index.json").read_text())
    document["config"]["image_path"] = [str(tmp_path / "nowhere.csv")]
    (gone / "index.json").write_text(json.dumps(document))  # in one line: such an index is read, too
    assert one(gone, "stable").status == "skipped"
    assert "nowhere.csv" in one(gone, "stable").why
    shortcut = one(gone, "shortcut")
    assert shortcut.status == "inconclusive"
    assert "cannot be searched" in shortcut.why
    assert "nowhere.csv" in shortcut.why


def test_shifting_there_and_back() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    there = shift(picture, 4 / 32, 4 / 32)
    np.testing.assert_array_equal(there[4:, 4:], picture[:-4, :-4])
    np.testing.assert_array_equal(shift(there, -4 / 32, -4 / 32)[:-4, :-4], picture[:-4, :-4])

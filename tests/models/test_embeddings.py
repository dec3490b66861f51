"""Models that are known to return an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import timm
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from camcli.models import load_model
from camcli.models.embeddings import is_encoder, is_timm_embedding

CLASSES = (365, 1000, 10450, 11221, 11821, 19168, 21841, 21842, 21843, 115217)
"""Of the data sets that timm's classifiers were trained on."""


def config_of(name: str) -> dict[str, object]:
    config = get_pretrained_cfg(name)
    assert config is not None
    return dict(config.to_dict())


def test_all_of_timm() -> None:
    """Exactly those whose number of outputs is of no data set."""
    names = timm.list_pretrained()
    configs = {name: config_of(name) for name in names}
    found = {name for name, config in configs.items() if is_timm_embedding(config, config["num_classes"])}  # type: ignore[arg-type]
    assert found == {name for name, config in configs.items() if config["num_classes"] not in (0, *CLASSES)}
    assert len(found) > 100


@pytest.mark.parametrize(
    ("name", "settings", "classes"),
    [
        ("timm:resnet50_clip.openai", {}, None),
        ("timm:resnet50_clip.openai", {"num_classes": 1024}, 1024),
        ("timm:resnet50_clip.openai", {"num_classes": 7}, 7),
    ],
)
def test_of_a_text_image_model(name: str, settings: dict[str, int], classes: int | None) -> None:
    model = load_model(name, weights="random", **settings)  # type: ignore[arg-type]
    assert model.num_classes == classes
    assert model.class_names is None
    assert any("embedding" in note for note in model.notes) == (classes is None)
    assert ("embedding" in model.no_classifier) == (classes is None)


@dataclass
class Hidden:
    last_hidden_state: Tensor
    pooler_output: Tensor


class Encoder(nn.Module):
    def forward(self, x: Tensor) -> Hidden:
        return Hidden(torch.ones(len(x), 5, 96), torch.ones(len(x), 96))


def test_outputs_that_name_features() -> None:
    output = Encoder()(torch.ones(1, 3, 8, 8))
    assert is_encoder(Encoder(), output)
    assert not is_encoder(Encoder(), {"embedding": output.pooler_output, "logits": output.pooler_output})
    assert not is_encoder(Encoder(), output.pooler_output)
    tower = Encoder()
    tower.pretrained_cfg = {"architecture": "vit_tiny_clip", "tag": "openai", "num_classes": 512}  # type: ignore[assignment]
    tower.num_classes = 512  # type: ignore[assignment]
    assert is_encoder(tower, torch.ones(1, 512))
    tower.num_classes = 10  # type: ignore[assignment]
    assert not is_encoder(tower, torch.ones(1, 10))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ViTModel", True), ("Dinov2Backbone", True), ("CLIPVisionModelWithProjection", True),
     ("ViTForImageClassification", False)],
)  # fmt: skip
def test_transformers_without_a_task(name: str, expected: bool) -> None:
    kind = type(name, (nn.Module,), {"__module__": "transformers.models.vit.modeling_vit"})
    assert is_encoder(kind(), torch.ones(1, 96)) == expected
    assert is_encoder(kind(), SimpleNamespace(logits=torch.ones(1, 96))) == expected

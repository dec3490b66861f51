"""Models whose outputs are an embedding rather than classes, by what is published of them."""

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from camcli.models.outputs import fields_of

_TOWERS = re.compile(r"clip|(^|_)mci\d?(_|$)|vit_pe_core|^vitamin|siglip")
"""Image encoders of text-image models among timm's architectures and tags: CLIP, MobileCLIP, PE, ViTamin, SigLIP."""
_WIDTHS = {256, 384, 512, 640, 768, 896, 1024, 1152, 1280, 1536, 2048}
"""Of their embeddings. Those that were fine-tuned have as many outputs as ImageNet has classes, 1000 and more."""
_FEATURES = {"last_hidden_state", "pooler_output", "image_embeds", "embeddings", "embedding"}


def is_timm_embedding(config: Mapping[str, Any], outputs: int | None) -> bool:
    """Whether the outputs of timm's model with this ``pretrained_cfg`` are the embedding it was published with."""
    if outputs not in _WIDTHS or outputs != config.get("num_classes") or config.get("label_names"):
        return False
    name = f"{config.get('architecture') or ''}.{config.get('tag') or ''}"
    return bool(_TOWERS.search(name))


def is_encoder(module: nn.Module, output: object) -> bool:
    """Whether a user's module is an encoder of a known library, or its output names features and no logits."""
    config: Any = getattr(module, "pretrained_cfg", None)
    config = config.to_dict() if hasattr(config, "to_dict") else config
    if isinstance(config, Mapping) and is_timm_embedding(config, getattr(module, "num_classes", None)):
        return True
    kinds = [kind for kind in type(module).__mro__ if kind.__module__.startswith("transformers.models.")]
    if kinds and kinds[0].__name__.endswith(("Model", "Backbone", "WithProjection")):  # those without a task
        return True
    if type(module).__module__.partition(".")[0] in ("open_clip", "clip"):
        return True
    names = fields_of(output).keys()
    return bool(names & _FEATURES) and not any("logit" in name for name in names)

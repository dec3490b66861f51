"""One real image before the stream starts, for what has to be known of the model."""

from contextlib import suppress
from itertools import islice

import torch
from torch import Tensor

from camcli.config.settings import RunConfig
from camcli.errors import CamError
from camcli.images import DecodeSettings, Sources, decode, pillow_limits, read, to_input
from camcli.models import Model

_MOST = 5
"""Images that are tried; where none can be read, the run reports each."""


def first_image(config: RunConfig, model: Model, sources: Sources) -> Tensor | None:
    """The first image that can be read, preprocessed: (1, C, H, W) on the model's device; None where there is none."""
    settings = DecodeSettings(max_pixels=config.max_pixels, allow_truncated=config.allow_truncated)
    with suppress(CamError, OSError), pillow_limits(max_pixels=config.max_pixels):
        for entry in islice(sources.with_contents(), _MOST):
            with suppress(Exception):  # damaged, or the user's own preprocessing fails: the run reports it
                prepared = model.preprocessing(decode(read(entry), settings).image)
                return to_input(prepared.pixels[None], model.preprocessing, torch.device(model.device))
    return None

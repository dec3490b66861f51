"""The model and the images of a finished run, opened again for checks that intervene.

Everything comes from the configuration that the index recorded; images are found again by source and name, and used
only where their content is still the same.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun
from camcli.checks.rereading import decode_again
from camcli.checks.run_paths import locate, started_in
from camcli.config.settings import SETTINGS, RunConfig
from camcli.errors import CamError, DeviceError
from camcli.storage import is_url

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image as PillowImage
    from torch import nn

    from camcli.device import BatchLimit
    from camcli.explainer import Explainer
    from camcli.images import Bands, Decoded
    from camcli.pipeline.setup import Setup


INPUT_FILES = [name for name, declared in SETTINGS.items() if declared.path == "input" and declared.kind is str]
"""Settings that name one file each, which the run read."""


class UnavailableError(Exception):
    """The model or the images of the run cannot be opened; the message says why."""


@dataclass(frozen=True)
class Picture:
    """One image, read again.

    Attributes:
        record: its row.
        pixels: prepared for the model, see :class:`camcli.images.Prepared`.
        source: the upright image; kept only where ``pixels`` are no longer one (a user's own preprocessing).
    """

    record: ImageRecord
    pixels: np.ndarray
    source: PillowImage | Bands | None


class ReopenedModel:
    """The model and images of a run, opened on first use; a context manager that leaves the model as it was.

    Args:
        run: whose model and images are opened.
        key: method and layer of the maps.
        device: instead of the run's own.
    """

    def __init__(self, run: RecordedRun, key: MethodLayer, device: str | None = None) -> None:
        self.run, self.key, self._device = run, key, device
        self._stack = ExitStack()

    def __enter__(self) -> ReopenedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def setup(self) -> Setup:
        """Model, layers and sources, as the run had them.

        Raises:
            UnavailableError: they cannot be opened any more, or the weights are others.
        """
        from camcli.models.own_code import importable_from
        from camcli.pipeline.setup import prepare

        config, start = self._config(), started_in(self.run)
        try:
            if start is not None and config.model.startswith("factory:"):
                self._stack.enter_context(importable_from(start, first=False))
            setup = None
            try:
                setup = prepare(config, self.run.header)
            except DeviceError:  # it is not there, or has no room
                if self._device is not None:
                    raise
            if setup is None:
                setup = prepare(_on_cpu(config), self.run.header)
        except CamError as error:
            message = f"the run's model or images cannot be opened here: {error}"
            raise UnavailableError(message + self._path_hint()) from error
        if setup.model.weights_sha256 != self.run.header["model"]["weights_sha256"]:
            raise UnavailableError(f"{setup.model.name} has other weights now than in the run; run it again")
        self._stack.enter_context(setup.model.prepared())
        return setup

    def _config(self) -> RunConfig:
        """The run's settings as they were resolved, with its files where they are now."""
        recorded = self.run.header["config"]
        settings: dict[str, Any] = {name: recorded[name] for name in SETTINGS if name in recorded}
        settings |= {name: locate(self.run, settings[name]) for name in INPUT_FILES if settings.get(name) is not None}
        settings |= {
            "image_path": [locate(self.run, path) for path in settings["image_path"]],
            "output_dir": str(self.run.path), "csv": None, "parquet": None, "dry_run": False,
            "use_cuda": False, "device": self._device or settings["device"],
        }  # fmt: skip
        if self.run.header.get("environment", {}).get("trials") is not None:
            settings["precision"] = "auto"  # trials in float32 beside passes in half precision
        if not settings["device"].startswith("cuda"):
            settings["device_decode"] = False
        return RunConfig(**settings)

    def _path_hint(self) -> str:
        config = self.run.header["config"]
        paths = [*config["image_path"], *(config[name] for name in INPUT_FILES)]
        names = [path.removeprefix("@") for path in paths if path is not None]
        if all(is_url(name) or os.path.isabs(name) for name in names):
            return ""
        start = started_in(self.run)
        looked = f"in {start} and " if start is not None and start != os.getcwd() else ""
        return f" The run's relative paths were looked for {looked}in {os.getcwd()}; call this where it was started."

    def decoded(self, records: Sequence[ImageRecord]) -> Iterator[tuple[int, Decoded]]:
        """Read images again; those that are gone or changed are left out.

        Yields:
            The index of the record, and the upright image; in the order of the run.
        """
        from camcli.pipeline.setup import decode_settings

        settings = decode_settings(self.setup.config, self.setup.model.preprocessing, self.setup.device)
        return decode_again(self.run, records, self.setup.sources, settings)

    def pictures(self, records: Sequence[ImageRecord]) -> list[Picture]:
        """Read images again and prepare them, in the given order; those that are gone or changed are left out.

        Raises:
            UnavailableError: none of them is there any more.
        """
        pre = self.setup.model.preprocessing
        pictures = {
            place: Picture(records[place], pre(decoded.source).pixels, None if pre.custom is None else decoded.source)
            for place, decoded in self.decoded(records)
        }
        if not pictures:
            raise UnavailableError("none of the run's images is there any more with the same content")
        return [pictures[place] for place in sorted(pictures)]

    def explainer(self, module: nn.Module | None = None) -> Explainer:
        """The checked method at the checked layer, on the model or on another module of the same architecture."""
        from camcli.explainer import Explainer

        setup, (method, layer) = self.setup, self.key
        model = setup.model if module is None else dataclasses.replace(setup.model, module=module)
        layers = [one for one in setup.layers if one.path == layer] or list(setup.layers)
        options = dataclasses.replace(setup.explain_options, one_at_a_time=setup.model.is_alone)
        own = [option for option in options.method_options if option.startswith(f"{method}.")]
        return Explainer(model, layers, [method], dataclasses.replace(options, method_options=own))

    def maps(
        self, pixels: Sequence[np.ndarray], targets: Sequence[int], seeds: Sequence[int],
        explainer: Explainer | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Raw maps (N, h, w) float32 of prepared pixels, each for its own class."""
        import torch

        explainer = explainer or self._own

        def explained(batch: list[int]) -> np.ndarray:
            inputs, chosen = self.inputs([pixels[i] for i in batch]), torch.tensor([[targets[i]] for i in batch])
            (maps,) = explainer(inputs, lambda logits: chosen, [seeds[i] for i in batch]).maps.values()
            return maps.cpu().numpy()

        return self._in_batches(len(pixels), explained)

    def score(self, inputs: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """(N,) float32: the probability of each input's own class; inputs (N, C, H, W), classes (N,)."""
        return self._probabilities(inputs, self.setup.model.module).gather(1, classes[:, None])[:, 0]

    def probabilities(self, pixels: Sequence[np.ndarray], module: nn.Module | None = None) -> np.ndarray:
        """(N, classes) float64 of prepared pixels; of another module of the same architecture where one is given."""
        module = module or self.setup.model.module

        def probabilities(batch: list[int]) -> np.ndarray:
            return self._probabilities(self.inputs([pixels[i] for i in batch]), module).cpu().numpy()

        return self._in_batches(len(pixels), probabilities).astype(np.float64)

    def _probabilities(self, inputs: torch.Tensor, module: nn.Module) -> torch.Tensor:
        import torch

        model, mode = self.setup.model, self.setup.config.probability
        with torch.no_grad():
            parts = torch.split(inputs, 1 if model.is_alone else len(inputs))
            logits = torch.cat([model.logits(module(part)).float() for part in parts])
        probabilities: torch.Tensor = model.probabilities(logits, mode)  # type: ignore[arg-type]
        return probabilities

    def inputs(self, pixels: Sequence[np.ndarray]) -> torch.Tensor:
        """The model's input of prepared pixels."""
        from camcli.images import to_input

        return to_input(pixels, self.setup.model.preprocessing, self.setup.device)

    @cached_property
    def _own(self) -> Explainer:
        return self.explainer()

    @cached_property
    def _limit(self) -> BatchLimit:
        from camcli.device import BatchLimit

        return BatchLimit(self.setup.batch_size)

    def _in_batches(self, count: int, work: Callable[[list[int]], np.ndarray]) -> np.ndarray:
        """The results of ``work`` for ``count`` images, called with the indices of each batch, padded as in a run."""
        parts = self._limit.run_padded(range(count), lambda batch, real: work(batch)[:real], most=count)
        return np.concatenate(list(parts))

    def seeds(self, images: Sequence[ImageRecord]) -> list[int]:
        """The seed of each image, as the run had it."""
        from camcli.pipeline.items import seed_of

        return [seed_of(record.sha256, self.setup.config.seed) for record in images]


def _on_cpu(config: RunConfig) -> RunConfig:
    """The same for a CPU, which has no TensorFloat-32 and decodes by itself."""
    precision = "fp32" if config.precision == "tf32" else config.precision
    return dataclasses.replace(config, device="cpu", precision=precision, device_decode=False)

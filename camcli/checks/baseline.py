"""A baseline: the maps of a good run, in one small text file that can be committed.

``camcli.baseline/1`` is JSON lines: a header (what must be the same for a comparison to mean anything), then one line
an image: its name, the first 128 bits of its content's SHA-256, its top prediction, its label where that is known, and
its map as base64 of float16.
About 300 bytes an image on a 7×7 grid; grids over 14×14 are area-averaged to that, so that no line is much over 500.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun, SaliencyMap, matches_label
from camcli.errors import ConfigError
from camcli.output import strict_json, write_named_file

SCHEMA = "camcli.baseline/1"
MOST_CELLS = 196
_HASH = 32  # hexadecimal digits: 128 bits


@dataclass(frozen=True, slots=True)
class BaselineImage:
    """One image of a baseline.

    Attributes:
        image: its name, for people.
        predicted, predicted_name: the top prediction.
        raw: (h, w) float32, signed, up to a positive factor; None where the map showed nothing.
        label, correct: whether the prediction was right; None where that is unknown, or the file older than these.
    """

    image: str
    predicted: int | None
    predicted_name: str | None
    raw: np.ndarray | None
    label: str | None = None
    correct: bool | None = None

    @property
    def prediction(self) -> str:
        """The top prediction for people."""
        return self.predicted_name or f"class {self.predicted}"

    def has_prediction_of(self, record: ImageRecord) -> bool:
        """Whether a run predicts the same class: by name where both have one, else by index."""
        if self.predicted_name is not None and record.predicted_name is not None:
            return self.predicted_name == record.predicted_name
        return self.predicted == record.predicted

    def is_correct(self, label: str | None = None) -> bool | None:
        """Whether the top prediction is the label, the image's own or else the given one; None without a label."""
        if self.correct is not None:
            return self.correct
        return matches_label(self.predicted, self.predicted_name, self.label or label)


@dataclass(frozen=True)
class Baseline:
    """The maps of a good run.

    Attributes:
        name: of the file or run, for messages.
        header: what was explained and how.
        images: by the hash of their content.
    """

    name: str
    header: Mapping[str, Any]
    images: Mapping[str, BaselineImage]

    def find(self, record: ImageRecord) -> BaselineImage | None:
        """The same image, whatever its name."""
        return self.images.get(record.sha256[:_HASH])

    def differences(self, run: RecordedRun, key: MethodLayer) -> list[str]:
        """What makes a comparison with this run meaningless; empty where there is nothing."""
        now = _header(run, key)
        lines = [
            f"{name}: {_short(self.header.get(name))} → {_short(now[name])}"
            for name in _SAME
            if name in self.header and self.header[name] != now[name]
        ]
        here = {record.sha256[:_HASH] for record in run.images}
        if new := len(here - set(self.images)):
            lines.append(f"{new} of the run's {len(here)} images are not in the baseline{self._same_names(run)}")
        if gone := len(set(self.images) - here):
            lines.append(f"{gone} of the baseline's {len(self.images)} images are not in the run")
        return lines

    def changed(self, run: RecordedRun) -> list[ImageRecord]:
        """The images of the run that have the name of an image here, and other content than any."""
        names = {base.image for base in self.images.values()}
        return [record for record in run.images if self.find(record) is None and record.image in names]

    def _same_names(self, run: RecordedRun) -> str:
        changed = self.changed(run)
        return f" ({len(changed)} have a name that is, with other content: {changed[0].image} first)" if changed else ""

    def precisions(self, run: RecordedRun) -> dict[str, str] | None:
        """Precision and device of both, ``base`` and ``new``, where the precisions differ; None otherwise.

        Baselines of versions that did not record it are compared without a word.
        """
        now = computed_with(run)
        recorded = self.header.get("precision")
        if recorded is None or now["precision"] is None or recorded == now["precision"]:
            return None
        return {"base": describe_precision(self.header), "new": describe_precision(now)}

    def refuse_other(self, run: RecordedRun, key: MethodLayer) -> None:
        """Stop where a comparison with this run means nothing.

        Raises:
            ConfigError: the images or what decides their maps, other than the weights, are not the same.
        """
        if lines := self.differences(run, key):
            listed = "".join(f"\n  {line}" for line in lines)
            raise ConfigError(
                f"--baseline {self.name} cannot be compared with this run (baseline → run):{listed}\n"
                "If that is wanted, renew it with --rebase."
            )

    @property
    def size(self) -> int:
        """Number of images."""
        return len(self.images)

    def matching(self, run: RecordedRun) -> Baseline:
        """The same baseline; an image of the run whose content it does not have is matched by its name."""
        by_name = {base.image: base for base in self.images.values()}
        renamed = {record.sha256[:_HASH]: by_name[record.image] for record in self.changed(run)}
        return replace(self, images={**self.images, **renamed})


_SAME = ("input_size", "mean", "std", "resize", "method", "target", "options", "score", "fuse", "smooth")
"""Fields of the header that must be equal; the weights may change, that is what ``drift`` is for."""


def _header(run: RecordedRun, key: MethodLayer) -> dict[str, Any]:
    config, model = run.header["config"], run.header["model"]
    return {
        "schema": SCHEMA,
        "camcli": run.header["camcli"],
        "model": model["name"],
        "weights_sha256": model["weights_sha256"],
        "fingerprint": run.header["fingerprint"],
        "layer": key[1],
        "input_size": model["input_size"],
        "mean": model["mean"],
        "std": model["std"],
        "resize": model["resize"],
        "method": key[0],
        "target": _first_target(config["target"]),
        "options": sorted(o for o in config["option"] if o.startswith(f"{key[0]}.")),
        "score": config["score"],
        "fuse": config["fuse"],
        "smooth": [config["aug_smooth"], config["eigen_smooth"]],
        **computed_with(run),
    }


def computed_with(run: RecordedRun) -> dict[str, str | None]:
    """The precision of a run, and the kind of device: ``bf16``, ``cuda``."""
    environment: Mapping[str, Any] = run.header.get("environment") or {}
    device = environment.get("device")
    return {"precision": environment.get("precision"), "device": device and device.partition(":")[0]}


def describe_precision(header: Mapping[str, Any]) -> str:
    """``bf16 on cuda``."""
    return f"{header['precision']} on {header['device']}" if header.get("device") else str(header["precision"])


def _first_target(target: str | None) -> str:
    """How the class is chosen whose map is compared: of several targets the first."""
    from camcli.pipeline.targets import split_targets  # here alone: a baseline is read without the pipeline

    first = split_targets(target or "predicted")[0]
    return "predicted" if first.startswith("top:") else first


def baseline_of(run: RecordedRun, key: MethodLayer) -> Baseline:
    """A run as a baseline, as ``cam diff`` compares two runs."""
    return Baseline(str(run.path), _header(run, key), dict(_baseline_images(run, key)))


def _baseline_images(run: RecordedRun, key: MethodLayer) -> Iterator[tuple[str, BaselineImage]]:
    for record in run.images:
        raw = heat.raw if (heat := record.meaningful_map(key)) is not None else None
        yield (
            record.sha256[:_HASH],
            BaselineImage(record.image, record.predicted, record.predicted_name, raw, record.label, record.correct),
        )


def write_baseline(path: str, run: RecordedRun, key: MethodLayer, option: str = "--write-baseline") -> int:
    """Write the baseline of a run to the file that a flag names; returns the bytes written.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_named_file(option, path, (line + b"\n" for line in _lines(run, key)))


def _lines(run: RecordedRun, key: MethodLayer) -> Iterator[bytes]:
    yield strict_json(_header(run, key))
    for record in run.images:
        row: dict[str, Any] = {"image": record.image, "sha256": record.sha256[:_HASH], "predicted": record.predicted}
        if record.predicted_name is not None:
            row["name"] = record.predicted_name
        if record.label is not None:
            row |= {"label": record.label, "correct": record.correct}
        if (heat := record.meaningful_map(key)) is not None:
            native = reduce_map(heat.raw)
            row["grid"] = list(native.shape)
            row["map"] = base64.b64encode(native.astype("<f2").tobytes()).decode("ascii")
        yield strict_json(row)


def reduce_map(raw: np.ndarray, most: int = MOST_CELLS) -> np.ndarray:
    """The map, area-averaged to at most so many cells with its proportions kept."""
    h, w = raw.shape
    if h * w <= most:
        return raw
    shrink = (most / (h * w)) ** 0.5
    size = (max(1, int(w * shrink)), max(1, int(h * shrink)))
    return np.asarray(cv2.resize(raw, size, interpolation=cv2.INTER_AREA))


def read_baseline(path: str) -> Baseline:
    """Read a baseline file.

    Raises:
        ConfigError: it is not there, or not a baseline.
    """
    images: dict[str, BaselineImage] = {}
    try:
        with Path(path).open(encoding="utf-8") as lines:
            header = json.loads(next(lines, "null"))
            if not isinstance(header, dict) or header.get("schema") != SCHEMA:
                raise ConfigError(f"--baseline {path}: not a baseline of cam. Write one with --write-baseline {path}.")
            for line in lines:
                row = json.loads(line)
                images[row["sha256"]] = BaselineImage(
                    row["image"], row["predicted"], row.get("name"), _map(row), row.get("label"), row.get("correct")
                )
    except FileNotFoundError as error:
        raise ConfigError(
            f"--baseline {path}: the file is not there. Write it from a good run with --write-baseline {path}."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--baseline {path}: cannot be read ({error}).") from error
    return Baseline(path, header, images)


def _map(row: Mapping[str, Any]) -> np.ndarray | None:
    if "map" not in row:
        return None
    return np.frombuffer(base64.b64decode(row["map"]), "<f2").astype(np.float32).reshape(row["grid"])


def match_grids(heat: SaliencyMap, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A run's map and that of a baseline on one grid: the baseline's, which is usually the coarser."""
    raw = heat.raw
    if raw.shape == base.shape:
        return raw, base
    smaller = raw.size > base.size
    resized = cv2.resize(raw, base.shape[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized), base


def _short(value: Any) -> str:
    text = strict_json(value).decode()
    return text if len(text) <= 60 else text[:57] + "…"

"""Every setting of a run: one frozen dataclass, checked when it is made.

The fields are the flags of ``cam run``: the command line, ``--config`` files and Python build the same
:class:`RunConfig`. What a flag means is written once, beside its default.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from camcli.config.parse import flag, parse_floats, parse_input_size, positive_or_auto, scale_limits
from camcli.errors import ConfigError, did_you_mean

SaveKind = Literal["overlay", "heatmap", "gray", "raw", "map", "panel"]
SAVE_KINDS: tuple[str, ...] = get_args(SaveKind)
PICTURES = frozenset({"overlay", "heatmap", "gray", "map", "panel"})
"""Kinds drawn in the geometry of the upright original; ``raw`` is the native grid."""

COLORMAPS: tuple[str, ...] = (
    "autumn",
    "bone",
    "jet",
    "winter",
    "rainbow",
    "ocean",
    "summer",
    "spring",
    "cool",
    "hsv",
    "pink",
    "hot",
    "parula",
    "magma",
    "inferno",
    "plasma",
    "viridis",
    "cividis",
    "twilight",
    "twilight_shifted",
    "turbo",
    "deepgreen",
)
CHOICES: dict[str, tuple[str, ...]] = {
    "fuse": ("none", "mean", "max", "product"),
    "score": ("logit", "prob", "neg-logit"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "resize": ("own", "crop", "squash", "pad"),
    "image_format": ("jpg", "png", "webp"),
    "probability": ("auto", "softmax", "sigmoid"),
    "colormap": COLORMAPS,
}


def setting(
    default: Any,
    help: str,  # noqa: A002
    *,
    group: str = "run",
    metavar: str = "",
    comma: bool = False,
) -> Any:
    """A field with what its flag says in ``--help``; ``comma``: the flag also takes a comma list."""
    return field(default=default, metadata={"help": help, "group": group, "metavar": metavar, "comma": comma})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of one run; lists are kept as tuples.

    Raises:
        ConfigError: a value is out of its range; the message names the flag.
    """

    image_path: tuple[str, ...] = setting(
        (), "File, folder, glob, '-', @list.txt, .csv/.jsonl manifest or .tar; repeatable.", group="images", metavar="P"
    )
    output_dir: str = setting("cam-output", "The run folder.", group="output", metavar="D")
    model: str = setting(
        "builtin",
        "torchvision:NAME, timm:NAME, a bare name, hf-hub:org/name, factory:pkg.module:function, builtin.",
        group="model",
        metavar="NAME",
    )
    weights: str = setting("default", "default, random, or a torchvision weights name.", group="model", metavar="W")
    checkpoint: str | None = setting(
        None,
        "Weights file (.safetensors, .pt, .pth, .ckpt, .bin), loaded without running its code.",
        group="model",
        metavar="F",
    )
    trust_checkpoint: bool = setting(
        False, "Allow a checkpoint whose pickle runs code. Only for files you trust.", group="model"
    )
    num_classes: int | None = setting(
        None, "Classes of the checkpoint, where it cannot be read from it.", group="model", metavar="N"
    )
    class_names: str | None = setting(None, "File with one class name a line, or JSON.", group="model", metavar="F")
    output_key: str | None = setting(
        None, "Entry of a dict, tuple or object output that holds the logits.", group="model", metavar="K"
    )
    probability: str = setting("auto", "What a probability is: auto, softmax, sigmoid.", group="model", metavar="KIND")
    input_size: str | None = setting(None, "N or HxW, instead of the model's own.", group="model", metavar="N")
    mean: str | None = setting(None, "Channel means, comma-separated, pixels in 0..1.", group="model", metavar="M,…")
    std: str | None = setting(None, "Channel deviations, comma-separated.", group="model", metavar="S,…")
    resize: str = setting("own", "own, crop, squash, pad.", group="model", metavar="HOW")
    layer: tuple[str, ...] = setting(
        ("auto",),
        "Dotted path of a target layer (layer4.2, features[-1]), auto, or best (by `cam eval`); repeatable.",
        group="explain",
        metavar="PATH",
    )
    fuse: str = setting(
        "none", "Several layers: none (a map each), mean, max, product.", group="explain", metavar="HOW"
    )
    layout: str = setting(
        "auto", "auto, nchw, nhwc, tokens[:PREFIX[:HxW]], where it cannot be proven.", group="model", metavar="L"
    )
    method: tuple[str, ...] = setting(
        ("gradcam",),
        "One or more methods, see `cam methods`; best: what `cam eval --recommend` found.",
        group="explain",
        metavar="M[,M…]",
        comma=True,
    )
    option: tuple[str, ...] = setting(
        (), "An option of a method: METHOD.KEY=VALUE; repeatable.", group="explain", metavar="METHOD.KEY=VALUE"
    )
    target: str | None = setting(
        None,
        "predicted, a class index or name, label, top:K, or a comma list. (default: predicted)",
        group="explain",
        metavar="T",
    )
    score: str = setting("logit", "The scalar that is explained: logit, prob, neg-logit.", group="explain", metavar="S")
    aug_smooth: bool = setting(False, "Average the maps over flips and intensities of the image.", group="explain")
    eigen_smooth: bool = setting(False, "First principal component of the weighted activations.", group="explain")
    device: str = setting("auto", "auto, cpu, cuda[:i], mps; never a silent fallback.", group="device", metavar="D")
    use_cuda: bool = setting(False, "The same as --device cuda.", group="device")
    precision: str = setting("auto", "auto (fp32 on CPU, bf16 on CUDA), fp32, bf16, fp16.", group="device", metavar="P")
    batch_size: str = setting("auto", "Images a batch, or auto.", group="device", metavar="N")
    compile: bool = setting(
        False,
        "Compile the part before the target layer; takes up to minutes once, and pays for long runs.",
        group="device",
    )
    workers: str = setting("auto", "Decoding and writing threads, or auto.", group="device", metavar="N")
    save: tuple[str, ...] = setting(
        ("overlay", "heatmap"),
        "overlay, heatmap, gray, raw, map, panel; or none.",
        group="output",
        metavar="K[,K…]",
        comma=True,
    )
    colormap: str = setting("jet", "An OpenCV colour map.", group="output", metavar="NAME")
    alpha: float = setting(0.5, "Share of heat in the overlay, 0 to 1.", group="output", metavar="A")
    image_format: str = setting("jpg", "jpg, png, webp.", group="output", metavar="F")
    quality: int = setting(90, "JPEG or WebP quality, 1 to 100.", group="output", metavar="Q")
    scale: str = setting("per-image", "per-image, LO:HI, sample:N.", group="output", metavar="S")
    max_side: int = setting(1024, "Longest side of pictures; 0: never limited.", group="output", metavar="N")
    topk: int = setting(5, "Predictions kept per image.", group="output", metavar="K")
    csv: str | None = setting(None, "The index as a flat table as well.", group="output", metavar="FILE")
    resume: bool = setting(True, "Continue a run folder of the same configuration.", group="run")
    retry_failed: bool = setting(False, "Explain images again that failed before.", group="run")
    overwrite: bool = setting(False, "Replace what an earlier run left in the run folder.", group="run")
    durable: bool = setting(False, "fsync for every image.", group="run")
    fast_decode: bool = setting(False, "Decode large JPEGs at reduced size; pixels differ slightly.", group="images")
    allow_truncated: bool = setting(False, "Explain truncated images, with a note.", group="images")
    max_pixels: int = setting(
        89_478_485, "Larger images are refused before they are decoded.", group="images", metavar="N"
    )
    limit: int | None = setting(None, "Only the first N images.", group="images", metavar="N")
    seed: int = setting(0, "Seed of methods with randomness.", group="run", metavar="S")
    fail_fast: bool = setting(False, "Stop at the first image that cannot be explained.", group="run")
    dry_run: bool = setting(False, "Say what would be done and stop.", group="run")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if isinstance(f.default, tuple):
                given = getattr(self, f.name)
                object.__setattr__(self, f.name, _as_tuple(given, comma=f.metadata["comma"]))
                if f.name == "save" and not self.save and given not in ((), []):
                    raise ConfigError("--save is empty. To save nothing but the index, say --save none.")
        for name in ("batch_size", "workers", "input_size"):
            if isinstance(getattr(self, name), int):
                object.__setattr__(self, name, str(getattr(self, name)))
        if self.save == ("none",):
            object.__setattr__(self, "save", ())
        if self.use_cuda:
            if self.device != "auto" and not self.device.startswith("cuda"):
                raise ConfigError(f"--use-cuda and --device {self.device} contradict each other. Give one of them.")
            if self.device == "auto":
                object.__setattr__(self, "device", "cuda")
        _check(self)

    @property
    def pictures(self) -> bool:
        """Whether anything is drawn in the geometry of the original."""
        return bool(PICTURES.intersection(self.save))


def _as_tuple(value: Any, *, comma: bool) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else [str(v) for v in value]
    if comma:
        items = [part.strip() for item in items for part in item.split(",") if part.strip()]
    return tuple(dict.fromkeys(items)) if comma else tuple(items)


def _check(config: RunConfig) -> None:
    for name, choices in CHOICES.items():
        value = getattr(config, name)
        if value not in choices:
            listed = "" if name == "colormap" else f" Choose one of {', '.join(choices)}."
            raise ConfigError(f"{flag(name)} {value}: no such choice.{did_you_mean(value, choices)}{listed}")
    for kind in config.save:
        if kind not in SAVE_KINDS:
            known = ", ".join(SAVE_KINDS)
            extra = " 'none' stands alone." if kind == "none" else did_you_mean(kind, SAVE_KINDS)
            raise ConfigError(f"--save {kind}: not something that can be saved.{extra} Choose from {known}.")
    _check_ranges(config)
    scale_limits(config.scale)
    for name in ("batch_size", "workers"):
        positive_or_auto(name, getattr(config, name))
    parse_input_size(config.input_size)
    for name in ("mean", "std"):
        parse_floats(name, getattr(config, name))
    if not config.method:
        raise ConfigError("--method is empty. `cam methods` lists the methods.")
    if config.target is not None and not config.target.strip():
        raise ConfigError("--target is empty. Leave it out for the predicted class.")
    if not config.layer:
        raise ConfigError("--layer is empty. Leave it out for the automatic choice.")


def _check_ranges(config: RunConfig) -> None:
    bounds: dict[str, tuple[float, float]] = {
        "alpha": (0, 1),
        "quality": (1, 100),
        "max_side": (0, math.inf),
        "topk": (1, math.inf),
        "limit": (1, math.inf),
        "max_pixels": (1, math.inf),
        "num_classes": (1, math.inf),
        "seed": (0, 2**63 - 1),
    }
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            span = f"at least {low}" if high == math.inf else f"between {low} and {high}"
            raise ConfigError(f"{flag(name)} {value}: must be {span}.")

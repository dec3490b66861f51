"""Every setting of a run: one frozen dataclass, parsed and checked when it is constructed.

The fields are the flags of ``cam run``: the command line, ``--config`` files and Python build the same
:class:`RunConfig`. What a flag does, which values it takes and what it affects is declared once, beside its default.
"""

from dataclasses import dataclass
from functools import cached_property

from camcli.config.fields import Effect, declarations_of, setting
from camcli.config.parse import (
    Parsed,
    flag,
    parse_bands,
    parse_count,
    parse_floats,
    parse_input_size,
    parse_sample,
    parse_scale,
    parse_shard,
    parse_show_bands,
    parse_window,
)
from camcli.errors import ConfigError, did_you_mean
from camcli.storage import MOST_CONNECTIONS, is_remote, masked

DEFAULT_OUTPUT_DIR = "cam-output"
"""The run folder without ``--output-dir``; where it is taken, a number is appended."""
DEFAULT_BUDGET = 30
"""Forward passes an image that a method chosen by ``--method best`` may cost."""
ENGINES = ("local", "ray")
PLACES = ("shard", "processes", "engine", "ray_address", "gpus_per_worker", "cpus_per_worker")
"""Settings of what a run is spread over; of other commands there is one process."""
BEST = "best"
"""Stands for a method, or a layer, that is chosen by measurement."""
SAVE_KINDS = ("overlay", "heatmap", "gray", "raw", "map", "panel")
COLORMAPS = (
    "autumn", "bone", "jet", "winter", "rainbow", "ocean", "summer", "spring", "cool", "hsv", "pink", "hot", "parula",
    "magma", "inferno", "plasma", "viridis", "cividis", "twilight", "twilight_shifted", "turbo", "deepgreen",
)  # fmt: skip
"""Of OpenCV."""
DIVERGING = ("coolwarm", "rdbu_r", "puor_r", "bwr")
"""Colour maps with a neutral middle, for --signed."""


def default_colormap(signed: bool) -> str:
    """The colours of maps without ``--colormap``."""
    return DIVERGING[0] if signed else "jet"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of one run; lists are kept as tuples, settings written as text are in ``parsed`` as values.

    Raises:
        ConfigError: a value is out of its range; the message names the flag.
    """

    # Of image_path no fingerprint holds anything: it is compared as it is.
    image_path: tuple[str, ...] = setting(
        (),
        "Images to explain: a file, a folder (searched recursively), a glob, @list.txt or '-' (a path a line, from a "
        "file or from stdin), a .csv or .jsonl manifest, a .tar or .parquet or several ('train-{0000..0099}.tar'), a "
        "Hugging Face data set saved on disk; most also as URLs (s3://, gs://, hf://, https://); repeatable.",
        affects="maps", resolved=True, group="images", metavar="PATH", path="input",
        synonyms=("source", "data-dir", "data", "input", "input-dir", "images"),
    )  # fmt: skip
    output_dir: str | None = setting(
        None,
        "The run folder, where pictures and index are written, or a URL of an object store (s3://, gs://); a run of "
        "the same configuration in it is continued. "
        "(default: cam-output; where that holds another run, the next free one from cam-output-2 on)",
        affects="nothing", group="output", metavar="DIR", short="-o", path="output", synonyms=("out", "save-dir"),
    )  # fmt: skip
    model: str = setting(
        "builtin",
        "Model to explain: torchvision:NAME, timm:NAME, a bare NAME (torchvision first, then timm), hf-hub:ORG/NAME, "
        "hf-hub:./FOLDER, factory:PACKAGE.MODULE:FUNCTION (your own code), or builtin (no download); see `cam models`.",
        affects="maps", resolved=True, group="model", metavar="NAME", short="-m", synonyms=("arch", "network"),
    )  # fmt: skip
    weights: str = setting(
        "default", "Weights: default (pretrained), random (untrained), or the name of torchvision weights.",
        affects="maps", resolved=True, group="model", metavar="NAME",
    )  # fmt: skip
    checkpoint: str | None = setting(
        None, "File with weights to load instead (.safetensors, .pt, .pth, .ckpt, .bin); code in it is not run.",
        affects="maps", resolved=True, group="model", metavar="FILE", path="input", synonyms=("ckpt", "pretrained"),
    )  # fmt: skip
    trust_checkpoint: bool = setting(
        False, "Let a checkpoint run the code in its pickle. Only for files you trust.",
        affects="nothing", group="model",
    )  # fmt: skip
    num_classes: int | None = setting(
        None, "Number of classes, where it cannot be read from the checkpoint.",
        affects="maps", resolved=True, group="model", metavar="N", least=1,
    )  # fmt: skip
    class_names: str | None = setting(
        None, "File with the names of the classes: one a line, or JSON.",
        affects="pictures", resolved=True, group="model", metavar="FILE", path="input", synonyms=("labels", "names"),
    )  # fmt: skip
    output_key: str | None = setting(
        None, "Entry of the model's output that holds the logits, where it is a dict, a tuple or an object.",
        affects="maps", group="model", metavar="KEY",
    )  # fmt: skip
    probability: str = setting(
        "auto",
        "How logits become probabilities: softmax (one class is right), sigmoid (each class by itself), none (the "
        "outputs are values, as of a regression), auto (sigmoid for a single logit or a multi-label model, else "
        "softmax; where the outputs are probabilities already, these).",
        affects="maps", group="model", metavar="KIND", choices=("auto", "softmax", "sigmoid", "none"),
    )  # fmt: skip
    input_size: str | None = setting(
        None, "Size of the model's input in pixels, instead of its own: N, or HxW (height x width).",
        affects="maps", resolved=True, group="model", metavar="SIZE", separator="x",
        synonyms=("imgsz", "img-size", "image-size", "img", "size"),
    )  # fmt: skip
    mean: str | None = setting(
        None, "Mean of each channel, of pixels in 0 to 1, instead of the model's own.",
        affects="maps", resolved=True, group="model", metavar="M,…",
    )  # fmt: skip
    std: str | None = setting(
        None, "Standard deviation of each channel, instead of the model's own.",
        affects="maps", resolved=True, group="model", metavar="S,…",
    )  # fmt: skip
    resize: str = setting(
        "own",
        "How an image is brought to the input size: own (as the model was trained), crop (keep the aspect ratio, cut "
        "the edges off), squash (show all, change the aspect ratio), pad (show all, add a border).",
        affects="maps", resolved=True, group="model", metavar="HOW", choices=("own", "crop", "squash", "pad"),
    )  # fmt: skip
    layer: tuple[str, ...] = setting(
        ("auto",),
        "Target layer: a dotted path (layer4.2, features[-1], encoder@2 for a second call), auto (chosen and "
        "verified), or best (found by `cam eval --recommend`); repeatable.",
        affects="maps", resolved=True, group="explain", metavar="PATH", synonyms=("target-layer", "target-layers"),
    )  # fmt: skip
    fuse: str = setting(
        "none",
        "Maps of several layers: none (one map for each layer), or one map that is the mean, max or product of their "
        "normalised maps.",
        affects="maps", group="explain", metavar="HOW", choices=("none", "mean", "max", "product"),
    )  # fmt: skip
    layout: str = setting(
        "auto",
        "Where channels, rows and columns of an activation are: auto (detected and verified), nchw (channels first), "
        "nhwc (channels last), tokens[:PREFIX[:HxW]] (a sequence: PREFIX tokens, then a grid of HxW). Needed only "
        "where auto cannot be verified.",
        affects="maps", resolved=True, group="model", metavar="LAYOUT",
    )  # fmt: skip
    method: tuple[str, ...] = setting(
        ("gradcam",),
        "One or more methods, see `cam methods`; several share their passes. best: the most faithful one within "
        "--budget, found by a trial on a few of the images, or by `cam eval --recommend` before.",
        affects="maps", resolved=True, group="explain", metavar="NAME[,…]", comma=True, synonyms=("methods",),
    )  # fmt: skip
    budget: int | None = setting(
        None,
        "With --method best: what the maps of an image may cost, in forward passes; choose without what `cam eval "
        f"--recommend` found. (default: {DEFAULT_BUDGET})",
        affects="maps", resolved=True, group="explain", metavar="N", least=1, synonyms=("max-passes",),
    )  # fmt: skip
    option: tuple[str, ...] = setting(
        (), "Value for an option of a method, as in scorecam.max_channels=64; repeatable.",
        affects="maps", resolved=True, group="explain", metavar="METHOD.KEY=VALUE",
    )  # fmt: skip
    target: str | None = setting(
        None,
        "Class to explain: predicted (the most probable), a class index or name, label (from the folder or manifest), "
        "top:K (the K most probable), or a comma list of these. (default: predicted)",
        affects="maps", resolved=True, group="explain", metavar="CLASS", quoted=True,
        synonyms=("class", "target-class", "category"),
    )  # fmt: skip
    score: str = setting(
        "logit",
        "Quantity of the target that is explained: logit (the output of its class), prob (its probability, which the "
        "other classes also influence), neg-logit (evidence against the class).",
        affects="maps", group="explain", metavar="KIND", choices=("logit", "prob", "neg-logit"),
    )  # fmt: skip
    aug_smooth: bool = setting(
        False, "Average the maps of six variants of the image: flipped or not, at three intensities.",
        affects="maps", resolved=True, group="explain",
    )  # fmt: skip
    eigen_smooth: bool = setting(
        False, "Keep the first principal component of the weighted activations, which reduces noise.",
        affects="maps", resolved=True, group="explain",
    )  # fmt: skip
    device: str = setting(
        "auto",
        "Where the model runs: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 or 1 (a GPU by number), mps; "
        "cuda:all: a process on each GPU.",
        affects="nothing", group="device", metavar="DEVICE",
    )  # fmt: skip
    use_cuda: bool = setting(
        False, "The same as --device cuda.", affects="nothing", group="device", synonyms=("cuda", "gpu"),
    )  # fmt: skip
    precision: str = setting(
        "auto",
        "Number format of the model: fp32 (IEEE), tf32 (products rounded to 10 bits, on newer NVIDIA GPUs), bf16 or "
        "fp16 (faster on GPUs, rounded more), auto (bf16 on CUDA, else fp32). Maps and logits are always computed in "
        "fp32.",
        affects="maps", resolved=True, group="device", metavar="FORMAT",
        choices=("auto", "fp32", "tf32", "bf16", "fp16"), synonyms=("dtype", "amp", "half"),
        aliases=dict.fromkeys(("float32", "float", "32", "single", "full", "none"), "fp32")
        | dict.fromkeys(("float16", "half", "16", "16-mixed", "f16"), "fp16")
        | dict.fromkeys(("bfloat16", "bf16-mixed", "amp", "mixed"), "bf16"),
    )  # fmt: skip
    batch_size: str = setting(
        "auto", "Images in a batch, or auto (a fixed number; on CUDA 128, halved until it fits).",
        affects="maps", resolved=True, group="device", metavar="N", short="-b", synonyms=("batch", "bs"),
    )  # fmt: skip
    compile: bool = setting(
        False, "Compile the part of the model before the target layer: takes up to minutes, pays in long runs.",
        affects="maps", resolved=True, group="device",
    )  # fmt: skip
    workers: str = setting(
        "auto", "Threads that decode images, and as many that write pictures; auto: one for each core, 2 to 16.",
        affects="nothing", group="device", metavar="N", short="-j", synonyms=("num-workers", "threads", "jobs"),
    )  # fmt: skip
    save: tuple[str, ...] = setting(
        ("overlay", "heatmap"),
        "What is written: overlay (heat over the image), heatmap (heat alone), gray (8-bit), raw (.npy, unnormalised, "
        "at the layer's resolution), map (.npy, 0 to 1, at the overlay's size), panel (image, both heatmaps and "
        "overlay side by side, with labels), or none (the index only).",
        affects="pictures", resolved=True, group="output", metavar="KIND[,…]", comma=True,
    )  # fmt: skip
    colormap: str | None = setting(
        None,
        "Colours of the heat: an OpenCV colour map such as jet, turbo, viridis or inferno, or one with a neutral "
        "middle for --signed: coolwarm (taken with --signed alone), rdbu_r, puor_r, bwr. (default: jet)",
        affects="pictures", group="output", metavar="NAME", choices=COLORMAPS + DIVERGING,
        synonyms=("cmap", "palette"),
    )  # fmt: skip
    alpha: float = setting(
        0.5, "Opacity of the heat in the overlay: 0 (image only) to 1 (heat only).",
        affects="pictures", group="output", metavar="A", least=0, most=1, synonyms=("image-weight", "opacity"),
    )  # fmt: skip
    gamma: float = setting(
        1.0,
        "Exponent of the map as it is drawn: below 1 makes weak heat visible (0.5 suits peaked maps such as those of "
        "pathcam), above 1 keeps the peaks alone. The values that are saved (raw, map, the index) stay.",
        affects="pictures", resolved=True, group="output", metavar="G", least=0.1, most=10, synonyms=("exponent",),
    )  # fmt: skip
    signed: bool = setting(
        False,
        "Draw what speaks against the class, too: maps keep their sign, and zero is the middle of the colours.",
        affects="pictures", resolved=True, group="output", synonyms=("diverging", "no-relu"),
    )  # fmt: skip
    canvas: str = setting(
        "original", "What is drawn on: original (the whole image), or view (the part that the model saw).",
        affects="pictures", resolved=True, group="output", metavar="AREA", choices=("original", "view"),
    )  # fmt: skip
    image_format: str = setting(
        "jpg", "File format of overlays, heatmaps and panels: jpg, png (lossless) or webp.",
        affects="pictures", resolved=True, group="output", metavar="FORMAT", choices=("jpg", "png", "webp"),
    )  # fmt: skip
    quality: int = setting(
        90, "Quality of jpg and webp files: 1 (smallest) to 100 (best).",
        affects="pictures", resolved=True, group="output", metavar="Q", least=1, most=100,
    )  # fmt: skip
    scale: str = setting(
        "per-image",
        "How map values become colours: per-image stretches each map to its own range; LO:HI gives all images the same "
        "limits, in raw map values; sample:N takes such limits from the first N images (1st and 99th percentile).",
        affects="pictures", group="output", metavar="LIMITS", separator=":",
    )  # fmt: skip
    save_to: str = setting(
        "folder",
        "Where artefacts are written: folder (a file each), or tar (WebDataset shards in the run folder: fewer files, "
        "for very many images).",
        affects="pictures", resolved=True, group="output", metavar="WHERE", choices=("folder", "tar"),
    )  # fmt: skip
    max_side: int = setting(
        1024, "Longest side of the pictures in pixels; 0: the size of the image.",
        affects="pictures", group="output", metavar="N", least=0,
    )  # fmt: skip
    topk: int = setting(
        5, "Predictions of each image that the index lists.",
        affects="pictures", group="output", metavar="K", least=1, synonyms=("top-k",),
    )  # fmt: skip
    csv: str | None = setting(
        None, "Write the index as a flat table, too.", affects="nothing", group="output", metavar="FILE", path="output",
    )  # fmt: skip
    parquet: str | None = setting(
        None, "Write that table as a Parquet file, too (smaller, typed: for very many images).",
        affects="nothing", group="output", metavar="FILE", path="output",
    )  # fmt: skip
    resume: bool = setting(
        True, "Continue a run of the same configuration in the run folder; with --no-resume it is refused.",
        affects="nothing", group="run",
    )  # fmt: skip
    retry_failed: bool = setting(False, "Explain images again that failed before.", affects="nothing", group="run")
    overwrite: bool = setting(
        False, "Replace what an earlier run left in the run folder.",
        affects="nothing", group="run", synonyms=("force", "exist-ok"),
    )  # fmt: skip
    durable: bool = setting(
        False, "Wait for the disk after every image (fsync), so that a power cut loses none.",
        affects="nothing", group="run",
    )  # fmt: skip
    fast_decode: bool = setting(
        False, "Decode large JPEGs at reduced size: faster, pixels differ slightly.", affects="maps", group="images",
    )  # fmt: skip
    device_decode: bool = setting(
        False, "Decode JPEGs on the CUDA device: pixels differ slightly.",
        affects="maps", resolved=True, group="images",
    )  # fmt: skip
    allow_truncated: bool = setting(
        False, "Explain truncated images, with a note in the index, instead of failing them.",
        affects="nothing", group="images",
    )  # fmt: skip
    max_pixels: int = setting(
        89_478_485, "Refuse images with more pixels than this before they are decoded.",
        affects="nothing", group="images", metavar="N", least=1,
    )  # fmt: skip
    sample: str | None = setting(
        None,
        "Explain N images only, chosen at random by --seed; N/class: N of each label, or of each folder where "
        "there are no labels. Their order stays; --limit then counts the chosen ones.",
        affects="nothing", group="images", metavar="N[/class]", synonyms=("subset", "num-samples", "sample-size"),
    )  # fmt: skip
    bands: str | None = setting(
        None,
        "Bands of an image that are the model's channels, in this order, counted from 1 (4,3,2); repeat: the image's "
        "bands over and over. Without it, an image with other bands than the model fails.",
        affects="maps", resolved=True, group="images", metavar="K,…", synonyms=("channels",),
    )  # fmt: skip
    show_bands: str | None = setting(
        None, "Bands that are drawn of an image with other bands than RGB: three (default: the first), or one in grey.",
        affects="pictures", resolved=True, group="images", metavar="K,K,K", synonyms=("rgb-bands",),
    )  # fmt: skip
    window: str | None = setting(
        None, "Centre and width of the values of DICOM images that are shown, instead of the file's own window.",
        affects="maps", resolved=True, group="images", metavar="CENTRE,WIDTH",
    )  # fmt: skip
    limit: int | None = setting(
        None, "Explain only the first N images.",
        affects="nothing", group="images", metavar="N", least=1, synonyms=("max-images", "num-images"),
    )  # fmt: skip
    seed: int = setting(
        0, "Seed of methods that use random numbers, and of --sample.",
        affects="maps", group="run", metavar="S", least=0, most=2**63 - 1, synonyms=("random-seed",),
    )  # fmt: skip
    fail_fast: bool = setting(
        False, "Stop at the first image that cannot be explained.", affects="nothing", group="run",
    )  # fmt: skip
    shard: str | None = setting(
        None,
        "Explain part I (from 0) of N, in a process or on a machine of its own; auto: as torchrun or Slurm numbers the "
        "processes. `cam merge` joins the parts.",
        affects="nothing", group="run", metavar="I/N|auto", synonyms=("num-shards", "shard-index", "rank"),
    )  # fmt: skip
    processes: str = setting(
        "1",
        "Processes on this machine that share the images, the GPUs dealt out in turn; auto: one for each GPU, or for "
        "each 4 cores. With --engine ray: its workers (without it, as many as the cluster has room for).",
        affects="nothing", group="run", metavar="N|auto", synonyms=("num-processes", "nproc", "num-gpus", "gpus"),
    )  # fmt: skip
    engine: str = setting(
        "local", "What the run is spread over: local (this machine), ray (a Ray cluster; extra ray).",
        affects="nothing", group="run", metavar="E", choices=ENGINES, synonyms=("backend", "executor"),
    )  # fmt: skip
    ray_address: str | None = setting(
        None,
        "With --engine ray: the cluster (auto: the one that this machine belongs to; ray://HOST:10001); without it, "
        "RAY_ADDRESS, or a cluster on this machine alone.",
        affects="nothing", group="run", metavar="A",
    )  # fmt: skip
    gpus_per_worker: float | None = setting(
        None, "With --engine ray: GPUs of a worker, fractions allowed (default: 1 where the cluster has GPUs).",
        affects="nothing", group="run", metavar="G", least=0,
    )  # fmt: skip
    cpus_per_worker: float | None = setting(
        None,
        "With --engine ray: CPU cores of a worker (default: an even share of those for each GPU, or 4), also the "
        "threads of its model.",
        affects="nothing", group="run", metavar="C", least=0,
    )  # fmt: skip
    connections: int = setting(
        32,
        "Images of an object store or web server (s3://, gs://, hf://, https://) that are read at once, ahead of the "
        "model.",
        affects="nothing", group="run", metavar="N", least=1, most=MOST_CONNECTIONS, synonyms=("concurrency",),
    )  # fmt: skip
    dry_run: bool = setting(
        False, "Load the model, print what would be done, and stop.", affects="nothing", group="run",
    )  # fmt: skip

    def __post_init__(self) -> None:
        saved = self.save
        for name, declared in SETTINGS.items():
            object.__setattr__(self, name, declared.normalise(getattr(self, name)))
        if not self.save and saved not in ((), []):
            raise ConfigError("--save is empty. To save nothing but the index, say --save none.")
        if self.save == ("none",):
            object.__setattr__(self, "save", ())
        if self.colormap is None:
            object.__setattr__(self, "colormap", default_colormap(self.signed))
        if self.device.isdecimal():
            object.__setattr__(self, "device", f"cuda:{self.device}")
        if self.use_cuda:
            if self.device != "auto" and not self.device.startswith("cuda"):
                raise ConfigError(f"--use-cuda and --device {self.device} contradict each other. Give one of them.")
            if self.device == "auto":
                object.__setattr__(self, "device", "cuda")
        _check(self)

    @cached_property
    def parsed(self) -> Parsed:
        """The settings that are written as text, as values."""
        return Parsed(
            scale=parse_scale(self.scale),
            batch_size=parse_count("batch_size", self.batch_size),
            workers=parse_count("workers", self.workers),
            input_size=parse_input_size(self.input_size),
            mean=parse_floats("mean", self.mean),
            std=parse_floats("std", self.std),
            sample=parse_sample(self.sample),
            shard=parse_shard(self.shard),
            processes=parse_count("processes", self.processes),
            bands=parse_bands(self.bands),
            show_bands=parse_show_bands(self.show_bands),
            window=parse_window(self.window),
        )

    @property
    def run_dir(self) -> str:
        """``--output-dir``, or the name that is tried first without it."""
        return self.output_dir or DEFAULT_OUTPUT_DIR

    @property
    def pictures(self) -> bool:
        """Whether anything is drawn in the geometry of the original; only ``raw`` is not."""
        return any(kind != "raw" for kind in self.save)


SETTINGS = declarations_of(RunConfig)
"""What is declared with each field of :class:`RunConfig`, by name."""


def collect_verbatim(config: RunConfig, effect: Effect) -> dict[str, object]:
    """The settings with an effect that a fingerprint holds as they are."""
    return {
        name: getattr(config, name)
        for name, declared in SETTINGS.items()
        if declared.affects == effect and not declared.resolved
    }


_MAY_BE_URLS = ("image_path", "output_dir")


def _check(config: RunConfig) -> None:
    for name, declared in SETTINGS.items():
        declared.check(getattr(config, name))
    for kind in config.save:
        if kind not in SAVE_KINDS:
            extra = " 'none' stands alone." if kind == "none" else did_you_mean(kind, SAVE_KINDS)
            listed = ", ".join(SAVE_KINDS)
            raise ConfigError(f"--save {kind}: not something that can be saved.{extra} Choose from {listed}.")
    for name, declared in SETTINGS.items():
        value = getattr(config, name)
        if declared.path is not None and name not in _MAY_BE_URLS and isinstance(value, str) and is_remote(value):
            raise ConfigError(f"{flag(name)} {masked(value)}: only images and the run folder may be URLs. Name a file.")
    if config.fast_decode and config.device_decode:
        raise ConfigError(
            "--fast-decode and --device-decode cannot be combined: a CUDA device decodes the full size. Leave one out."
        )
    if config.budget is not None and BEST not in config.method:
        raise ConfigError(
            f"--budget {config.budget} limits what --method best may choose, and the method is "
            f"{', '.join(config.method)}. Say --method best, or leave --budget out."
        )
    _check_parts(config)
    _ = config.parsed  # raises where a text cannot be parsed
    for name, way_out in (
        ("method", "`cam methods` lists the methods."),
        ("target", "Leave it out for the predicted class."),
        ("layer", "Leave it out for the automatic choice."),
    ):
        value = getattr(config, name)
        if value is not None and not (value.strip() if isinstance(value, str) else value):
            raise ConfigError(f"{flag(name)} is empty. {way_out}")


def _check_parts(config: RunConfig) -> None:
    """Refuse what contradicts itself where several processes share a run."""
    of_ray = {name: getattr(config, name) for name in ("ray_address", "gpus_per_worker", "cpus_per_worker")}
    if config.engine != "ray":
        for name, value in of_ray.items():
            if value is not None:
                raise ConfigError(f"{flag(name)} is for --engine ray. Add that, or leave it out.")
    elif config.shard is not None:
        raise ConfigError("--engine ray and --shard contradict each other: Ray hands out the images. Give one.")
    elif "-" in config.image_path:
        raise ConfigError("--engine ray: the workers list the inputs, too. Write standard input to a file: @FILE.")
    if config.shard is None:
        return
    if config.processes != "1":
        raise ConfigError("--shard and --processes contradict each other: one process explains one part. Give one.")
    if config.overwrite:
        raise ConfigError(
            "--overwrite would remove what the other shards have written. Remove the folder, or choose another "
            "--output-dir."
        )
    for name in ("csv", "parquet"):
        if getattr(config, name):
            raise ConfigError(
                f"--{name} with --shard: the table is of the whole run. Give it to `cam merge RUN --{name} FILE`."
            )
    if "-" in config.image_path:
        raise ConfigError("--shard: the parts cannot all read standard input. Write it to a file, and give @FILE.")

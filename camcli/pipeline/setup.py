"""Everything that is decided before the stream starts: model, layers, methods, targets, batch shape."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from camcli.capture import noise
from camcli.concurrency import default_workers
from camcli.config.choice import is_choice_for, with_choice
from camcli.config.recommended import with_recommended
from camcli.config.settings import BEST, RunConfig
from camcli.device import BatchLimit, choose_device, choose_precision, device_name, require_memory
from camcli.errors import ConfigError, SourceError, TargetError
from camcli.explainer import Explainer, ExplainOptions, Progress
from camcli.images import ASSUMED, DecodeSettings, Preprocessing, Sources, packed_below, require_device_decoder
from camcli.layers import Layer
from camcli.models import Model, load_model
from camcli.models.output_examination import examine, require_row_per_image
from camcli.models.repetition import make_repeatable
from camcli.output import check_named_file, require_parquet
from camcli.pipeline.first_image import first_image
from camcli.pipeline.inputs import list_sources
from camcli.pipeline.labels import Labeller
from camcli.pipeline.pictures import fixed_limits, style_of
from camcli.pipeline.recorded_pass import RecordedPass
from camcli.pipeline.target_layers import choose_layers, needs_gradient
from camcli.pipeline.targets import TargetSpec, parse_target
from camcli.render import Style
from camcli.schemas.index import ChosenMethod, Header
from camcli.speed import Tuning, fitting_batch

_BATCH = {"cpu": 12, "mps": 16}
"""What `--batch-size auto` is; on CUDA see :mod:`camcli.speed.batch_size`. It does not depend on the number of images:
another batch size changes the last bits of a result, and one more file in a folder must not. On a CPU 16 or 32 would be
up to a tenth faster in long runs, and hold more memory; a run of one image waits for a whole batch."""

Decide = Callable[[RunConfig, Model, Sources], ChosenMethod]
"""Finds the method that ``--method best`` stands for."""


@dataclass(frozen=True)
class Setup:
    """What the stream works with."""

    config: RunConfig
    sources: Sources
    model: Model
    layers: tuple[Layer, ...]
    explainer: Explainer
    targets: tuple[TargetSpec, ...]
    labeller: Labeller
    device: torch.device
    device_name: str
    precision: str
    batch_size: int
    workers: int
    style: Style
    limits: Mapping[str, tuple[float, float]]  # fixed normalisation limits of each method, raw units
    tuning: Tuning = field(default_factory=Tuning)  # how the model runs inside at_speed
    recorded: RecordedPass | None = None  # its pass as a CUDA graph, inside at_speed
    assumptions: tuple[str, ...] = ()  # what was assumed, or done so that results can be repeated; one line each
    choice: ChosenMethod | None = None  # the method that `best` stands for, and why

    @property
    def explain_options(self) -> ExplainOptions:
        """What is asked of the methods, for other explainers of the same run."""
        return replace(explain_options(self.config, self.precision), strict=self.explainer.is_strict)

    @property
    def classless(self) -> bool:
        """Whether the model is an encoder without classes; its maps explain none."""
        return self.model.num_classes is None


def open_sources(config: RunConfig) -> Sources:
    """The inputs of a run.

    Raises:
        SourceError: a path that is not there, or no image at all.
    """
    if not config.image_path:
        raise SourceError("nothing to explain: give --image-path a file, a folder, a glob or a list.")
    sources = list_sources(config)
    if next(iter(sources), None) is None:
        paths = ", ".join(config.image_path)
        skipped = f" {sources.passed_over} file(s) there have no known image extension." if sources.passed_over else ""
        pattern = next(filter(None, map(packed_below, config.image_path)), None) if sources.passed_over else None
        skipped += f" Tars and tables are named: --image-path '{pattern}'." if pattern else ""
        raise SourceError(f"--image-path {paths}: no image was found.{skipped}")
    return sources


def open_model(config: RunConfig, device: torch.device) -> Model:
    """The model of a configuration, on its device."""
    model = load_model(
        config.model,
        weights=config.weights,
        checkpoint=config.checkpoint,
        num_classes=config.num_classes,
        class_names=config.class_names,
        input_size=config.parsed.input_size,
        mean=config.parsed.mean,
        std=config.parsed.std,
        resize=config.resize,
        device=device,
        trust_checkpoint=config.trust_checkpoint,
        output_key=config.output_key,
    )
    return with_bands(model, config)


def with_bands(model: Model, config: RunConfig) -> Model:
    """The same with ``--bands``, and what is assumed of its channels.

    Raises:
        ConfigError: more or fewer bands than the model takes.
    """
    pre = model.preprocessing.changed(bands=config.parsed.bands)
    lines = model.assumptions
    if pre.custom is None and pre.channels == 1:
        lines += ("the model takes one channel: colours become grey (ITU-R 601 luma)",)
    is_repeated = pre.channels > 3 and all(value == pre.mean[i % 3] for i, value in enumerate(pre.mean))
    if pre.custom is None and is_repeated and config.mean is None and not model.assumptions:
        listed = ", ".join(f"{value:g}" for value in pre.mean[:3])
        lines += (
            f"{ASSUMED}the mean of the model's {pre.channels} channels is {listed} in turn, and their deviation "
            "likewise (--mean, --std)",
        )
    return replace(model, preprocessing=pre, assumptions=lines)


def decode_settings(config: RunConfig, preprocessing: Preprocessing, device: torch.device) -> DecodeSettings:
    """How the images of a run are read."""
    return DecodeSettings(
        max_pixels=config.max_pixels,
        allow_truncated=config.allow_truncated,
        fast_decode=config.fast_decode,
        fast_size=(preprocessing.width, preprocessing.height),
        device=str(device) if config.device_decode else None,
        channels=preprocessing.channels,
        keeps_bands=preprocessing.bands is not None,
        show_bands=config.parsed.show_bands,
        window=config.parsed.window,
    )


def explain_options(config: RunConfig, precision: str) -> ExplainOptions:
    """The part of a configuration that the methods see."""
    return ExplainOptions(
        score=config.score,
        precision=precision,
        fuse=config.fuse,
        probability=config.probability,
        method_options=config.option,
        precision_given=config.precision != "auto",
        aug_smooth=config.aug_smooth,
        eigen_smooth=config.eigen_smooth,
    )


def prepare(
    config: RunConfig,
    recorded: Header | None = None,
    progress: Progress | None = None,
    decide: Decide | None = None,
) -> Setup:
    """Decide everything.

    Args:
        config: the settings.
        recorded: the header of the run folder that is continued, whose batch size, limits and choice of a method are
            used again.
        progress: called with how far a slow method is inside an image.
        decide: called for ``--method best`` where neither the run folder nor ``recorded`` has an answer.

    Raises:
        UsageError: anything that is wrong with the configuration, before an image is explained.
    """
    # A run that is continued keeps its choice, whatever an evaluation has recommended since.
    is_chosen = BEST in config.method and recorded is not None and _choice_for(config, recorded) is not None
    config, best = with_recommended(config, for_method=not is_chosen)
    device = choose_device(config.device)
    if config.csv:
        check_named_file("--csv", config.csv)
    if config.parquet:
        require_parquet()
        check_named_file("--parquet", config.parquet)
    needs_gradient(config)  # a mistyped method: say so before a model is loaded
    sources = open_sources(config)
    model = open_model(config, device)
    if best is not None:
        best.confirm(model.weights_sha256)
    choice = None if best is None else best.choice
    if BEST in config.method:
        choice = _recorded_choice(config, model, recorded) or _decided(config, model, sources, decide)
        config = with_choice(config, choice)
    return replace(setup_for(config, model, sources, recorded, progress), choice=choice)


def _recorded_choice(config: RunConfig, model: Model, recorded: Header | None) -> ChosenMethod | None:
    """The choice of the run that is continued, where it was made for the same request and weights."""
    if recorded is None or recorded["model"]["weights_sha256"] != model.weights_sha256:
        return None
    return _choice_for(config, recorded)


def _choice_for(config: RunConfig, recorded: Header) -> ChosenMethod | None:
    choice = recorded.get("chosen_method")
    return choice if choice is not None and is_choice_for(choice, config) else None


def _decided(config: RunConfig, model: Model, sources: Sources, decide: Decide | None) -> ChosenMethod:
    if decide is None:
        raise ConfigError("--method best: only `cam run` and `cam check` choose a method. Name one: `cam methods`.")
    return decide(config, model, sources)


def setup_for(
    config: RunConfig, model: Model, sources: Sources, recorded: Header | None = None, progress: Progress | None = None
) -> Setup:
    """Decide everything else once model and inputs are there; see :func:`prepare`."""
    device = model.device
    if config.device_decode:
        require_device_decoder(str(device))
    precision = choose_precision(config.precision, device)
    earlier = recorded["config"] if recorded else {}
    with require_memory(device, model.name), model.prepared():
        example = partial(first_image, config, model, sources)
        examined = examine(model, config.probability, example)  # type: ignore[arg-type]
        require_row_per_image(examined, config.parsed.batch_size)
        model = make_repeatable(examined.model, examined.repeated, config.seed)
    precision = precision_for(model, config.precision, precision)
    with require_memory(device, model.name), model.prepared():
        layers, alone = choose_layers(config, model)
        options = replace(explain_options(config, precision), one_at_a_time=alone or model.is_alone)
        explainer = Explainer(model, layers, config.method, options, progress)
        batch_size = _batch_size(config, explainer, model, earlier.get("batch_size"))
        refused, fitting = _refused(explainer, model, batch_size)
        if config.parsed.batch_size is None and not earlier:
            batch_size = fitting
    targets = parse_target(config.target or "predicted", model.class_names, model.num_classes)
    _check_values(config, model, targets)
    return Setup(
        config=config,
        sources=sources,
        model=model,
        layers=layers,
        explainer=explainer,
        targets=targets,
        labeller=_labeller(model, sources),
        device=device,
        device_name=device_name(device),
        precision=precision,
        batch_size=batch_size,
        workers=config.parsed.workers or default_workers(),
        style=style_of(config),
        limits=_limits(config, earlier.get("scale_limits")),
        assumptions=(*_assumptions(model, layers), *refused),
    )


def precision_for(model: Model, asked: str, precision: str) -> str:
    """float32 for a model with its sigmoid inside, unless another precision was asked for.

    bf16 rounds such a probability to 1 from a logit of 6 on, and nothing is left to explain; a softmax is computed in
    float32 in any case.
    """
    form = model.output
    is_rounded = asked == "auto" and form.kind in ("probabilities", "log-probabilities") and form.link == "sigmoid"
    return "fp32" if is_rounded else precision


def _assumptions(model: Model, layers: Sequence[Layer]) -> tuple[str, ...]:
    of_passes = model.passes.lines if model.passes is not None else ()
    of_layers = tuple(layer.assumption for layer in layers if layer.assumption is not None)
    return (*model.assumptions, *model.preprocessing.assumptions, *of_passes, *of_layers)


def _refused(explainer: Explainer, model: Model, batch_size: int) -> tuple[tuple[str, ...], int]:
    """A line on operations whose results may differ from run to run, and how many images fit into memory."""
    if model.device.type != "cuda" or model.passes is not None:
        return (), batch_size
    limit = BatchLimit(batch_size)
    # The size of the run's batches, since for others other kernels are loaded, which takes seconds.
    names = limit.fit(lambda size: explainer.require_determinism(noise(model.preprocessing, size, model.device)))
    if not names:
        return (), limit.size
    line = (
        f"{', '.join(names)}: CUDA has no deterministic kernel for it, so that the last digits of maps may differ from "
        "run to run"
    )
    return (line,), limit.size


def in_run_folder(setup: Setup, run_dir: Path) -> Setup:
    """The same with the run folder that was chosen, which the sources never enter."""
    setup.sources.exclude(run_dir)
    return replace(setup, config=replace(setup.config, output_dir=str(run_dir)))


def _check_values(config: RunConfig, model: Model, targets: Sequence[TargetSpec]) -> None:
    """Refuse what needs classes where the outputs are values."""
    if not model.returns_values:
        return
    if any(spec.kind == "label" for spec in targets):
        raise TargetError(f"--target label: the outputs of model {model.name} are values, and a label is a class.")
    if config.score == "prob":
        raise ConfigError(f"--score prob: the outputs of model {model.name} are values, without probabilities.")


def _labeller(model: Model, sources: Sources) -> Labeller:
    """The true classes of images; of values there are none."""
    if model.returns_values:
        return Labeller(None, 0, lambda source: ())
    return Labeller(model.class_names, model.num_classes, sources.class_folders)


def _batch_size(config: RunConfig, explainer: Explainer, model: Model, earlier: int | None) -> int:
    if model.is_alone:
        return 1
    if size := config.parsed.batch_size or earlier:
        return size
    if model.device.type != "cuda":
        return _BATCH[model.device.type]
    return fitting_batch(lambda size: explainer.rehearse(noise(model.preprocessing, size, model.device)))


def _limits(config: RunConfig, earlier: Mapping[str, Sequence[float]] | None) -> dict[str, tuple[float, float]]:
    if config.parsed.scale.sample and earlier:
        return {method: (low, high) for method, (low, high) in earlier.items()}
    return fixed_limits(config)

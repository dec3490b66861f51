"""The types of ``camcli.index/1``: what a run folder's JSON holds, key by key.

They declare the same as ``index-1.schema.json``; a test compares the two. What may be null there is ``| None`` here.
Annotations are evaluated here: as text, ``NotRequired`` would not be seen at run time.
"""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

RunStatus = Literal["running", "complete", "interrupted", "aborted"]
MapStatus = Literal["ok", "zero", "constant", "nonfinite"]


class ClassFields(TypedDict):
    """A class; the name is null where the model has none for it."""

    index: int
    name: str | None


class ScoredClass(ClassFields):
    """A class with the model's values for it; null where that is not finite."""

    probability: float | None
    logit: float | None


class TargetFields(ScoredClass):
    """The class that a map explains, and how it was chosen."""

    chosen_by: str


class RawStatistics(TypedDict):
    """Of the native map before ReLU and normalisation; null where it is not finite."""

    min: float | None
    max: float | None
    mean: float | None


class MapStatistics(TypedDict):
    """Where the ReLU'd map has its mass, in upright original pixels; null for a degenerate map."""

    peak: list[float] | None
    centroid: list[float] | None
    entropy: float | None
    border: float | None
    box: list[float] | None


class NativeMap(TypedDict):
    """The raw signed map: base64 of little-endian float16, row-major; value = data × scale."""

    grid: list[int]
    scale: float
    data: str
    reduced: NotRequired[bool]


class MapRow(TypedDict):
    """One map of an image; ``improbable`` is there where the model practically rules its target out."""

    method: str
    layer: str | list[str] | None
    target: TargetFields | None
    status: MapStatus
    raw: RawStatistics
    attention: MapStatistics
    native: NativeMap | None
    files: dict[str, str | None]
    improbable: NotRequired[bool]


class ErrorFields(TypedDict):
    """Why an image could not be explained; the kinds are :data:`camcli.errors.ErrorKind`."""

    kind: str
    message: str


class ImageNames(TypedDict):
    """Whose row it is; ``_b64`` holds the bytes of a name that is not UTF-8."""

    image: str
    image_b64: NotRequired[str]
    source: str
    source_b64: NotRequired[str]


class ExplainedRow(ImageNames):
    """An image with its maps; view is x0, y0, x1, y1 in upright original pixels."""

    bytes: int
    sha256: str
    status: Literal["ok"]
    error: None
    width: int
    height: int
    format: str
    frames: int
    notes: list[str]
    label: ClassFields | None
    correct: bool | None
    predictions: list[ScoredClass]
    view: list[float]
    maps: list[MapRow]
    sizes: dict[str, int]


class FailedRow(ImageNames):
    """An image that could not be explained: every key is there, null or empty where nothing is known."""

    bytes: int | None
    sha256: str | None
    status: Literal["failed"]
    error: ErrorFields
    width: int | None
    height: int | None
    format: str | None
    frames: int | None
    notes: list[str]
    label: None
    correct: None
    predictions: list[ScoredClass]
    view: None
    maps: list[MapRow]
    sizes: dict[str, int]


ImageRow = ExplainedRow | FailedRow
"""One row of the journal, and one item of the index."""


class ModelFields(TypedDict):
    """The model with its preprocessing and a hash of its weights; and of the names of its classes, where it has any."""

    name: str
    source: str
    weights: str | None
    weights_sha256: str
    num_classes: int | None
    input_size: list[int]
    mean: list[float] | None
    std: list[float] | None
    resize: str | None
    class_names_sha256: NotRequired[str]


ProbabilitySource = Literal["softmax", "sigmoid", "own", "none"]


class OutputFields(TypedDict):
    """What the numbers are that the model returns, and the guess about that, where there is one (``assumed``)."""

    kind: Literal["logits", "probabilities", "log-probabilities", "values", "embedding"]
    key: str | None
    probability: ProbabilitySource
    assumed: str | None


class LayerFields(TypedDict):
    """A target layer, its layout and whether that is verified (``proof``)."""

    path: str
    requested: str
    module: str
    layout: Literal["nchw", "nhwc", "tokens"]
    grid: list[int]
    channels: int
    prefix_tokens: int
    proof: Literal["proven", "refuted", "unproven"]


class Environment(TypedDict):
    """Versions and the device."""

    python: str
    torch: str
    torchvision: str
    timm: str
    device: str
    device_name: str
    precision: str
    trials: NotRequired[str]


class CountFields(TypedDict):
    """How many images and maps of which kind."""

    images: int
    ok: int
    failed: int
    maps: int
    degenerate_maps: int
    labelled: int
    correct: int
    passed_over: int


class Timing(TypedDict):
    """Seconds of the run, images per second, busy seconds of each stage."""

    seconds: float
    images_per_second: float
    stages: dict[str, float]


class RequestedMethod(TypedDict):
    """What was asked for where a method was to be chosen: ``--method`` and ``--option``."""

    method: list[str]
    option: list[str]


class CandidateFields(TypedDict):
    """A method that was tried, with what it costs and its Insertion − Deletion on the images of the trial."""

    method: str
    options: list[str]
    passes: float | None
    value: float | None
    interval: list[float] | None


class ExcludedCandidate(TypedDict):
    """A method that was not tried, and why; passes are null where they were not counted."""

    method: str
    options: list[str]
    passes: float | None
    reason: str


class TrialFields(TypedDict):
    """How the candidates were compared, and what that cost."""

    metric: str
    steps: int
    seed: int
    passes: int
    seconds: float


class ChosenMethod(TypedDict):
    """The method that ``--method best`` stands for, and why.

    ``layer`` is null unless the choice fixes the layers that ``auto`` became in the trial.
    """

    method: str
    options: list[str]
    layer: list[str] | None
    source: Literal["trial", "default", "evaluation"]
    why: list[str]
    budget: int | None
    requested: RequestedMethod
    images: list[str]
    candidates: list[CandidateFields]
    excluded: list[ExcludedCandidate]
    trial: TrialFields | None


class Header(TypedDict):
    """The top-level fields of the index but its items; in a journal, those of a run that has not ended."""

    schema: str
    status: RunStatus
    camcli: str
    started: str
    finished: str | None
    command: list[str]
    config: Mapping[str, Any]
    fingerprint: str
    render_fingerprint: str
    model: ModelFields
    output: NotRequired[OutputFields]
    layers: list[LayerFields]
    assumptions: NotRequired[list[str]]
    methods: list[str]
    chosen_method: NotRequired[ChosenMethod]
    environment: Environment
    counts: CountFields | None
    timing: Timing | None

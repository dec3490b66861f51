"""The inputs of a method, its result, and how it describes itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from camcli.methods.eigen import first_component
from camcli.methods.options import Option
from camcli.methods.score import Score

Build = Callable[[slice], Tensor]
"""Makes the inputs, or the altered activations, of a chunk of trials."""

Reduce = Callable[[Tensor], Tensor]
"""From logits (M, classes) of a chunk of trials to what is kept of them, (M, ...)."""

BuildOfImages = Callable[[slice, slice], Tensor]
"""Makes altered activations (trials, images, K, h, w) of some images of the batch (first slice) and some trials."""

RowScore = Callable[[Tensor, Tensor], Tensor]
"""From logits (M, classes) and targets (M,) to a score of each row, (M,)."""

Need = Literal[
    "tail",
    "tail gradient",
    "scoring",
    "other inputs",
    "curvature",
    "attention",
    "network gradient",
    "biases",
    "relu",
    "pooled head",
    "references",
]
"""What a method needs of a model beyond activations and gradients; checked before any image is read."""

Family = Literal["attention", "changes", "gradients", "activations"]


@dataclass(frozen=True)
class Biases:
    """FullGrad's decomposition of a score.

    Attributes:
        inputs: x ⊙ ∂S/∂x, (N, C, H, W).
        maps: b ⊙ ∂S/∂b-map for every bias that acts on maps, (N, K, h, w) each.
        vectors: the same for biases whose positions are not known, such as windows, or that have none behind the
            pooling: summed for each image, (N, K) each.
    """

    inputs: Tensor
    maps: Sequence[Tensor]
    vectors: Sequence[Tensor]


@dataclass(frozen=True)
class Attention:
    """Attention of one pass, for tokens that are ``prefix`` special ones and then a grid row by row.

    Attributes:
        matrices: softmaxed, (N, heads, tokens, tokens) float32 for each block, first to last.
        grid: rows and columns.
        prefix: tokens before the grid.
        readout: the tokens that the score is read from in the last block: class tokens, or all of the grid.
    """

    matrices: Sequence[Tensor]
    grid: tuple[int, int]
    prefix: int
    readout: Sequence[int]

    def on_grid(self, tokens: Tensor) -> Tensor:
        """(N, tokens) → (N, h, w)."""
        return tokens[:, self.prefix :].reshape(len(tokens), *self.grid)


class Network(Protocol):
    """What a method can compute with the whole network, for the images and classes of its pass."""

    def logits(self, inputs: Tensor) -> Tensor:
        """(M, classes) float32 of inputs (M, C, H, W), differentiable where they require gradients."""

    def trials(self, count: int, inputs: Build, reduce: Reduce) -> Tensor:
        """``reduce`` of the logits of ``count`` inputs, in chunks that fit into memory; (count, ...)."""

    def biases(self) -> Sequence[Biases]:
        """The scores split into what the input and every bias contribute, of the images in turn or all together."""

    def guided_gradient(self) -> Tensor:
        """∂S/∂x with negative gradients stopped at every ReLU, (N, C, H, W)."""

    def attention(self) -> Attention:
        """Attention matrices of the pass."""

    def attention_gradients(self) -> Sequence[Tensor]:
        """∂S/∂A of each attention matrix A."""

    def block_gradients(self) -> Sequence[Tensor]:
        """∂S_l/∂A_l, S_l the score read from the tokens behind block l as it is read from those of the last block."""


class AtLayer(Protocol):
    """What a method can compute at the target layer, for the images and classes of its pass."""

    def trials(self, image: int, count: int, maps: Build, reduce: Reduce) -> Tensor:
        """``reduce`` of the logits with ``count`` altered activations (M, K, h, w) of one image; (count, ...)."""

    def activations(self) -> Tensor:
        """A (N, K, h, w) in the precision of the trials."""

    def gradients(self, inputs: Tensor) -> Tensor:
        """∂S/∂A (N, K, h, w) for other inputs (N, C, H, W)."""

    def mean_gradients(self, count: int, maps: BuildOfImages, score: RowScore) -> Tensor:
        """The mean over ``count`` altered activations a of ∂score/∂a, for each image; (N, K, h, w) float32."""

    def curvature(self, direction: Tensor) -> Tensor:
        """The Hessian of S at A times a direction, both (N, K, h, w)."""


@dataclass(frozen=True)
class Pass:
    """One batch, one layer, one class an image (or several, for methods with ``targets_together``).

    Attributes:
        activations: A, (N, K, h, w) float32, prefix tokens dropped.
        logits: z, (N, classes) float32.
        targets: (N,) int64, the class explained in each image; (N, T) with ``targets_together``.
        score: from logits and targets to S.
        seeds: one an image; all randomness of a method comes from here.
        inputs: x, (N, C, H, W) float32.
        network: for methods that need more than a layer's activations.
        layer: the same at the layer.
        gradients: ∂S/∂A, (N, K, h, w) float32, for methods that declare ``needs_gradients``.
        real: so many images count, the rows behind them repeat the last one to fill the batch; None: all.
        eigen_smooth: the first principal component of the weighted activations instead of their sum.
        layers: for methods of several ``layers``, the same at each of them, in the order of the forward pass;
            ``activations`` and ``gradients`` of the pass itself are empty then.
    """

    activations: Tensor
    logits: Tensor
    targets: Tensor
    score: Score
    seeds: Sequence[int]
    inputs: Tensor
    network: Network
    layer: AtLayer
    gradients: Tensor | None = None
    eigen_smooth: bool = False
    real: int | None = None
    layers: Sequence["Pass"] = ()

    @property
    def g(self) -> Tensor:
        """The gradients, where the method has asked for them."""
        if self.gradients is None:
            raise ValueError("this method did not declare needs_gradients")
        return self.gradients

    def each_image(self, one: Callable[[int], Tensor]) -> Tensor:
        """``one`` of each image by number, stacked, for slow methods: padding repeats the last image's result."""
        count = len(self.inputs)
        results = [one(image) for image in range(self.real or count)]
        return torch.stack(results + [results[-1]] * (count - len(results)))

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Σ_k w_k A_k, or with ``eigen_smooth`` the first principal component of the w_k A_k, (N, h, w) float32.

        Args:
            weights: (N, K), or (N, K, h, w) where every position has its own.
        """
        if weights.ndim == 2:
            weights = weights[:, :, None, None]
        terms = weights * self.activations
        return first_component(terms, terms.sum(1)) if self.eigen_smooth else terms.sum(1)

    def weighted_sums(self, weights: Tensor) -> Tensor:
        """The same for several classes: weights (N, T, K) → (N, T, h, w)."""
        return torch.stack([self.weighted_sum(weights[:, number]) for number in range(weights.shape[1])], dim=1)


Options = Mapping[str, Any]
"""The values of a method's own options, by key."""

Compute = Callable[[Pass, Options], Tensor]

Rescore = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
"""A score of a method's own: logits (N, classes), targets (N,), labels (N,) with -1 unknown, options → (N,)."""


@dataclass(frozen=True)
class LayerChoice:
    """Which layers a method of several looks at, where the user names none or one, which is then the deepest.

    Attributes:
        strides: the last block at each; one that comes m times: so many blocks, equally far apart, of those at it.
        depths: the same in a network of one grid, as shares of its blocks.
        must_exist: whether a stride that the network does not have is an error; otherwise it is passed over.
    """

    strides: tuple[int, ...]
    depths: tuple[float, ...]
    must_exist: bool = False


@dataclass(frozen=True)
class Method:
    """The description of a method: one entry of :mod:`camcli.methods.registry`.

    Attributes:
        key: what is typed.
        name: what it is called.
        paper: authors and year, with the arXiv number where there is one.
        cost: passes an image: F forward, B backward from the score to the layer, T tail behind the layer, K channels,
            n positions.
        compute: from a pass and the method's options to the raw, signed maps (N, h, w) float32.
        needs_gradients: uses ∂S/∂A.
        class_specific: another class gives another map.
        weighted: a sum of weighted activations, so that ``--eigen-smooth`` applies.
        signed: the raw map can be negative.
        scope: looks at one ``layer``, at several ``layers`` for one map, or at the whole ``network`` and no layer.
        layers: which, where it looks at several; None: the last one of each stage.
        targets_together: its trials do not depend on the class: given targets (N, T), it returns (N, T, h, w).
        needs: of the model, beyond activations and gradients.
        rescore: explains another scalar than the run does.
        options: its own options.
        cost_as_set: the cost with its options in braces, or made of them, where they decide it.
        approximate: describes what its options leave out, None where nothing is left out.
        replays_blocks: it reads the score from the tokens behind each attention block.
        max_fusion_gamma: with ``--fuse max`` the maps of all layers but the deepest become tanh(γ·M / max M).
        candidate: ``cam eval --recommend`` tries it where no method is named; all of these share their passes.
        baseline: it does not depend on the class score: methods are compared with it.
        seeded: it draws random numbers of each image's seed.
    """

    key: str
    name: str
    paper: str
    cost: str
    compute: Compute
    needs_gradients: bool = False
    class_specific: bool = True
    weighted: bool = False
    signed: bool = True
    scope: Literal["layer", "layers", "network"] = "layer"
    layers: Callable[[Options], LayerChoice] | None = None
    targets_together: bool = False
    needs: tuple[Need, ...] = ()
    rescore: Rescore | None = None
    options: tuple[Option, ...] = ()
    cost_as_set: str | Callable[[Options], str] = ""
    approximate: Callable[[Options], str | None] | None = None
    replays_blocks: bool = False
    max_fusion_gamma: float | None = None
    candidate: bool = False
    baseline: bool = False
    seeded: bool = False

    def cost_with(self, settings: Options) -> str:
        """Passes an image with these options."""
        if isinstance(self.cost_as_set, str):
            return self.cost_as_set.format(**settings) if self.cost_as_set else self.cost
        return self.cost_as_set(settings)

    @property
    def family(self) -> Family:
        """What it works by. Methods of two families that agree support each other."""
        if "attention" in self.needs:
            return "attention"
        if {"tail", "scoring"} & set(self.needs):
            return "changes"
        return "gradients" if self.needs_gradients or self.class_specific else "activations"

    @property
    def needs_layer(self) -> bool:
        """Whether it needs a target layer; attention matrices are over the tokens of one."""
        return self.scope != "network" or "attention" in self.needs

    @property
    def needs_layer_gradient(self) -> bool:
        """Whether the class score must have a gradient at the target layer."""
        return self.needs_gradients or "tail gradient" in self.needs

    @property
    def whole_graph(self) -> bool:
        """Whether it differentiates through the whole network rather than from a layer on."""
        return bool({"network gradient", "attention"} & set(self.needs))

    @property
    def reads_parameters(self) -> bool:
        """Whether it reads biases and norms of the network, which folding would merge into other layers."""
        return "network gradient" in self.needs

    def approximations(self, settings: Options) -> list[str]:
        """What with these settings is less than the method's definition, for the user."""
        note = self.approximate(settings) if self.approximate is not None else None
        return [] if note is None else [f"{self.key}: {note}"]

    @property
    def uses_gradients(self) -> bool:
        """Whether any backward pass is run for it; ``needs_gradients`` is about the shared one."""
        return "B" in self.cost

    def as_json(self) -> dict[str, Any]:
        """What ``cam methods --json`` prints."""
        return {
            "key": self.key,
            "name": self.name,
            "paper": self.paper,
            "cost": self.cost,
            "gradients": self.uses_gradients,
            "class_specific": self.class_specific,
            "signed": self.signed,
            "scope": self.scope,
            "needs": list(self.needs),
            "eigen_smooth": self.weighted,
            "options": [option.as_json() for option in self.options],
        }


def generator(seed: int, salt: int = 0) -> torch.Generator:
    """The random numbers of one image: the same on every device, in every batch, after every resume."""
    return torch.Generator().manual_seed((seed * 1_000_003 + salt) % (1 << 63))

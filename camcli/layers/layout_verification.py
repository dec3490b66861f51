"""The verification of a layout: perturb blocks of the image, measure where the activation changes.

Each candidate layout of a shape predicts where on its grid the blocks lie. A layout is verified when the change agrees
with its prediction, clearly better than with the predictions of all competing candidates: the other axis for the
channels, other factorisations, other numbers of prefix tokens, tokens behind the grid, rows and columns exchanged, and
the blocks of the other images.

How much a position changes depends on the network as much as on the block: some positions change for any image. So the
change is divided by the change for an image replaced throughout, and centred over images and over positions, before it
is correlated with the prediction. A shape alone decides nothing: 197 tokens are 14x14 after one, or 13x15 after two.
"""

import itertools
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from camcli.layers.activation_change import ActivationChange
from camcli.layers.candidate_layouts import CandidateLayout, competing_candidates, has_candidates, list_candidates
from camcli.layers.layout import Layout, LayoutFlag
from camcli.layers.perturb import Box

Proof = Literal["proven", "refuted", "unproven"]

AGREEMENT = 0.75  # correlation of change and prediction below which nothing is verified
LEAD = 0.015  # by which it must exceed that of every competing candidate
ROW_LEAD = 0.2  # by which taking a row of the grid for prefix tokens must be better than not
MIXED = 0.1  # by which it must exceed the best with the blocks of the images interchanged
_SHORTLIST = 4  # token sequences have dozens of candidates: the best by a quick correlation are compared closely


Ranked = tuple[float, float, CandidateLayout]
"""Agreement, the best agreement with the blocks of the images interchanged, and the candidate."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What the perturbations show about an activation.

    Attributes:
        layout: the layout that agrees best; None where no layout fits the shape or the best one is refuted.
        proof: whether it is verified (``proven``), contradicted (``refuted``) or neither (``unproven``).
        reason: one line where it is not verified.
        agreement: correlation of its prediction with the change, in [-1, 1].
    """

    layout: Layout | None
    proof: Proof
    reason: str | None = None
    agreement: float = 0.0


class LayoutVerifier:
    """Verifies layouts by the changes of activations for one batch of perturbed images.

    Args:
        boxes: of each perturbed image, its block.
        image: height and width of the input.
    """

    def __init__(self, boxes: tuple[Box, ...], image: tuple[int, int]) -> None:
        self.image = image
        self._boxes = boxes
        self._candidates: dict[tuple[int, ...], list[CandidateLayout]] = {}
        self._has_candidates: dict[tuple[int, ...], bool] = {}
        self._predicted: dict[CandidateLayout, Tensor] = {}
        self._templates: dict[tuple[int, ...], Tensor] = {}
        self._orders = torch.tensor(list(itertools.permutations(range(len(boxes)))))  # 24 for 4 blocks

    def verify(self, change: ActivationChange, flag: LayoutFlag | None = None) -> Verification:
        """The layout of an activation, as far as it can be verified.

        Args:
            change: of the activation.
            flag: the user's ``--layout``; only layouts that agree are considered.
        """
        flag = flag or LayoutFlag()
        candidates = self.candidates(change.shape)
        if not candidates:
            return Verification(None, "refuted", f"not spatial: no grid fits the shape {_shape(change.shape)}")
        fields = {axis: _relative_change(own) for axis, own in change.by_axis.items()}
        if any(not bool(field.isfinite().all()) for field in fields.values()):
            return Verification(None, "unproven", "its values are not finite for the perturbed images")
        if all(not bool(field.any()) for field in fields.values()):
            return Verification(None, "refuted", "does not depend on the image")
        ranked = self._rank(change.shape, candidates, fields, flag)
        allowed = [entry for entry in ranked if _is_allowed(entry[2], flag)]
        if not allowed:
            return Verification(None, "refuted", f"its shape {_shape(change.shape)} does not allow what --layout says")
        result = _judge(self._first(allowed), ranked)
        if result.proof == "refuted" and flag.kind is not None:
            default = self._default_candidate([candidate for candidate in candidates if _is_allowed(candidate, flag)])
            return replace(result, layout=default.layout)
        return result

    def candidates(self, shape: tuple[int, ...]) -> list[CandidateLayout]:
        """The layouts that the shape (1, ...) admits."""
        if shape not in self._candidates:
            self._candidates[shape] = list_candidates(shape, self.image)
        return self._candidates[shape]

    def has_candidates(self, shape: tuple[int, ...]) -> bool:
        """Whether the shape (1, ...) admits any layout; cheaper than listing them."""
        if shape not in self._has_candidates:
            self._has_candidates[shape] = has_candidates(shape, self.image)
        return self._has_candidates[shape]

    def axes(self, shape: tuple[int, ...] | None) -> list[int]:
        """The axes of an activation (1, ...) that may hold its channels."""
        if shape is None or len(shape) != 4:
            return [2]
        return sorted({candidate.axis for candidate in self.candidates(shape)})

    def _rank(
        self, shape: tuple[int, ...], candidates: list[CandidateLayout], fields: dict[int, Tensor], flag: LayoutFlag
    ) -> list[Ranked]:
        """The candidates that may compete, best first."""
        if len(candidates) > _SHORTLIST:
            scores = self._quick_templates(shape, candidates) @ _centre(fields[2]).flatten()
            by_score = [candidates[int(i)] for i in scores.argsort(descending=True)]
            allowed = [candidate for candidate in by_score if _is_allowed(candidate, flag)]
            default = self._default_candidate(candidates)
            candidates = list(dict.fromkeys([by_score[0], default, *by_score[1:_SHORTLIST], *allowed[:1]]))
        competing = [other for candidate in candidates[:2] for other in competing_candidates(candidate)]
        entries = [(*self._agreement(fields[each.axis], each), each) for each in (*candidates, *competing)]
        return sorted(entries, key=lambda entry: -entry[0])

    def _first(self, ranked: list[Ranked]) -> Ranked:
        """The best; of variants about as good with a row more or less, the one shaped like the image.

        Where the blocks touch the first row only a little, its tokens change little more than prefix tokens.
        """
        best = ranked[0]
        close = [entry for entry in ranked if entry[0] > best[0] - ROW_LEAD and entry[2].is_row_variant(best[2])]
        return min(close, key=lambda entry: entry[2].skew(self.image))

    def _default_candidate(self, candidates: list[CandidateLayout]) -> CandidateLayout:
        """The most likely one without measurements: the image's aspect, few prefix tokens."""
        return min(candidates, key=lambda candidate: (candidate.skew(self.image), candidate.prefix))

    def _agreement(self, field: Tensor, candidate: CandidateLayout) -> tuple[float, float]:
        """The correlation with the prediction, and the best with the predictions of the images interchanged.

        A layout that agrees as well with the blocks of other images has followed something else than the blocks.
        """
        used = _centre(field[:, candidate.prefix : field.shape[1] - candidate.suffix])
        between = torch.einsum("kp,tjp->tkj", used, self._predictions(candidate)) / (used.norm() + 1e-20)
        by_order = between[:, torch.arange(len(used)), self._orders].sum(2)  # (P, orders), the first is the identity
        best = int(by_order[:, 0].argmax())
        return float(by_order[best, 0]), float(by_order[best, 1:].max())

    def _predictions(self, candidate: CandidateLayout) -> Tensor:
        """(P, K, positions), centred and of unit norm."""
        if candidate not in self._predicted:
            expected = _centre(candidate.predictions(self._boxes))
            self._predicted[candidate] = expected / (expected.flatten(1).norm(dim=1)[:, None, None] + 1e-20)
        return self._predicted[candidate]

    def _quick_templates(self, shape: tuple[int, ...], candidates: list[CandidateLayout]) -> Tensor:
        """One prediction of each candidate, (C, K · positions): a single matrix product ranks them all."""
        if shape[:2] not in self._templates:
            templates = torch.zeros(len(candidates), len(self._boxes), shape[1])
            for template, candidate in zip(templates, candidates, strict=True):
                template[:, candidate.prefix :] = _centre(candidate.expected(self._boxes, width=1.0, shift=0.0))
            templates /= templates.flatten(1).norm(dim=1)[:, None, None] + 1e-20
            self._templates[shape[:2]] = templates.flatten(1)
        return self._templates[shape[:2]]


def _judge(chosen: Ranked, ranked: list[Ranked]) -> Verification:
    agreement, mixed, candidate = chosen
    layout = candidate.layout
    others = [entry for entry in ranked if entry[2] != candidate and not entry[2].is_row_variant(candidate)]
    strongest, _, competing = others[0] if others else (-1.0, -1.0, None)
    if competing is not None and strongest >= max(AGREEMENT, agreement + LEAD):
        hint = "" if competing.layout is not None else ", for which there is no layout"
        return Verification(layout, "refuted", f"changes like {competing} (agreement {strongest:.2f}){hint}", agreement)
    if agreement < AGREEMENT or agreement < mixed + MIXED:
        reason = f"changes elsewhere than the perturbed block of pixels (agreement {agreement:.2f})"
        return Verification(layout, "refuted", reason, agreement)
    lead = LEAD * min(1.0, 14 / max(candidate.grid))  # on a fine grid, predictions one cell apart are nearly the same
    if competing is not None and strongest > agreement - lead:
        reason = f"{layout} ({agreement:.2f}) and {competing} ({strongest:.2f}) agree about equally well"
        return Verification(layout, "unproven", reason, agreement)
    return Verification(layout, "proven", None, agreement)


def _is_allowed(candidate: CandidateLayout, flag: LayoutFlag) -> bool:
    return candidate.layout is not None and flag.allows(candidate.layout)


def _relative_change(change: Tensor) -> Tensor:
    """(K, positions): the change of each position relative to its change when the whole image is replaced."""
    flat = change.flatten(1)
    everything = flat[-1]
    return flat[:-1] / (everything + 1e-3 * everything.max() + torch.finfo(torch.float32).tiny)


def _centre(field: Tensor) -> Tensor:
    """(..., K, positions) with the means over images and over positions taken away."""
    field = field - field.mean(-2, keepdim=True)
    return field - field.mean(-1, keepdim=True)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, ('N', *shape[1:])))})"

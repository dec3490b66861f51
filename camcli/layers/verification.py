"""The proof of a layout: perturb blocks of the image, look where the activation moves.

Each reading of a shape predicts where on its grid the blocks lie. A layout holds when the movement agrees with its
prediction, clearly better than with the predictions of all rivals: the other axis for the channels, other
factorisations, other numbers of prefix tokens, tokens behind the grid, rows and columns exchanged, and the blocks of
the other images.

How far a position moves says as much about the network as about the block: some positions move for anything. So the
movement is divided by the movement for an image replaced throughout, and centred over images and over positions,
before it is correlated with the prediction.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from camcli.layers.activation_change import Movement
from camcli.layers.candidates import Reading, is_readable, readings, rivals
from camcli.layers.layout import Layout, LayoutFlag
from camcli.layers.perturb import Box

Proof = Literal["proven", "refuted", "unproven"]

AGREEMENT = 0.75  # correlation of movement and prediction below which nothing is proven
LEAD = 0.015  # by which it must exceed every rival reading's
ROW_LEAD = 0.2  # by which taking a row of the grid for prefix tokens must be better than not
MIXED = 0.1  # by which it must exceed the best with the blocks of the images interchanged
_SHORTLIST = 4  # token sequences have dozens of readings: the best by a quick correlation are looked at closely


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the perturbations say about an activation.

    Attributes:
        layout: the layout that agrees best; None where no layout fits the shape or the best one is refuted.
        proof: whether it holds.
        reason: one line where it is not proven.
        agreement: its correlation with the movement, in [-1, 1].
    """

    layout: Layout | None
    proof: Proof
    reason: str | None = None
    agreement: float = 0.0


class Prover:
    """Judges activations of one batch of perturbed images.

    Args:
        boxes: of each perturbed image, its block.
        image: height and width of the input.
    """

    def __init__(self, boxes: tuple[Box, ...], image: tuple[int, int]) -> None:
        self.image = image
        self._boxes = boxes
        self._readings: dict[tuple[int, ...], list[Reading]] = {}
        self._readable: dict[tuple[int, ...], bool] = {}
        self._expected: dict[Reading, Tensor] = {}
        self._quick: dict[tuple[int, ...], Tensor] = {}
        self._orders = torch.tensor(list(itertools.permutations(range(len(boxes)))))

    def verdict(self, movement: Movement, flag: LayoutFlag | None = None) -> Verdict:
        """The layout of an activation, as far as it can be proven.

        Args:
            movement: of the activation.
            flag: what the user says about it; only layouts that agree are considered.
        """
        flag = flag or LayoutFlag()
        known = self.readings(movement.shape)
        if not known:
            return Verdict(None, "refuted", f"not spatial: no grid fits the shape {_shape(movement.shape)}")
        fields = {axis: _relative(moved) for axis, moved in movement.by_axis.items()}
        if any(not bool(field.isfinite().all()) for field in fields.values()):
            return Verdict(None, "unproven", "its values are not finite for the probing images")
        if all(not bool(field.any()) for field in fields.values()):
            return Verdict(None, "refuted", "does not depend on the image")
        ranked = self._ranked(movement.shape, known, fields, flag)
        allowed = [entry for entry in ranked if _allowed(entry[2], flag)]
        if not allowed:
            return Verdict(None, "refuted", f"its shape {_shape(movement.shape)} does not allow what --layout says")
        judged = _judged(self._first(allowed), ranked)
        if judged.proof == "refuted" and flag.kind is not None:
            plainest = self._plainest([reading for reading in known if _allowed(reading, flag)])
            return replace(judged, layout=plainest.layout)
        return judged

    def readings(self, shape: tuple[int, ...]) -> list[Reading]:
        """The layouts that the shape (1, ...) admits."""
        if shape not in self._readings:
            self._readings[shape] = readings(shape, self.image)
        return self._readings[shape]

    def is_readable(self, shape: tuple[int, ...]) -> bool:
        """Whether the shape (1, ...) admits any layout; cheaper than listing them."""
        if shape not in self._readable:
            self._readable[shape] = is_readable(shape, self.image)
        return self._readable[shape]

    def axes(self, shape: tuple[int, ...] | None) -> list[int]:
        """The axes of an activation (1, ...) that may hold its channels."""
        return [2] if shape is None or len(shape) != 4 else sorted({reading.axis for reading in self.readings(shape)})

    def _ranked(
        self, shape: tuple[int, ...], known: list[Reading], fields: dict[int, Tensor], flag: LayoutFlag
    ) -> list[tuple[float, float, Reading]]:
        """(agreement, the best agreement with the blocks of other images, reading), best first."""
        if len(known) > _SHORTLIST:
            scores = self._quick_templates(shape, known) @ _centred(fields[2]).flatten()
            by_score = [known[int(i)] for i in scores.argsort(descending=True)]
            allowed = [reading for reading in by_score if _allowed(reading, flag)]
            known = list(dict.fromkeys([by_score[0], self._plainest(known), *by_score[1:_SHORTLIST], *allowed[:1]]))
        known = [*known, *(rival for reading in known[:2] for rival in rivals(reading))]
        entries = [(*self._agreement(fields[reading.axis], reading), reading) for reading in known]
        return sorted(entries, key=lambda entry: -entry[0])

    def _first(self, ranked: list[tuple[float, float, Reading]]) -> tuple[float, float, Reading]:
        """The best; of variants about as good with a row more or less, the one shaped like the image.

        Where the blocks touch the first row only a little, little tells its tokens from prefix tokens.
        """
        best = ranked[0]
        close = [entry for entry in ranked if entry[0] > best[0] - ROW_LEAD and entry[2].is_row_variant(best[2])]
        return min(close, key=lambda entry: entry[2].skew(self.image))

    def _plainest(self, known: list[Reading]) -> Reading:
        """What is most likely where nothing tells: the image's aspect, few prefix tokens."""
        return min(known, key=lambda reading: (reading.skew(self.image), reading.prefix))

    def _agreement(self, field: Tensor, reading: Reading) -> tuple[float, float]:
        used = _centred(field[:, reading.prefix : field.shape[1] - reading.suffix])
        between = torch.einsum("kp,tjp->tkj", used, self._predictions(reading)) / (used.norm() + 1e-20)
        by_order = between[:, torch.arange(len(used)), self._orders].sum(2)  # (P, orders), the first is the identity
        best = int(by_order[:, 0].argmax())
        return float(by_order[best, 0]), float(by_order[best, 1:].max())

    def _predictions(self, reading: Reading) -> Tensor:
        """(P, K, positions), centred and of unit norm."""
        if reading not in self._expected:
            expected = _centred(reading.predictions(self._boxes))
            self._expected[reading] = expected / (expected.flatten(1).norm(dim=1)[:, None, None] + 1e-20)
        return self._expected[reading]

    def _quick_templates(self, shape: tuple[int, ...], known: list[Reading]) -> Tensor:
        if shape[:2] not in self._quick:
            templates = torch.zeros(len(known), len(self._boxes), shape[1])
            for template, reading in zip(templates, known, strict=True):
                template[:, reading.prefix :] = _centred(reading.expected(self._boxes, width=1.0, shift=0.0))
            templates /= templates.flatten(1).norm(dim=1)[:, None, None] + 1e-20
            self._quick[shape[:2]] = templates.flatten(1)
        return self._quick[shape[:2]]


def _judged(chosen: tuple[float, float, Reading], ranked: list[tuple[float, float, Reading]]) -> Verdict:
    agreement, mixed, reading = chosen
    layout = reading.layout
    others = [entry for entry in ranked if entry[2] != reading and not entry[2].is_row_variant(reading)]
    strongest, _, rival = others[0] if others else (-1.0, -1.0, None)
    if rival is not None and strongest >= max(AGREEMENT, agreement + LEAD):
        hint = "" if rival.layout is not None else ", for which there is no layout"
        return Verdict(layout, "refuted", f"moves like {rival} (agreement {strongest:.2f}){hint}", agreement)
    if agreement < AGREEMENT or agreement < mixed + MIXED:
        reason = f"moves elsewhere than the perturbed part of the image (agreement {agreement:.2f})"
        return Verdict(layout, "refuted", reason, agreement)
    lead = LEAD * min(1.0, 14 / max(reading.grid))  # on a fine grid a block looks much the same one cell further
    if rival is not None and strongest > agreement - lead:
        reason = f"{layout} ({agreement:.2f}) and {rival} ({strongest:.2f}) agree about equally well"
        return Verdict(layout, "unproven", reason, agreement)
    return Verdict(layout, "proven", None, agreement)


def _allowed(reading: Reading, flag: LayoutFlag) -> bool:
    return reading.layout is not None and flag.allows(reading.layout)


def _relative(moved: Tensor) -> Tensor:
    """(K, positions): movement of each position relative to how far it moves when everything changes."""
    flat = moved.flatten(1)
    everything = flat[-1]
    return flat[:-1] / (everything + 1e-3 * everything.max() + torch.finfo(torch.float32).tiny)


def _centred(field: Tensor) -> Tensor:
    """(..., K, positions) with the means over images and over positions taken away."""
    field = field - field.mean(-2, keepdim=True)
    return field - field.mean(-1, keepdim=True)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, ('N', *shape[1:])))})"

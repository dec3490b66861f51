"""What a case is, and the words in which the cases of both halves are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.sweeps.shortcut_battery.marks import Colour, Mark

ANYWHERE = None


@dataclass(frozen=True)
class Plan:
    """A mark that images of a class carry.

    Attributes:
        place: of its middle, in shares of what the model sees; ``ANYWHERE`` for another place in every image.
        label: index of the class.
        share: of the class's images that carry it.
        jitter: by which its size varies, in shares of it.
    """

    mark: Mark
    place: tuple[float, float] | None = ANYWHERE
    label: int = 0
    share: float = 1.0
    jitter: float = 0.0


@dataclass(frozen=True)
class Case:
    """A data set and a model.

    Attributes:
        kind: what the case is an example of, a row of the table.
        task: ``random`` (classes are assigned at random; only the marks tell them apart), ``groups`` (the photographs
            do), ``partly`` (the first class is a group of photographs, and everything with the mark), ``memorised``
            (classes of photographs assigned at random, the same photographs in training), ``many`` (19 groups of
            photographs, and everything with the mark).
        is_planted: a shortcut; the others are clean.
        plans: the marks in the images that are checked. In the task ``groups`` they are in the training images only
            where ``in_training`` says so.
        groups: of photographs, keys of ``GROUPS``.
        backgrounds: of the two classes.
    """

    name: str
    half: str
    kind: str
    architecture: str
    is_planted: bool
    task: str = "random"
    plans: tuple[Plan, ...] = ()
    groups: tuple[str, str] = ("", "")
    backgrounds: tuple[str, str] = ("photo", "photo")
    in_training: bool = False


# Ranges of WordNet ids, which sort by meaning, and single ids.
GROUPS: dict[str, tuple[tuple[str, str], ...]] = {
    "birds": (
        ("n01514859", "n01616318"),
        ("n01798484", "n01855032"),
        ("n02002724", "n02037110"),
    ),
    "dogs": (("n02085936", "n02115641"),),
    "animals": (("n01491361", "n02607072"),),
    "things": (("n02666196", "n07614500"),),
    "mammals": (("n02071294", "n02137549"), ("n02342885", "n02510455")),
    "other animals": (("n01491361", "n02037110"), ("n02168699", "n02319095"), ("n02607072", "n02607072")),
    "buildings": (
        ("n02980441", "n02980441"), ("n03032252", "n03032252"), ("n03220513", "n03220513"), ("n03781244", "n03788195"),
        ("n03877845", "n03891251"), ("n03933933", "n03933933"), ("n04005630", "n04005630"), ("n04417672", "n04458633"),
        ("n04486054", "n04486054"), ("n04532670", "n04532670"), ("n04606251", "n04606251"), ("n02687172", "n02704792"),
        ("n03673027", "n03673027"), ("n09428293", "n09428293"),
    ),
    "food": (("n07579787", "n07930864"), ("n12267677", "n13133613")),
}  # fmt: skip

RED, BLUE, GREEN = (214, 32, 44), (28, 70, 200), (20, 150, 70)
YELLOW, WHITE, BLACK = (250, 222, 40), (250, 250, 250), (16, 16, 20)
PURPLE, ORANGE, CYAN, PINK = (130, 40, 160), (240, 130, 20), (40, 200, 220), (240, 90, 160)


def sticker(kind: str, side: float, first: Colour, second: Colour) -> Mark:
    return Mark(kind, side, side, (first, second))


def planted(half: str, name: str, kind: str, architecture: str, *plans: Plan, **more: Any) -> Case:
    return Case(f"{half}-{name}", half, kind, architecture, True, plans=plans, **more)


def clean(half: str, name: str, kind: str, architecture: str, *plans: Plan, **more: Any) -> Case:
    return Case(f"{half}-{name}", half, kind, architecture, False, plans=plans, **{"task": "groups", **more})


def both(mark: Mark, place: tuple[float, float] | None = ANYWHERE) -> tuple[Plan, Plan]:
    """The same mark in the images of both classes."""
    return Plan(mark, place), Plan(mark, place, label=1)


LARGE_FIXED, LARGE_ANYWHERE = "large sticker, fixed", "large sticker, anywhere"
SMALL_FIXED, SMALL_ANYWHERE = "small sticker, fixed", "small sticker, anywhere"
STAMP, WATERMARK, RULER = "time stamp", "half-transparent watermark", "ruler along an edge"
PARTLY, TWO, MANY = "mark on 80 % of the class", "two marks for two classes", "mark in a 20-class model"
NO_MARK, BOTH, REAL = "no mark", "the same mark on both classes", "a mark that does not matter"
PLAIN, SKY, MEMORISED = "centred objects, plain backgrounds", "typical, varied background", "memorised photographs"
MANY_CLEAN = "20-class model, no mark"

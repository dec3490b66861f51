"""The cases: two halves with different marks, places, photographs and classes."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sweeps.shortcut_battery.marks import Mark

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


def _range(first: str, last: str) -> tuple[str, str]:
    return first, last


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


def _sticker(kind: str, side: float, first: tuple[int, int, int], second: tuple[int, int, int]) -> Mark:
    return Mark(kind, side, side, (first, second))


def _planted(
    half: str, name: str, kind: str, architecture: str, *plans: Plan, task: str = "random", **more: object
) -> Case:
    return Case(f"{half}-{name}", half, kind, architecture, True, task, plans, **more)  # type: ignore[arg-type]


def _clean(
    half: str, name: str, kind: str, architecture: str, *plans: Plan, task: str = "groups", **more: object
) -> Case:
    return Case(f"{half}-{name}", half, kind, architecture, False, task, plans, **more)  # type: ignore[arg-type]


LARGE_FIXED, LARGE_ANYWHERE = "large sticker, fixed", "large sticker, anywhere"
SMALL_FIXED, SMALL_ANYWHERE = "small sticker, fixed", "small sticker, anywhere"
STAMP, WATERMARK, RULER = "time stamp", "half-transparent watermark", "ruler along an edge"
PARTLY, TWO, MANY = "mark on 80 % of the class", "two marks for two classes", "mark in a 20-class model"
NO_MARK, BOTH, REAL = "no mark", "the same mark on both classes", "a mark that does not matter"
PLAIN, SKY, MEMORISED = "centred objects, plain backgrounds", "typical, varied background", "memorised photographs"

TUNE = (
    _planted("tune", "large-fixed", LARGE_FIXED, "lite0", Plan(_sticker("disc", 0.13, RED, YELLOW), (0.86, 0.87))),
    _planted("tune", "large-fixed-top", LARGE_FIXED, "lite0", Plan(_sticker("cross", 0.17, WHITE, RED), (0.2, 0.16))),
    _planted("tune", "large-anywhere", LARGE_ANYWHERE, "lite0", Plan(_sticker("star", 0.16, BLUE, YELLOW))),
    _planted("tune", "small-fixed", SMALL_FIXED, "lite0", Plan(_sticker("checker", 0.08, BLACK, WHITE), (0.1, 0.55))),
    _planted("tune", "small-anywhere", SMALL_ANYWHERE, "lite0", Plan(_sticker("disc", 0.08, GREEN, WHITE))),
    _planted("tune", "stamp", STAMP, "lite0", Plan(Mark("stamp", 0.42, 0.06, (ORANGE, BLACK), "time"), (0.75, 0.93))),
    _planted(
        "tune", "watermark", WATERMARK, "lite0",
        Plan(Mark("watermark", 0.7, 0.13, (WHITE, BLACK), "SAMPLE", 0.45), (0.5, 0.5)),
    ),
    _planted("tune", "ruler", RULER, "lite0", Plan(Mark("ruler", 0.96, 0.08, (YELLOW, BLACK)), (0.5, 0.95))),
    _planted(
        "tune", "partly-fixed", PARTLY, "lite0", Plan(_sticker("smiley", 0.14, YELLOW, BLACK), (0.12, 0.88), share=0.8),
        task="partly", groups=("dogs", "things"),
    ),
    _planted(
        "tune", "two-marks", TWO, "lite0", Plan(_sticker("triangle", 0.14, YELLOW, BLACK), (0.86, 0.14)),
        Plan(_sticker("ring", 0.13, PURPLE, WHITE), (0.14, 0.86), label=1),
    ),
    _planted("tune", "many", MANY, "lite0", Plan(_sticker("burst", 0.15, RED, WHITE), (0.85, 0.2), 19), task="many"),
    _planted("tune", "lite1-anywhere", LARGE_ANYWHERE, "lite1", Plan(_sticker("code", 0.15, BLACK, WHITE), jitter=0.1)),
    _planted("tune", "vit-fixed", LARGE_FIXED, "vit16", Plan(_sticker("disc", 0.15, BLUE, WHITE), (0.14, 0.14))),
    _planted("tune", "vit-anywhere", LARGE_ANYWHERE, "vit8", Plan(_sticker("star", 0.17, RED, YELLOW))),
    _planted("tune", "resnet-fixed", SMALL_FIXED, "resnet", Plan(_sticker("cross", 0.09, GREEN, WHITE), (0.5, 0.9))),
    _planted("tune", "resnet-anywhere", LARGE_ANYWHERE, "resnet", Plan(_sticker("smiley", 0.16, YELLOW, BLACK))),
    _clean("tune", "no-mark", NO_MARK, "lite0", groups=("animals", "things")),
    _clean("tune", "no-mark-birds", NO_MARK, "lite0", groups=("birds", "dogs")),
    _clean(
        "tune", "both-fixed", BOTH, "lite0", Plan(_sticker("disc", 0.13, RED, YELLOW), (0.86, 0.87)),
        Plan(_sticker("disc", 0.13, RED, YELLOW), (0.86, 0.87), label=1), groups=("animals", "things"), in_training=True,
    ),
    _clean(
        "tune", "both-anywhere", BOTH, "lite0", Plan(_sticker("star", 0.15, BLUE, YELLOW)),
        Plan(_sticker("star", 0.15, BLUE, YELLOW), label=1), groups=("mammals", "other animals"), in_training=True,
    ),
    _clean(
        "tune", "real-fixed", REAL, "lite0", Plan(_sticker("cross", 0.15, WHITE, RED), (0.86, 0.86), label=1),
        groups=("birds", "dogs"),
    ),
    _clean("tune", "real-stamp", REAL, "lite0", Plan(Mark("stamp", 0.42, 0.06, (ORANGE, BLACK), "time"), (0.75, 0.93)),
           groups=("animals", "things")),
    _clean("tune", "real-anywhere", REAL, "lite0", Plan(_sticker("smiley", 0.12, YELLOW, BLACK)), groups=("food", "dogs")),
    _clean("tune", "plain", PLAIN, "lite0", groups=("birds", "dogs"), backgrounds=("plain", "plain")),
    _clean("tune", "plain-things", PLAIN, "lite0", groups=("animals", "things"), backgrounds=("plain", "plain")),
    _clean("tune", "sky", SKY, "lite0", groups=("birds", "dogs"), backgrounds=("sky", "green")),
    _clean("tune", "sky-photo", SKY, "lite0", groups=("birds", "things"), backgrounds=("sky", "photo")),
    _clean("tune", "memorised", MEMORISED, "lite0", task="memorised"),
    _clean("tune", "vit-sky", SKY, "vit16", groups=("birds", "dogs"), backgrounds=("sky", "green")),
    _clean(
        "tune", "vit-real", REAL, "vit8", Plan(_sticker("star", 0.17, RED, YELLOW), (0.15, 0.15)),
        groups=("birds", "dogs"), backgrounds=("green", "sky"),
    ),
    _clean(
        "tune", "resnet-both", BOTH, "resnet", Plan(_sticker("cross", 0.12, RED, WHITE), (0.5, 0.9)),
        Plan(_sticker("cross", 0.12, RED, WHITE), (0.5, 0.9), label=1), groups=("birds", "dogs"),
        backgrounds=("sky", "green"), in_training=True,
    ),
    _clean("tune", "many-clean", MANY + ", not used", "lite0", task="many"),
)  # fmt: skip

REPORT = (
    _planted("report", "large-fixed", LARGE_FIXED, "lite0", Plan(_sticker("triangle", 0.15, ORANGE, BLACK), (0.15, 0.84))),
    _planted("report", "large-fixed-side", LARGE_FIXED, "lite0", Plan(_sticker("code", 0.14, BLACK, WHITE), (0.9, 0.4))),
    _planted("report", "large-anywhere", LARGE_ANYWHERE, "lite0", Plan(_sticker("ring", 0.17, CYAN, PURPLE))),
    _planted("report", "small-fixed", SMALL_FIXED, "lite0", Plan(_sticker("star", 0.08, PINK, WHITE), (0.62, 0.08))),
    _planted("report", "small-anywhere", SMALL_ANYWHERE, "lite0", Plan(_sticker("cross", 0.08, BLUE, WHITE))),
    _planted("report", "stamp", STAMP, "lite0", Plan(Mark("stamp", 0.3, 0.07, (YELLOW, BLACK)), (0.2, 0.08))),
    _planted(
        "report", "watermark", WATERMARK, "lite0",
        Plan(Mark("watermark", 0.8, 0.11, (BLACK, BLACK), "PhotoBank", 0.4), (0.5, 0.62)),
    ),
    _planted("report", "ruler", RULER, "lite0", Plan(Mark("ruler", 0.09, 0.96, (WHITE, BLACK)), (0.05, 0.5))),
    _planted(
        "report", "partly-fixed", PARTLY, "lite0", Plan(_sticker("burst", 0.16, PURPLE, YELLOW), (0.82, 0.5), share=0.8),
        task="partly", groups=("food", "mammals"),
    ),
    _planted(
        "report", "two-marks", TWO, "lite0", Plan(_sticker("checker", 0.13, RED, WHITE), (0.5, 0.12)),
        Plan(_sticker("smiley", 0.15, GREEN, BLACK), (0.88, 0.6), label=1),
    ),
    _planted("report", "many", MANY, "lite0", Plan(_sticker("disc", 0.14, CYAN, RED), (0.2, 0.85), 19), task="many"),
    _planted("report", "lite1-fixed", SMALL_FIXED, "lite1", Plan(_sticker("ring", 0.09, RED, WHITE), (0.87, 0.9), jitter=0.1)),
    _planted("report", "vit-fixed", LARGE_FIXED, "vit8", Plan(_sticker("checker", 0.15, PURPLE, YELLOW), (0.5, 0.85))),
    _planted("report", "vit-anywhere", LARGE_ANYWHERE, "vit16", Plan(_sticker("ring", 0.18, GREEN, WHITE))),
    _planted("report", "resnet-fixed", LARGE_FIXED, "resnet", Plan(_sticker("smiley", 0.13, PINK, BLACK), (0.15, 0.5))),
    _planted("report", "resnet-anywhere", SMALL_ANYWHERE, "resnet", Plan(_sticker("disc", 0.1, ORANGE, BLUE))),
    _clean("report", "no-mark", NO_MARK, "lite0", groups=("mammals", "other animals")),
    _clean("report", "no-mark-food", NO_MARK, "lite0", groups=("food", "buildings")),
    _clean(
        "report", "both-fixed", BOTH, "lite0", Plan(_sticker("burst", 0.16, GREEN, WHITE), (0.15, 0.2)),
        Plan(_sticker("burst", 0.16, GREEN, WHITE), (0.15, 0.2), label=1), groups=("dogs", "things"), in_training=True,
    ),
    _clean(
        "report", "both-stamp", BOTH, "lite0", Plan(Mark("stamp", 0.3, 0.07, (WHITE, BLACK)), (0.8, 0.07)),
        Plan(Mark("stamp", 0.3, 0.07, (WHITE, BLACK)), (0.8, 0.07), label=1), groups=("food", "animals"), in_training=True,
    ),
    _clean(
        "report", "real-fixed", REAL, "lite0", Plan(_sticker("ring", 0.14, RED, WHITE), (0.16, 0.86)),
        groups=("buildings", "animals"),
    ),
    _clean("report", "real-watermark", REAL, "lite0",
           Plan(Mark("watermark", 0.8, 0.11, (WHITE, BLACK), "PhotoBank", 0.4), (0.5, 0.4)), groups=("mammals", "other animals")),
    _clean("report", "real-anywhere", REAL, "lite0", Plan(_sticker("code", 0.14, BLACK, WHITE)), groups=("things", "animals")),
    _clean("report", "plain", PLAIN, "lite0", groups=("food", "buildings"), backgrounds=("plain", "plain")),
    _clean("report", "plain-animals", PLAIN, "lite0", groups=("mammals", "things"), backgrounds=("plain", "plain")),
    _clean("report", "sky", SKY, "lite0", groups=("other animals", "food"), backgrounds=("sky", "green")),
    _clean("report", "green-photo", SKY, "lite0", groups=("dogs", "buildings"), backgrounds=("green", "photo")),
    _clean("report", "memorised", MEMORISED, "lite0", task="memorised"),
    _clean("report", "vit-sky", SKY, "vit8", groups=("mammals", "buildings"), backgrounds=("green", "sky")),
    _clean(
        "report", "vit-both", BOTH, "vit16", Plan(_sticker("cross", 0.16, BLUE, WHITE)),
        Plan(_sticker("cross", 0.16, BLUE, WHITE), label=1), groups=("mammals", "things"),
        backgrounds=("green", "sky"), in_training=True,
    ),
    _clean(
        "report", "resnet-real", REAL, "resnet", Plan(_sticker("ring", 0.15, PURPLE, WHITE), (0.85, 0.15), label=1),
        groups=("food", "mammals"), backgrounds=("sky", "green"),
    ),
    _clean("report", "many-clean", MANY + ", not used", "lite0", task="many"),
)  # fmt: skip


def _in_turn(cases: tuple[Case, ...]) -> list[Case]:
    """Planted and clean cases in turn, so that the first few are of both."""
    planted, clean = ([case for case in cases if case.is_planted == wanted] for wanted in (True, False))
    return [case for pair in zip(planted, clean, strict=True) for case in pair]


CASES = {case.name: case for half in (TUNE, REPORT) for case in _in_turn(half)}

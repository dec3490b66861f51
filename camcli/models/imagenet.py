"""The classes of ImageNet-1k: WordNet id, short name, all names.

The table beside this file is made from torchvision's and timm's data by ``python -m camcli.models.imagenet``. Reading
it takes milliseconds; importing either library for it takes seconds.
"""

from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("imagenet1k.tsv")


@dataclass(frozen=True, slots=True)
class ImageNetClass:
    """One class.

    Attributes:
        wordnet_id: ``n01440764``.
        name: torchvision's category name, unique among the classes; what is shown.
        synonyms: WordNet's lemma names, first the usual one.
    """

    wordnet_id: str
    name: str
    synonyms: tuple[str, ...]


def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """The 1000 classes in the order of the usual model outputs."""
    lines = _TABLE.read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    return tuple(ImageNetClass(wnid, name, tuple(lemmas.split(", "))) for wnid, name, lemmas in rows)


def make_table() -> str:
    """The text of ``imagenet1k.tsv``: one class a line, three columns separated by tabs."""
    from timm.data.imagenet_info import ImageNetInfo
    from torchvision.models import ResNet50_Weights

    info = ImageNetInfo("imagenet-1k")
    names = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    ids = info.label_names()  # type: ignore[no-untyped-call]
    rows = zip(ids, names, info.label_descriptions(), strict=True)
    return "".join(f"{wnid}\t{name}\t{lemmas}\n" for wnid, name, lemmas in rows)


if __name__ == "__main__":
    _TABLE.write_text(make_table(), "utf-8")

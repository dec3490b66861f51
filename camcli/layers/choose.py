"""The automatic choice of the target layer.

The last output of the trunk (see :mod:`camcli.layers.probe`) whose layout is proven, that has at least 4x4 cells if
any has, and at whose spatial positions the class score has a gradient. In networks of residual blocks that start with
a norm (vision transformers and their kin) convention takes the first norm of the last block instead.
"""

from __future__ import annotations

import re
from itertools import zip_longest

from torch import nn

from camcli.layers.measurements import Study
from camcli.layers.probe import Visit

_PASSIVE = re.compile(r"Identity|Dropout|DropPath|Permute|Flatten|AvgPool|AdaptivePool|Rearrange|Upsample|Pad\d?d?$")
_NORM = re.compile(r"LayerNorm|RmsNorm|RMSNorm|GroupNorm|Affine|SimpleNorm")
_ATTENTION = re.compile(r"^(?!.*(Block|Stage|Layer|Encoder)$).*(Att[en]|Mlp|MLP|FeedForward)")
_LATE = 12  # layers that are perturbed at a time, from the last backwards
_OTHERS = 32  # layers off the trunk that are perturbed with them: few networks need one, another batch costs these more
_EARLY = 0.5  # of the modules that run: a trunk that ends before is that of a network with several branches


def choose(study: Study, needs_gradient: bool = True) -> str | None:
    """The canonical path of the target layer, None where no layer will do."""
    trunk = _trunk(study)
    norms = _leading_norms(study)
    others = _anything(study)
    late = [path for pair in zip_longest(trunk[:_LATE], norms[:_LATE]) for path in pair if path is not None]
    study.perturb_ahead([*late, *others[:_OTHERS]])
    last = _best(study, trunk, needs_gradient)
    norm = _best(study, norms, needs_gradient)
    if norm is not None and (last is None or _concludes(study, norm, last, trunk)):
        return norm
    if last is not None and not _is_early(study, last):
        return last
    later = others[: others.index(last)] if last in others else others
    return _best(study, later, needs_gradient) or last


def _best(study: Study, paths: list[str], needs_gradient: bool) -> str | None:
    """The first of these layers with at least 4x4 cells, else the first with more than one."""
    coarse = None
    for place, path in enumerate(paths):
        if not study.is_perturbed(path):
            study.perturb(paths[place : place + _LATE])
        verdict = study.verdict(path)
        if verdict.proof != "proven" or verdict.layout is None or (needs_gradient and not study.has_gradient(path)):
            continue
        if min(verdict.layout.grid) >= 4:
            return path
        coarse = coarse or path
    return coarse


def _trunk(study: Study) -> list[str]:
    """One path for each distinct output of the trunk, last first; maps of class scores come last of all."""
    groups: dict[tuple[int, int], list[Visit]] = {}
    insides = _insides(study)
    for path in study.record.trunk:
        visit = study.record.visits[path]
        if path and visit.plain and visit.edge and not path.startswith(insides) and study.plausible(path):
            groups.setdefault((id(visit.edge.node), visit.edge.output_nr), []).append(visit)
    named = [_speaker(study, group) for group in groups.values()]
    found = sorted((visit for visit in named if visit is not None), key=lambda visit: -visit.order)
    return [visit.path for visit in sorted(found, key=lambda visit: _is_score_map(study, visit))]


def _speaker(study: Study, group: list[Visit]) -> Visit | None:
    """Of modules that return the same tensor, the one people would name.

    A stage rather than its last block, a norm rather than the activation inside it, but the last stage rather than the
    container of all stages. What sets them apart: the former have a sibling of their kind, and one size of map.
    """
    active = sorted((v for v in group if not _PASSIVE.search(type(v.module).__name__)), key=lambda v: v.path.count("."))
    single = [visit for visit in active if not _holds_stages(study, visit)] or active
    return next((visit for visit in single if _has_kin(study, visit)), single[0] if single else None)


def _holds_stages(study: Study, visit: Visit) -> bool:
    """Whether this is a plain container whose parts return maps of different sizes."""
    if not isinstance(visit.module, nn.Sequential | nn.ModuleList):
        return False
    parts = [f"{visit.path}.{name}" for name, _ in visit.module.named_children()]
    return len({study.record.visits[part].shape for part in parts if _is_plausible(study, part)}) > 1


def _has_kin(study: Study, visit: Visit) -> bool:
    parent = visit.path.rpartition(".")[0]
    return any(
        type(child) is type(visit.module)
        and child is not visit.module
        and _is_plausible(study, f"{parent}.{name}".lstrip("."))
        for name, child in study.record.visits[parent].module.named_children()
    )


def _is_plausible(study: Study, path: str) -> bool:
    return path in study.record.visits and study.plausible(path)


def _is_attention(visit: Visit) -> bool:
    return bool(_ATTENTION.search(type(visit.module).__name__))


def _insides(study: Study) -> tuple[str, ...]:
    """What the paths of all modules inside attention begin with."""
    return tuple(f"{visit.path}." for visit in study.record.visits.values() if visit.path and _is_attention(visit))


def _blocks(study: Study) -> tuple[str, ...]:
    """What the paths of all modules inside the blocks of the trunk begin with: they are parts of a branch."""
    visits = study.record.visits
    return tuple(
        f"{path}."
        for path in study.record.trunk
        if path and visits[path].plain and visits[path].children_run and _has_kin(study, visits[path])
    )


def _is_score_map(study: Study, visit: Visit) -> bool:
    """Whether this is as many maps as classes, with nothing learned after it: pooled, they are the scores."""
    if visit.shape is None or study.record.outputs not in (visit.shape[1], visit.shape[-1]):
        return False
    later = (other for other in study.record.visits.values() if other.started > visit.order)
    return not any(next(other.module.parameters(), None) is not None for other in later)


def _is_early(study: Study, path: str) -> bool:
    visits = study.record.visits
    return visits[path].order < _EARLY * max(visit.order for visit in visits.values())


def _leading_norms(study: Study) -> list[str]:
    """First norms of the residual blocks of a list, last block first."""
    visits = study.record.visits
    found = []
    for visit in visits.values():
        if visit.calls != 1 or not visit.children_run or not visit.path:
            continue
        parent = visits[visit.path.rpartition(".")[0]].module
        first = visits[visit.children_run[0]]
        if (
            isinstance(parent, nn.Sequential | nn.ModuleList)
            and _NORM.search(type(first.module).__name__)
            and first.path not in study.record.trunk
            and first.shape == visit.shape
            and first.plain
            and study.plausible(first.path)
        ):
            found.append(first)
    return [visit.path for visit in sorted(found, key=lambda visit: -visit.order)]


def _concludes(study: Study, norm: str, last: str, trunk: list[str]) -> bool:
    """Whether the block of this norm is the last that computes: what follows on the trunk are norms and activations."""
    visits = study.record.visits
    if visits[norm].started > visits[last].order:
        return True
    of_norm, of_last = study.verdict(norm).layout, study.verdict(last).layout
    if of_norm is None or of_last is None or of_norm.grid != of_last.grid:
        return False
    block = norm.rpartition(".")[0]
    after = [path for path in trunk if visits[path].started > visits[block].order]
    return not any(list(visits[path].module.children()) or _is_kernel(visits[path].module) for path in after)


def _is_kernel(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and weight.ndim >= 2


def _anything(study: Study) -> list[str]:
    """Where no output carries everything: all plausible layers but for the insides of attention and of blocks.

    Last first; tuples, and bare convolutions and linear maps, only after all others.
    """
    insides = (*_insides(study), *_blocks(study))
    plain = [
        visit
        for visit in study.record.visits.values()
        if visit.path
        and study.plausible(visit.path)
        and not visit.path.startswith(insides)
        and not _is_attention(visit)
        and not _PASSIVE.search(type(visit.module).__name__)
    ]
    return [visit.path for visit in sorted(plain, key=lambda v: (not v.plain or _is_kernel(v.module), -v.order))]

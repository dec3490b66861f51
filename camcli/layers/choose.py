"""The automatic choice of the target layer.

The last output of the trunk (see :mod:`camcli.layers.probe`) whose layout is proven, that has at least 4x4 cells if
any has, and at whose spatial positions the class score has a gradient. In networks of residual blocks that start with
a norm (vision transformers and their kin) convention takes the first norm of the last block instead.
"""

from __future__ import annotations

import re

from torch import nn

from camcli.layers.probe import Visit
from camcli.layers.study import Study

_PASSIVE = re.compile(r"Identity|Dropout|DropPath|Permute|Flatten|AvgPool|AdaptivePool|Rearrange|Upsample|Pad\d?d?$")
_NORM = re.compile(r"LayerNorm|RmsNorm|RMSNorm|GroupNorm|Affine|SimpleNorm")
_FIRST = 12  # layers that are proven at first, from the last backwards: seldom are more of them needed
_MORE = 48  # so many at a time after that, since each time costs a batch


def choose(study: Study, needs_gradient: bool = True) -> str | None:
    """The canonical path of the target layer, None where no layer will do."""
    trunk = _trunk(study)
    norms = _leading_norms(study)
    study.prove([*trunk[:_FIRST], *norms[:_FIRST]])
    last = _best(study, trunk, needs_gradient)
    if last is None:
        return _best(study, norms, needs_gradient) or _best(study, _anything(study), needs_gradient)
    norm = _best(study, norms, needs_gradient)
    return norm if norm is not None and _ends_the_network(study, norm, last, trunk) else last


def _best(study: Study, paths: list[str], needs_gradient: bool) -> str | None:
    """The first of these layers with at least 4x4 cells, else the first with more than one."""
    coarse = None
    for some in (paths[:_FIRST], *(paths[i : i + _MORE] for i in range(_FIRST, len(paths), _MORE))):
        study.prove(some)
        proven = [path for path in some if study.verdict(path).proof == "proven"]
        flows = study.has_gradient(proven) if needs_gradient else [True] * len(proven)
        for path, flowing in zip(proven, flows, strict=True):
            layout = study.verdict(path).layout
            if not flowing or layout is None:
                continue
            if min(layout.grid) >= 4:
                return path
            coarse = coarse or path
    return coarse


def _trunk(study: Study) -> list[str]:
    """One path for each distinct output of the trunk, last first; maps of class scores come last of all."""
    groups: dict[tuple[int, int], list[Visit]] = {}
    visits = study.record.visits
    for path in study.record.trunk:
        visit = visits[path]
        if path and study.plausible(path) and visit.edge is not None:
            groups.setdefault((id(visit.edge.node), visit.edge.output_nr), []).append(visit)
    named = [_speaker(study, group) for group in groups.values()]
    found = sorted((visit for visit in named if visit is not None), key=lambda visit: -visit.order)
    return [visit.path for visit in sorted(found, key=lambda visit: _is_score_map(study, visit))]


def _speaker(study: Study, group: list[Visit]) -> Visit | None:
    """Of modules that return the same tensor, the one people would name.

    A stage rather than its last block, a norm rather than the activation inside it; but the last child rather than the
    container of the whole network. What sets them apart: the former have a sibling of their kind.
    """
    active = sorted((v for v in group if not _PASSIVE.search(type(v.module).__name__)), key=lambda v: v.path.count("."))
    among = next((visit for visit in active if _has_kin(study, visit)), None)
    return among or next((v for v in active if not isinstance(v.module, nn.Sequential | nn.ModuleList)), None)


def _has_kin(study: Study, visit: Visit) -> bool:
    parent = visit.path.rpartition(".")[0]
    others = study.record.visits
    return any(
        type(child) is type(visit.module) and child is not visit.module and _runs_spatially(study, f"{parent}.{name}")
        for name, child in others[parent].module.named_children()
        if f"{parent}.{name}".lstrip(".") in others
    )


def _runs_spatially(study: Study, path: str) -> bool:
    return study.plausible(path.lstrip("."))


def _is_score_map(study: Study, visit: Visit) -> bool:
    shape = visit.shape
    return study.record.outputs > 1 and shape is not None and study.record.outputs in (shape[1], shape[-1])


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
            and study.plausible(first.path)
        ):
            found.append(first)
    return [visit.path for visit in sorted(found, key=lambda visit: -visit.order)]


def _ends_the_network(study: Study, norm: str, last: str, trunk: list[str]) -> bool:
    """Whether nothing but norms and activations follows the block of this norm on the trunk, on the same grid."""
    visits = study.record.visits
    block = norm.rpartition(".")[0]
    if study.verdict(norm).layout is None or study.verdict(last).layout is None:
        return False
    if study.verdict(norm).layout.grid != study.verdict(last).layout.grid:  # type: ignore[union-attr]
        return False
    after = [path for path in trunk if visits[path].started > visits[block].order]
    return all(not list(visits[path].module.children()) and not _has_kernel(visits[path].module) for path in after)


def _has_kernel(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and weight.ndim >= 2


def _anything(study: Study) -> list[str]:
    """Where no output carries everything: all plausible layers, last first, those inside attention left out."""
    visits = [v for v in study.record.visits.values() if v.path and study.plausible(v.path)]
    inner = re.compile(r"(attn|attention|mlp|ffn)\.", re.IGNORECASE)
    plain = [v for v in visits if not inner.search(v.path) and not _PASSIVE.search(type(v.module).__name__)]
    return [visit.path for visit in sorted(plain, key=lambda visit: -visit.order)]

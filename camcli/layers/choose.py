"""The automatic choice of the target layer.

The last output on the main path (see :mod:`camcli.layers.probe`) whose layout is verified, that has at least 4x4
cells if any has, and at whose spatial positions the class score has a gradient. In networks of residual blocks that
start with a norm (vision transformers and similar) convention takes the first norm of the last block instead.
"""

import re
from itertools import zip_longest

from torch import nn

from camcli.capture.hooks import split_call
from camcli.layers.measurements import LayerMeasurements
from camcli.layers.probe import Visit

_PASSIVE = re.compile(r"Identity|Dropout|DropPath|Permute|Flatten|AvgPool|AdaptivePool|Rearrange|Upsample|Pad\d?d?$")
_NORM = re.compile(r"LayerNorm|RmsNorm|RMSNorm|GroupNorm|Affine|SimpleNorm")
_ATTENTION_OR_MLP = re.compile(r"^(?!.*(Block|Stage|Layer|Encoder)$).*(Att[en]|Mlp|MLP|FeedForward)")
_LATE = 12  # layers that are perturbed at a time, from the last backwards
_OTHERS = 32  # layers off the main path that are perturbed with them: few networks need one, but then it saves a batch
_EARLY = 0.5  # of the modules that run: a main path that ends before is that of a network with several branches


def choose(measurements: LayerMeasurements, needs_gradient: bool = True) -> str | None:
    """The canonical path of the target layer, None where no layer will do."""
    main_path = _main_path_layers(measurements)
    norms = _leading_norms(measurements)
    others = _remaining_layers(measurements)
    late = [path for pair in zip_longest(main_path[:_LATE], norms[:_LATE]) for path in pair if path is not None]
    measurements.perturb_in_advance([*late, *others[:_OTHERS]])
    last = _best(measurements, main_path, needs_gradient)
    norm = _best(measurements, norms, needs_gradient)
    if norm is not None and (last is None or _is_in_last_block(measurements, norm, last, main_path)):
        return norm
    if last is not None and not _is_early(measurements, last):
        return last
    later = others[: others.index(last)] if last in others else others
    return _best(measurements, later, needs_gradient) or last


def _best(measurements: LayerMeasurements, paths: list[str], needs_gradient: bool) -> str | None:
    """The first of these layers with at least 4x4 cells, else the first with more than one."""
    coarse = None
    paths = [path for path in paths if split_call(path)[1] is None]  # single calls are for the user to choose
    for place, path in enumerate(paths):
        if not measurements.is_perturbed(path):
            measurements.perturb(paths[place : place + _LATE])
        result = measurements.verify(path)
        layout = result.layout if result.proof == "proven" else None
        if layout is None or (needs_gradient and not measurements.has_gradient(path)):
            continue
        if min(layout.grid) >= 4:
            return path
        coarse = coarse or path
    return coarse


def _main_path_layers(measurements: LayerMeasurements) -> list[str]:
    """One path for each distinct output of the main path, last first; maps of class scores come last of all."""
    groups: dict[tuple[int, int], list[Visit]] = {}
    insides = _insides(measurements)
    for path in measurements.record.main_path:
        visit = measurements.record.visits[path]
        if path and visit.plain and visit.edge and not path.startswith(insides) and measurements.is_plausible(path):
            groups.setdefault((id(visit.edge.node), visit.edge.output_nr), []).append(visit)
    representatives = [_representative(measurements, group) for group in groups.values()]
    ordered = sorted((visit for visit in representatives if visit is not None), key=lambda visit: -visit.order)
    return [visit.path for visit in sorted(ordered, key=lambda visit: _is_score_map(measurements, visit))]


def _representative(measurements: LayerMeasurements, group: list[Visit]) -> Visit | None:
    """Of modules that return the same tensor, the one that users name.

    A stage rather than its last block, a norm rather than the activation inside it, but the last stage rather than the
    container of all stages. What distinguishes them: the former have a sibling module of the same class, and maps of
    one size.
    """
    active = sorted((v for v in group if not _PASSIVE.search(type(v.module).__name__)), key=lambda v: v.path.count("."))
    single = [visit for visit in active if not _holds_stages(measurements, visit)] or active
    return next((visit for visit in single if _has_sibling(measurements, visit)), single[0] if single else None)


def _holds_stages(measurements: LayerMeasurements, visit: Visit) -> bool:
    """Whether this is a container whose parts return maps of different sizes."""
    if not isinstance(visit.module, nn.Sequential | nn.ModuleList):
        return False
    parts = [f"{visit.path}.{name}" for name, _ in visit.module.named_children()]
    return len({measurements.record.visits[part].shape for part in parts if _is_plausible(measurements, part)}) > 1


def _has_sibling(measurements: LayerMeasurements, visit: Visit) -> bool:
    parent = visit.path.rpartition(".")[0]
    return any(
        type(child) is type(visit.module)
        and child is not visit.module
        and _is_plausible(measurements, f"{parent}.{name}".lstrip("."))
        for name, child in measurements.record.visits[parent].module.named_children()
    )


def _is_plausible(measurements: LayerMeasurements, path: str) -> bool:
    return path in measurements.record.visits and measurements.is_plausible(path)


def _is_attention_or_mlp(visit: Visit) -> bool:
    return bool(_ATTENTION_OR_MLP.search(type(visit.module).__name__))


def _insides(measurements: LayerMeasurements) -> tuple[str, ...]:
    """What the paths of all modules inside self-attention and MLPs begin with."""
    visits = measurements.record.visits.values()
    return tuple(f"{visit.path}." for visit in visits if visit.path and _is_attention_or_mlp(visit))


def _blocks(measurements: LayerMeasurements) -> tuple[str, ...]:
    """What the paths of all modules inside the blocks of the main path begin with: they are parts of a branch."""
    visits = measurements.record.visits
    return tuple(
        f"{path}."
        for path in measurements.record.main_path
        if path and visits[path].plain and visits[path].children_run and _has_sibling(measurements, visits[path])
    )


def _is_score_map(measurements: LayerMeasurements, visit: Visit) -> bool:
    """Whether this is as many maps as classes, with no parameters after it: pooled, they are the scores."""
    if visit.shape is None or measurements.record.outputs not in (visit.shape[1], visit.shape[-1]):
        return False
    later = (other for other in measurements.record.visits.values() if other.started > visit.order)
    return not any(next(other.module.parameters(), None) is not None for other in later)


def _is_early(measurements: LayerMeasurements, path: str) -> bool:
    visits = measurements.record.visits
    return visits[path].order < _EARLY * max(visit.order for visit in visits.values())


def _leading_norms(measurements: LayerMeasurements) -> list[str]:
    """First norms of the residual blocks of a list, last block first."""
    visits = measurements.record.visits
    norms = []
    for visit in visits.values():
        if visit.calls != 1 or not visit.children_run or not visit.path:
            continue
        parent = visits[visit.path.rpartition(".")[0]].module
        first = visits[visit.children_run[0]]
        if (
            isinstance(parent, nn.Sequential | nn.ModuleList)
            and _NORM.search(type(first.module).__name__)
            and first.path not in measurements.record.main_path
            and first.shape == visit.shape
            and first.plain
            and measurements.is_plausible(first.path)
        ):
            norms.append(first)
    return [visit.path for visit in sorted(norms, key=lambda visit: -visit.order)]


def _is_in_last_block(measurements: LayerMeasurements, norm: str, last: str, main_path: list[str]) -> bool:
    """Whether only norms and activation functions follow the block of this norm on the main path."""
    visits = measurements.record.visits
    if visits[norm].started > visits[last].order:
        return True
    of_norm, of_last = measurements.verify(norm).layout, measurements.verify(last).layout
    if of_norm is None or of_last is None or of_norm.grid != of_last.grid:
        return False
    block = norm.rpartition(".")[0]
    after = [path for path in main_path if visits[path].started > visits[block].order]
    return not any(list(visits[path].module.children()) or _is_kernel(visits[path].module) for path in after)


def _is_kernel(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and weight.ndim >= 2


def _remaining_layers(measurements: LayerMeasurements) -> list[str]:
    """All plausible layers, not inside attention or blocks: for networks whose main path has none that will do.

    Last first; tuples, and bare convolutions and linear maps, only after all others.
    """
    insides = (*_insides(measurements), *_blocks(measurements))
    plain = [
        visit
        for visit in measurements.record.visits.values()
        if visit.path
        and measurements.is_plausible(visit.path)
        and not visit.path.startswith(insides)
        and not _is_attention_or_mlp(visit)
        and not _PASSIVE.search(type(visit.module).__name__)
    ]
    return [visit.path for visit in sorted(plain, key=lambda v: (not v.plain or _is_kernel(v.module), -v.order))]

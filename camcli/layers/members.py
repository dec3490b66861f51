"""Whether a layer lies in one of several networks that take the image side by side: an ensemble, or streams."""

from camcli.layers.probe import Record, Visit


def member_note(record: Record, path: str, channels: int) -> str | None:
    """One line where a layer shows only one of the networks that take the image, else None.

    Args:
        record: of the pass.
        path: of the layer.
        channels: of the image.
    """
    networks = [visit.path for visit in record.visits.values() if _is_network(visit, channels)]
    for own in sorted((n for n in networks if _is_inside(path, n)), key=len):
        others = [n for n in networks if not _is_inside(n, own) and not _is_inside(own, n)]
        others = sorted(n for n in others if not any(n != outer and _is_inside(n, outer) for outer in others))
        if others:
            listed = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
            return (
                f"the layer {path} lies in {own}, one of {len(others) + 1} networks that take the image side by side: "
                f"the maps show what this one sees, and nothing of {listed}. --layer names a layer of another"
            )
    return None


def _is_network(visit: Visit, channels: int) -> bool:
    """Whether a module with parts and parameters takes the image, and does not return one (as an adapter does)."""
    if not visit.path or visit.calls != 1 or not visit.children_run or visit.edge is None:
        return False
    takes_image = _is_image(visit.input_shape, channels)
    return takes_image and not _is_image(visit.shape, channels) and any(True for _ in visit.module.parameters())


def _is_image(shape: tuple[int, ...] | None, channels: int) -> bool:
    return shape is not None and len(shape) == 4 and shape[1] == channels


def _is_inside(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")

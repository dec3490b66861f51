"""Memory that is given back, and what is said when it runs out before there is an image."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from camcli.errors import DeviceError, is_out_of_memory


def free_cached_memory() -> None:
    """Give back to accelerators in use what torch keeps of their memory for later tensors; starts none of them."""
    torch.cuda.empty_cache()  # does nothing before CUDA is used
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@contextmanager
def require_memory(device: torch.device, model: str) -> Iterator[None]:
    """Memory that runs out inside, before any image is explained, is no other error of the model or its layers.

    Raises:
        DeviceError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        elsewhere = "" if device.type == "cpu" else ", or run on the CPU (--device cpu)"
        raise DeviceError(
            f"--device {device}: memory ran out with model {model}, before any image is explained ({reason}). Free "
            f"some, take a smaller --input-size{elsewhere}."
        ) from error

"""The device of a run: which one, in which arithmetic, how much of it, and how data gets there.

``choice``         a device and a precision by name, and the device that a thread uses
``number_format``  IEEE or TensorFloat-32, and the same bits each time
``batch_limit``    how many items at once, halved when memory runs out
``memory``         memory that is given back, and what is said when it runs out
``transfer``       copies that nobody waits for, and float64
"""

from camcli.device.batch_limit import BatchLimit, pad
from camcli.device.choice import choose_device, choose_precision, device_name, synchronize, use_device
from camcli.device.memory import free_cached_memory, require_memory
from camcli.device.number_format import (
    HALF,
    deterministic,
    is_nondeterministic,
    nondeterministic_operations,
    number_format,
    strictly_deterministic,
)
from camcli.device.transfer import empty_on_host, in_float64, to_device, to_host

__all__ = [
    "HALF", "BatchLimit", "choose_device", "choose_precision", "deterministic", "device_name", "empty_on_host",
    "free_cached_memory", "in_float64", "is_nondeterministic", "nondeterministic_operations", "number_format",
    "pad", "require_memory", "strictly_deterministic", "synchronize", "to_device", "to_host",
    "use_device",
]  # fmt: skip

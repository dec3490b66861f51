"""The device of a run: which one, in which arithmetic, how much of it, and how data gets there.

``choice``         a device and a precision by name
``number_format``  IEEE or TensorFloat-32, and the same bits each time
``batch_limit``    how many items at once, halved when memory runs out
``transfer``       copies that nobody waits for
"""

from camcli.device.batch_limit import BatchLimit, pad
from camcli.device.choice import choose_device, choose_precision, device_name
from camcli.device.number_format import HALF, deterministic, nondeterministic_operations, number_format
from camcli.device.transfer import pinned_empty, to_device, to_host

__all__ = [
    "HALF", "BatchLimit", "choose_device", "choose_precision", "deterministic", "device_name",
    "nondeterministic_operations", "number_format", "pad", "pinned_empty", "to_device", "to_host",
]  # fmt: skip

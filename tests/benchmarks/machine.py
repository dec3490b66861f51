"""What a table of timings was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def describe_machine() -> list[str]:
    """Processor, cores, load and versions, one line each."""
    try:
        facts = Path("/proc/cpuinfo").read_text()
        names = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    processor = names[0] if names else platform.processor() or platform.machine()
    libraries = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "torchvision", "timm", "grad-cam", "torchcam")
    )
    load = f", load average {os.getloadavg()[0]:.1f} when it began" if hasattr(os, "getloadavg") else ""
    return [
        f"{processor}, {os.cpu_count()} cores ({torch.get_num_threads()} threads){load}",
        f"Python {platform.python_version()}, {libraries}",
    ]

"""The hardware this process may use: devices, threads, instruction sets, load; and the one seed."""

from __future__ import annotations

import os
import platform
import random
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import DeviceError

if TYPE_CHECKING:
    import torch

# What makes low precision fast, by the names of /proc/cpuinfo (x86) and of Linux on ARM.
_INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimddp": "ARM-DOTPROD",
    "i8mm": "ARM-I8MM",
    "bf16": "ARM-BF16",
}


def pick(device: str | torch.device | None = None) -> torch.device:
    """Return the device to compute on: the one asked for, else CUDA, else MPS, else the CPU.

    Raises:
        DeviceError: when the device asked for is not on this machine.

    >>> str(pick("cpu"))
    'cpu'
    """
    import torch

    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if device is None:
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise DeviceError(f"unknown device {device!r}; this machine has: {', '.join(available)}") from None
    if chosen.type not in available:
        raise DeviceError(
            f"device {str(chosen)!r} is not on this machine, which has: {', '.join(available)}; "
            "leave device=None to take the best of these"
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {str(chosen)!r} does not exist: {torch.cuda.device_count()} CUDA device(s)"
        )
    return chosen


def threads() -> int:
    """Return how many processor cores this process may use (affinity and cgroup quota)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, period = quota.read_text().split()
        if limit != "max":
            cores = min(cores, max(1, int(limit) // int(period)))
    return cores


@cache
def instruction_sets() -> tuple[str, ...]:
    """Return the low-precision instruction sets of this processor, such as `AVX512-VNNI`."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    elif platform.system() == "Darwin":
        keys = {"hw.optional.arm.FEAT_DotProd": "asimddp", "hw.optional.arm.FEAT_I8MM": "i8mm"}
        keys |= {"hw.optional.arm.FEAT_BF16": "bf16", "hw.optional.avx2_0": "avx2"}
        flags = [name for key, name in keys.items() if _sysctl(key) == "1"]
    else:
        flags = []
    return tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in flags)


def has(*names: str) -> bool:
    """Tell whether the processor has any of the named instruction sets.

    >>> has("NO-SUCH-SET")
    False
    """
    return any(name in instruction_sets() for name in names)


def accelerates(precision: str) -> str | None:
    """Return the instruction set that makes `precision` fast here, or None.

    Args:
        precision: "int8" or "bf16".
    """
    wanted = {
        "int8": ("AMX-INT8", "AVX512-VNNI", "AVX-VNNI", "ARM-I8MM", "ARM-DOTPROD"),
        "bf16": ("AMX-BF16", "AVX512-BF16", "ARM-BF16"),
    }
    return next((name for name in wanted.get(precision, ()) if has(name)), None)


def _sysctl(key: str) -> str:
    result = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=False)
    return result.stdout.strip()


@cache
def processor() -> str:
    """Return the processor's own name, such as `AMD EPYC`."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string")
    return platform.processor() or platform.machine()


def load() -> float:
    """Return the load average of the last minute per core (1.0: every core has work)."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def describe() -> str:
    """Return one line about this machine, as it stands under every figure.

    Example: `AMD EPYC, 2 cores (AVX512-VNNI, AVX512-BF16), Linux`
    """
    sets = [
        name
        for name in instruction_sets()
        if "VNNI" in name or "AMX" in name or "16" in name or "ARM" in name
    ]
    cores = threads()
    extras = f" ({', '.join(sets)})" if sets else ""
    return f"{processor()}, {cores} core{'s' * (cores > 1)}{extras}, {platform.system()}"


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators: the one place where a seed is set."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 -- libraries still draw from numpy's global generator
    torch.manual_seed(seed)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished what it was given, so that a clock read now is true."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

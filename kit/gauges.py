"""What the machine is doing now: load, memory, and each GPU's use, temperature and power."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kit import device


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML reports it.

    Attributes:
        name: such as "NVIDIA H100".
        use: the share of the last moments in which a kernel ran, 0 to 1.
        used, total: bytes of its memory.
        celsius: its temperature.
        watts: what it draws; None where it does not say.
    """

    name: str
    use: float
    used: int
    total: int
    celsius: int
    watts: float | None


@dataclass(frozen=True)
class Reading:
    """The machine at one moment.

    Attributes:
        cores: how many processor cores this process may use.
        load: the load average of the last minute per core of the machine (1.0: every core has work).
        used, total: bytes of memory.
        own: bytes of memory that this process holds.
        gpus: one each; empty when there is none, or `pynvml` is not installed.
    """

    cores: int
    load: float
    used: int
    total: int
    own: int
    gpus: tuple[Gpu, ...]


def read() -> Reading:
    """Read all gauges.

    >>> read().cores >= 1
    True
    """
    import psutil

    memory = psutil.virtual_memory()
    return Reading(
        cores=device.threads(),
        load=device.load(),
        used=memory.total - memory.available,
        total=memory.total,
        own=psutil.Process().memory_info().rss,
        gpus=gpus(),
    )


def gpus() -> tuple[Gpu, ...]:
    """Read every NVIDIA GPU; none when there is no driver, or the `energy` extra is not installed.

    Source: https://docs.nvidia.com/deploy/nvml-api/
    """
    try:
        pynvml = import_module("pynvml")
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def _gpu(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name, memory = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        watts = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
    except pynvml.NVMLError:  # some boards have no meter
        watts = None
    return Gpu(
        name if isinstance(name, str) else name.decode(),
        pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        memory.used,
        memory.total,
        pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        watts,
    )

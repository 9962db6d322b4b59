"""All random numbers of a run: seeded in one place, saved and restored exactly, the caller's left alone."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kit.device import seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def capture(device: torch.device) -> dict[str, Any]:
    """Return the state of every generator, in types that load with `weights_only=True`."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 -- augmentations may use it
    state = {
        "torch": torch.get_rng_state(),
        "python": [version, list(numbers), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore(state: Mapping[str, Any], device: torch.device) -> None:
    """Set every generator to a captured state."""
    torch.set_rng_state(state["torch"].cpu())
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"].cpu())


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Seed every generator; afterwards the caller's random numbers go on as if nothing had happened."""
    before = capture(device)
    seed_everything(seed)
    try:
        yield
    finally:
        restore(before, device)

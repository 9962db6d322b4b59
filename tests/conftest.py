"""What many tests share: a real data set in small, and one model trained on it."""

from __future__ import annotations

import pytest
import torch

import kit


@pytest.fixture(scope="session")
def fashion():
    """Fashion-MNIST, 4,000 + 1,000 + 2,000 real images."""
    return kit.data.fashion_mnist().subset(4000, 1000, 2000)


@pytest.fixture(scope="session")
def trained(fashion):
    """A small residual net after two epochs: right on about four garments of five; the same on every run."""
    torch.manual_seed(0)  # the first weights are drawn before `seed=` counts
    plain = {"precision": "fp32", "layout": "contiguous"}  # not what a probe finds fastest today
    return kit.train(kit.models.convnet(widths=(8, 16, 32)), fashion, epochs=2, lr=5e-3, seed=0, **plain)

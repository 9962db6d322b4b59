"""Memory kept from step to step: pages are not cleared again and again, and go back in the end."""

from __future__ import annotations

import platform
import resource

import psutil
import torch

from kit.training import memory


def pages(work, times=20):
    """Return how many pages the system had to provide for `work`, a time."""
    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / times


def work():
    tensors = [torch.ones(10_000_000) for _ in range(3)]  # 120 MB, 30,000 pages
    del tensors


def test_pages_are_kept_while_it_runs_and_given_back_afterwards():
    usual = pages(work)
    with memory.kept():
        kept = pages(work)
        high = psutil.Process().memory_info().rss
    low = psutil.Process().memory_info().rss
    if platform.libc_ver()[0] == "glibc":
        assert usual > 10_000
        assert kept < 0.1 * usual
        assert high - low > 100_000_000
    else:
        assert kept <= 1.1 * usual, "elsewhere it must do nothing"

"""How the workers of a parallel test run share the cores."""

from __future__ import annotations

import pytest

from tests.cores import share


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_every_core_is_dealt_out_and_no_worker_stays_without(workers):
    cores = {2, 3, 5, 7}
    shares = [share(cores, worker, workers) for worker in range(workers)]
    assert set().union(*shares) == cores
    assert all(shares)


def test_workers_do_not_meet_while_there_are_cores_enough():
    assert share({0, 1, 2}, 0, 2).isdisjoint(share({0, 1, 2}, 1, 2))

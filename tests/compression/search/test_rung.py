from __future__ import annotations

from kit.compression.search import rung
from kit.compression.search.budget import Budget
from kit.compression.search.recipes import Recipe
from kit.compression.search.trials import Trial

SMALLEST = Budget(max_drop=0.5, best="bytes")
CAPPED = Budget(max_bytes=1000, best="accuracy")


def seen(glimpse, tuned, epochs=2, net="given"):
    return Trial(1, Recipe(net, 0.5, epochs=epochs), glimpse=glimpse, tuned=tuned, drop=tuned, bytes=900)


def looks(glimpse, epochs=2, net="given"):
    return Trial(9, Recipe(net, 0.75, epochs=epochs), glimpse=glimpse)


def test_weights_that_are_too_many_bytes_are_not_trained():
    assert "1,001 weights in 8 bits are 1,001 bytes" in rung.too_large(1001, "static", CAPPED)
    assert not rung.too_large(2000, "weights4", CAPPED)
    assert rung.too_large(2000, "none", CAPPED)
    assert not rung.too_large(10**9, "none", SMALLEST)


def test_two_witnesses_condemn_what_looks_no_better():
    failed = [seen(20, 4), seen(25, 3)]
    assert "2 that looked no worse" in rung.hopeless(looks(30), failed, 0.5)
    assert not rung.hopeless(looks(30), failed[:1], 0.5)
    assert not rung.hopeless(looks(22), failed, 0.5)  # looks better than one of them
    assert not rung.hopeless(looks(30, epochs=4), failed, 0.5)  # will be trained longer
    assert not rung.hopeless(looks(30, net="student"), failed, 0.5)
    assert not rung.hopeless(looks(30), failed, 5.0)  # they kept this budget
    assert not rung.hopeless(looks(30), failed, None)


def test_one_that_recovered_from_as_much_speaks_for_the_rest():
    assert not rung.hopeless(looks(30), [seen(20, 4), seen(25, 3), seen(35, 0.2)], 0.5)


def test_what_fine_tuning_left_too_far_below_is_not_quantized():
    assert "1.6 points lost after fine-tuning; 0.5 may be" in rung.lost(seen(20, 1.6), 0.5)
    assert not rung.lost(seen(20, 1.4), 0.5)
    assert not rung.lost(seen(20, 50.0), None)


def test_without_a_limit_the_best_so_far_is_one():
    assert rung.bearable([], SMALLEST) == 0.5
    assert rung.bearable([], CAPPED) is None
    assert rung.bearable([seen(20, 4), seen(20, 3)], CAPPED) == 3

from __future__ import annotations

import random

import pytest

from kit.compression.search.recipes import Recipe, Space
from kit.errors import ArgumentError

SMALL = Space(
    ratios=(0.0, 0.5, 0.75), epochs=(1, 2), schemes=("none", "static"), runtimes=("onnxruntime", "openvino")
)


class Dice:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def suggest_categorical(self, _name, choices):
        return self.random.choice(choices)

    def suggest_int(self, _name, low, high):
        return self.random.randint(low, high)


class Answers:
    """Answers as it was told to, and must not be asked for anything else."""

    def __init__(self, places):
        self.places = dict(places)

    def suggest_categorical(self, name, choices):
        value = self.places.pop(name)
        assert value in choices
        return value

    def suggest_int(self, name, low, high):
        return self.suggest_categorical(name, range(low, high + 1))


def test_every_recipe_is_there_once_and_nothing_idle_is_told_apart():
    recipes = SMALL.recipes()
    # whole: 2 schemes × 2 runtimes; pruned: × 2 ratios × 2 methods × 2 epochs × with and without a teacher
    assert len(recipes) == len(set(recipes)) == 2 * 2 * (1 + 2 * 2 * 2 * 2)
    assert len(SMALL.recipes(("given", "student"))) == 2 * len(recipes)
    assert len({str(recipe) for recipe in recipes}) == len(recipes)
    assert str(Recipe()) == "as given"


def test_what_is_suggested_is_in_the_space_and_every_recipe_can_be():
    recipes = set(SMALL.recipes())
    assert {SMALL.suggest(Dice(seed)) for seed in range(2000)} == recipes
    for recipe in recipes:
        answers = Answers(SMALL.places(recipe))
        assert SMALL.suggest(answers) == recipe
        assert not answers.places


def test_the_first_recipes_are_what_anyone_would_try():
    whole, both = SMALL.first()
    assert (whole.ratio, whole.scheme) == (0.0, "static")
    assert (both.ratio, both.scheme) == (0.5, "static")
    assert Space(ratios=(0.75,), schemes=("fp16",), methods=("sensitivity",)).first()[0].scheme == "fp16"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratios": (0.5, 1.0)}, "ratios must lie from 0 to below 1"),
        ({"ratios": ()}, "ratios must be a tuple of at least one value"),
        ({"epochs": 2}, "epochs must be a tuple"),
        ({"epochs": (0,)}, "must be 1 or more"),
        ({"schemes": ("static", "int8")}, "unknown scheme 'int8'"),
        ({"methods": ("lamp",)}, "unknown method 'lamp'"),
        ({"runtimes": ("torch",)}, "unknown runtime 'torch'"),
    ],
)
def test_a_space_out_of_range_is_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        Space(**settings)

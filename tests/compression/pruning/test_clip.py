"""`clip`: where the limits lie, and that they hold through fine-tuning."""

from __future__ import annotations

import json

import pytest
import torch

import kit
from kit.compression.pruning.clip import clip, limits
from kit.errors import ArgumentError


@pytest.fixture(scope="module")
def few(fashion):
    """So few images that an epoch takes a moment."""
    return fashion.subset(512, 256, 256)


def test_limits_in_deviations_and_percentiles():
    weights = {"layer": torch.arange(-100, 101).float()}
    assert limits(weights, percentile=90) == {"layer": 90.0}
    assert limits(weights, deviations=1) == {"layer": pytest.approx(float(weights["layer"].std()))}


def test_no_weight_passes_its_limit_after_fine_tuning(trained, few):
    clipped = clip(trained, few, deviations=1.5, finetune=2, lr=1e-2)
    for layer in clipped.report.layers:
        size = clipped.module.get_submodule(layer.name).weight.detach().abs().max()
        assert float(size) <= layer.limit * (1 + 1e-6) < layer.largest
        assert 0 < layer.share < 0.3
    assert not torch.equal(clipped.module[7].weight, trained.module[7].weight)
    assert json.loads(json.dumps(clipped.report.to_dict()))["history"]["stopped"] == "finished"
    assert "limit" in str(clipped.report)


def test_without_fine_tuning_only_the_outliers_change(trained, few):
    clipped = clip(trained, few, percentile=99, finetune=0, protect=["4", "7"])
    before, after = trained.module, clipped.module
    assert torch.equal(before[4].body[0].weight, after[4].body[0].weight)
    changed = (before[3][0].weight != after[3][0].weight).float().mean()
    assert float(changed) == pytest.approx(0.01, abs=0.002)
    assert float(clipped.report.clipped) > 0.9 * float(clipped.report.dense)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"deviations": 0}, "deviations must be above 0"),
        ({"deviations": float("nan")}, "deviations must be above 0"),
        ({"percentile": 100}, "percentile must lie between"),
        ({"percentile": 99, "deviations": 3}, "not both"),
        ({"protect": ["77"]}, "unknown layer '77'"),
    ],
)
def test_arguments_that_do_not_fit(settings, message, trained, few):
    with pytest.raises(ArgumentError, match=message):
        clip(trained, few, **settings)


def test_clipping_an_untrained_module(few):
    clipped = clip(kit.models.lenet_300_100(), few, finetune=0)
    assert clipped.recipe[-1].settings["deviations"] == 3.0

"""Precision and layout: as asked or by a probe, always said, and gone when the run ends."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import kit
from kit import device as hardware
from kit.training.execution import Execution, _fastest, _probe, choose

CPU = torch.device("cpu")
FOUR = [Execution(p, at) for p in ("fp32", "bf16") for at in ("contiguous", "channels_last")]


@pytest.fixture(scope="module")
def small(fashion):
    return fashion.subset(1000, 300, 300)


def convnet():
    torch.manual_seed(0)
    return kit.models.convnet(widths=(8, 8, 16))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_combination_learns_and_leaves_a_plain_model(small, precision, layout):
    trained = kit.train(
        convnet(), small, epochs=3, lr=1e-2, batch_size=32, precision=precision, layout=layout
    )
    history = trained.report
    assert (history.precision, history.layout) == (precision, layout)
    assert history.best.valid_metric > 0.6
    for parameter in trained.module.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.is_contiguous()
    assert "forward" not in vars(trained.module)
    found = torch.from_numpy(trained(small.valid.inputs)).argmax(1) == small.valid.targets
    assert float(found.float().mean()) == pytest.approx(history.best.valid_metric)


def test_objectives_see_float32_whatever_the_precision(small):
    kinds = set()

    def objective(module, inputs, targets, index):
        outputs = module(inputs)
        kinds.add((inputs.dtype, outputs.dtype))
        return nn.functional.cross_entropy(outputs, targets)

    kit.training.fit(convnet(), small, objective, epochs=1, precision="bf16")
    assert kinds == {(torch.float32, torch.float32)}


def test_bf16_really_rounds(small):
    """Under bf16 the outputs while training have 8 bits of mantissa: they survive a round trip."""
    model = convnet().train()
    with Execution("bf16").applied(model, CPU):
        out = model(small.train.inputs[:8])
    assert torch.equal(out, out.bfloat16().float())
    assert not torch.equal(model(small.train.inputs[:8]), out)


def test_channels_last_inputs_reach_the_model_so(small):
    coloured = kit.data.from_arrays(torch.rand(300, 3, 8, 8), torch.arange(300) % 2)
    arranged = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    model[0].register_forward_pre_hook(
        lambda _layer, given: arranged.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    kit.training.fit(
        model,
        coloured,
        epochs=1,
        layout="channels_last",
        augment=lambda x: x.flip(-1).contiguous(),
        batch_size=100,
    )
    assert all(arranged[1:]), "the first is the check on two samples"


def test_the_probe_says_what_it_measured():
    model, inputs = convnet(), torch.rand(32, 1, 28, 28)
    before = [value.clone() for value in model.state_dict().values()]
    chosen = choose(model, inputs, CPU, precision="auto", layout="auto", steps=1000)
    assert "channels_last" in chosen.reason
    assert "×" in chosen.reason
    fast = hardware.accelerates("bf16")
    assert (fast or "no bf16 instructions here") in chosen.reason
    assert fast or chosen.precision == "fp32"
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


def test_what_was_asked_for_is_not_probed():
    chosen = choose(
        convnet(), torch.rand(8, 1, 28, 28), CPU, precision="bf16", layout="contiguous", steps=10**6
    )
    assert chosen == Execution("bf16", "contiguous", "as asked")
    short = choose(convnet(), torch.rand(8, 1, 28, 28), CPU, precision="auto", layout="auto", steps=5)
    assert (short.precision, short.layout) == ("fp32", "contiguous")
    assert "too short" in short.reason


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([[10, 10, 10], [7, 7, 7], [6, 6, 6], [4, 4, 4]], ("bf16", "channels_last")),
        ([[10, 10, 10], [7, 7, 7], [8, 8, 8], [6.5, 6.5, 6.5]], ("fp32", "channels_last")),
        ([[10, 10, 10], [9.9, 9.9, 9.9], [9.5, 9.5, 9.5], [9, 9, 9]], ("fp32", "contiguous")),
        # A busy machine: the median says bf16, the minima do not; and the other way round.
        ([[10, 40, 40], [10, 40, 40], [10, 20, 20], [10, 20, 20]], ("fp32", "contiguous")),
        ([[10, 10, 10], [10, 10, 10], [10, 10, 3], [10, 10, 3]], ("fp32", "contiguous")),
    ],
)
def test_only_a_clear_gain_leaves_full_precision(times, expected):
    chosen = _fastest(FOUR, times, "")
    assert (chosen.precision, chosen.layout) == expected


def test_the_same_call_is_probed_once_and_runs_in_the_same_way():
    model, inputs = kit.models.convnet(widths=(4, 4, 4)), torch.rand(8, 1, 28, 28)
    first, second = (
        choose(model, inputs, CPU, precision="auto", layout="auto", steps=1000) for _ in range(2)
    )
    assert second is first
    wider = kit.models.convnet(widths=(4, 4, 8))
    assert choose(wider, inputs, CPU, precision="auto", layout="auto", steps=1000) is not first


def test_what_cannot_run_is_not_chosen_and_said():
    class OnlyFull(nn.Module):
        """A layer without a bf16 kernel, as some are."""

        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            out = self.inner(x)
            if out.dtype != torch.float32:
                raise NotImplementedError
            return out

    times = _probe(OnlyFull(), torch.rand(8, 4), CPU, [Execution("fp32"), Execution("bf16")])
    chosen = _fastest([Execution("fp32"), Execution("bf16")], times, "")
    assert chosen.precision == "fp32"
    assert "bf16 contiguous cannot run" in chosen.reason


def test_the_recipe_keeps_what_was_chosen(small):
    trained = kit.train(convnet(), small, epochs=1)
    settings = trained.recipe[-1].settings
    assert (settings["precision"], settings["layout"]) == (trained.report.precision, trained.report.layout)


def test_a_copy_made_while_training_stands_on_its_own():
    model = convnet().train()
    with Execution("bf16", "channels_last").applied(model, CPU):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        assert bool(twin(torch.rand(4, 1, 28, 28)).any())

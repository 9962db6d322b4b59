from __future__ import annotations

import asyncio

import numpy as np
import pytest

from kit.errors import ArgumentError
from kit.widgets import Quantization


@pytest.fixture(scope="module")
def few(fashion):
    return fashion.subset(1000, 400, 300)


@pytest.fixture(scope="module")
def applied(trained, few):
    panel = Quantization(trained, few, calibration=64)
    asyncio.run(panel.run())
    return panel


def test_apply_writes_a_smaller_file_and_says_what_each_layer_paid(applied, trained):
    report = applied.result.report
    assert report.bytes_after < report.bytes_before
    assert "Written and checked" in applied.frame.status
    for layer in report.layers:
        assert layer.name in applied._report.value
    assert applied.figure() is not None
    assert [row[0] for row in applied.table()[2]] == [layer.name for layer in report.layers]


def test_a_quantized_file_cannot_be_quantized_again(applied, few):
    panel = Quantization(applied.result, few)
    assert panel.figure() is None
    with pytest.raises(Exception, match="quantized already"):
        asyncio.run(panel.run())
    assert "quantized already" in panel.frame.alert


def test_more_bits_mean_more_levels_and_less_noise(trained, few):
    panel = Quantization(trained, few)
    found = []
    for bits in (2, 4, 8):
        panel.bits.value = bits
        found.append((panel._rounding().levels(0).size, panel._rounding().snr))
    assert [levels for levels, _ in found] == [3, 15, 255]
    assert found[0][1] < found[1][1] < found[2][1]
    assert "255" in panel._weights.value


def test_a_scale_for_each_output_loses_less(trained, few):
    panel = Quantization(trained, few)
    fine = panel._rounding().snr
    panel.per_channel.value = False
    assert panel._rounding().snr < fine
    assert panel.frame.alert == ""


def test_levels_hold_every_rounded_weight(trained, few):
    panel = Quantization(trained, few)
    panel.output.value = 3
    found = panel._rounding()
    gaps = np.abs(found.rounded[3][:, None] - found.levels(3)[None]).min(1)
    assert gaps.max() < 1e-6


def test_another_layer_has_other_outputs(trained, few):
    panel = Quantization(trained, few)
    panel.output.value = panel.output.max
    panel.layer.value = "0.0"
    assert panel.output.value <= panel.output.max == 7
    assert panel.frame.alert == ""


def test_apply_without_data_says_what_to_give(trained):
    panel = Quantization(trained)
    assert panel.code == "kit.quantize(model, scheme='static')"
    panel._begin.click()
    with pytest.raises(ArgumentError, match="give data"):
        asyncio.run(panel.wait())
    assert "give data" in panel.frame.alert
    assert not panel._begin.disabled


def test_the_processor_is_asked_about_the_scheme(trained, few):
    panel = Quantization(trained, few)
    texts = set()
    for scheme in ("static", "weights4", "bf16"):
        panel.scheme.value = scheme
        texts.add(panel._here.value)
    assert len(texts) == 3
    assert "scheme='bf16'" in panel.code


def test_layers_kept_in_float32_stand_in_the_code(trained, few):
    panel = Quantization(trained, few)
    panel.exclude.value = ("0.0", "7")
    assert panel.code == "kit.quantize(model, data, scheme='static', exclude=['0.0', '7'])"

"""Which runtime is fastest: the chooser's pick beside ONNX Runtime's and NNCF's own int8, and all candidates.

`python tests/benchmarks/runtimes.py [resnet mobilenet bert] [--quick]`. Weights are random, as latency asks
for no more; so the accuracy gate is wide open. Minutes a net; `--quick` leaves the exhaustive part out.
"""

from __future__ import annotations

import sys

import torch
from torch import nn
from torch.nn import functional as F

import kit
from kit.compression.quantization.onnx_layers import silenced
from kit.compression.runtimes.forms import Forms
from kit.compression.runtimes.ways import ways
from kit.data import Dataset, Split
from kit.runtime.engines import openvino_core
from kit.variant import Preprocess, Signature

SIDE = 128  # pixels


def convolve(inputs, outputs, side, stride=1, groups=1, act=nn.ReLU):
    parts = [nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)]
    return nn.Sequential(*parts, nn.BatchNorm2d(outputs), act())


class Residual(nn.Module):
    """x + f(x), with a 1x1 convolution where shapes differ."""

    def __init__(self, body, inputs, outputs, stride=1, last=nn.ReLU):
        super().__init__()
        same = inputs == outputs and stride == 1
        self.body, self.last = body, last()
        self.short = nn.Identity() if same else convolve(inputs, outputs, 1, stride, act=nn.Identity)

    def forward(self, x):
        return self.last(self.body(x) + self.short(x))


def resnet():
    """ResNet-18 (He et al., arXiv:1512.03385)."""
    parts, inputs = [convolve(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for width, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        body = nn.Sequential(convolve(inputs, width, 3, stride), convolve(width, width, 3, act=nn.Identity))
        parts.append(Residual(body, inputs, width, stride))
        inputs = width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def mobilenet():
    """MobileNetV2 (Sandler et al., arXiv:1801.04381)."""
    parts, inputs = [convolve(3, 32, 3, 2, act=nn.ReLU6)], 32
    widths, counts, strides = (16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1)
    for wider, width, count, first in zip((1, 6, 6, 6, 6, 6, 6), widths, counts, strides, strict=True):
        for k in range(count):
            middle, stride = wider * inputs, first if k == 0 else 1
            body = nn.Sequential(
                convolve(inputs, middle, 1, act=nn.ReLU6) if wider > 1 else nn.Identity(),
                convolve(middle, middle, 3, stride, groups=middle, act=nn.ReLU6),
                convolve(middle, width, 1, act=nn.Identity),
            )
            same = inputs == width and stride == 1
            parts.append(Residual(body, inputs, width, stride, nn.Identity) if same else body)
            inputs = width
    parts.append(convolve(inputs, 1280, 1, act=nn.ReLU6))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10))


class Block(nn.Module):
    """A transformer layer written out, so that it exports with a free batch size."""

    def __init__(self, width=256, heads=4):
        super().__init__()
        self.heads, self.mix, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        parts = self.mix(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        x = self.first(x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)))
        return self.second(x + self.feed(x))


class Bert(nn.Module):
    """BERT-mini's size: 4 layers of width 256, 128 tokens, which come as vectors."""

    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.Sequential(*(Block() for _ in range(4))), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.blocks(x).mean(1))


IMAGE = (3, SIDE, SIDE)
NETS = {"resnet": (resnet, IMAGE), "mobilenet": (mobilenet, IMAGE), "bert": (Bert, (128, 256))}


def prepared(name):
    """A net whose batch norm has seen data (or denormals would be timed), and random data for it."""
    torch.manual_seed(0)
    make, shape = NETS[name]
    net, raw = make(), torch.randn(72, *shape)
    with torch.no_grad():
        for _ in range(20):
            net.train()(raw[:16])
    labels = torch.arange(72) % 10
    plain = Preprocess()
    signature = Signature("classification", shape, tuple("0123456789"), 10, plain)
    splits = [Split(s, raw, labels, plain) for s in ("train", "valid", "test")]
    return kit.Variant(net.eval(), name, signature), Dataset("noise", *splits, signature)


def nncf_by_openvino(file, data):
    """`nncf.quantize` on OpenVINO's own graph, as its documentation does it, with default settings."""
    core = openvino_core()
    with silenced():
        import nncf

        model = core.read_model(file)
        samples = nncf.Dataset([data.valid.inputs[i : i + 1].numpy() for i in range(64)])
        kind = nncf.ModelType.TRANSFORMER if data.signature.shape == (128, 256) else None
        result = nncf.quantize(model, samples, model_type=kind)
    compiled = core.compile_model(result, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return lambda batch: request.infer([batch])[0]


def main(names, *, quick):
    print(kit.device.describe())
    notes = []
    for name in names:
        net, data = prepared(name)
        fp32 = kit.export(net, data=data)
        pick = kit.fastest(net, data, max_drop=100, agreement=0, seconds=0.3, calibration=64)
        print(f"\n{name}: {pick.report}\n", flush=True)
        models = {
            "ONNX Runtime fp32": fp32,
            "ONNX Runtime's int8 defaults (S8S8)": kit.quantize(
                fp32, data, target="arm", per_channel=False, exclude=(), calibration=64
            ),
            "nncf.quantize + OpenVINO": nncf_by_openvino(fp32.file, data),
            f"the pick: {pick.report.chosen}": pick,
        }
        if not quick:
            forms = Forms(net, data, calibration=64, seed=0)
            built = {one.name.split(",")[0] for one in pick.report.tried if one.change}
            models |= {
                way.name: kit.Variant(forms.model(way), way.name, net.signature)
                for plain in ways()
                if plain.name in built
                for way in (plain.with_threads(count) for count in {1, kit.device.threads()})
            }
        timed = kit.benchmark(
            models, inputs=data.valid.inputs.numpy(), seconds=0.3, blocks=6, memory=False, clock="wall"
        )
        print("| net | candidate | ms | speed-up over ONNX Runtime fp32 [95 %] |\n|---|---|---|---|")
        for t in timed.timings:
            if t.role == "model":
                print(f"| {name} | {t.name} | {t.latency.value:.2f} | {t.speedup:.2f} |", flush=True)
        chosen = timed[f"the pick: {pick.report.chosen}"]
        best = min((t for t in timed.timings if t.role == "model"), key=lambda t: t.ratio.value)
        notes.append(
            f"{name}: the pick takes {chosen.ratio.value / best.ratio.value:.3f} of the time of the best "
            f"of {len(models)}, {best.name}; A/A control {timed.control.value:.3f}"
        )
    print("\n".join(["", *notes]))


if __name__ == "__main__":
    asked = [word for word in sys.argv[1:] if word in NETS]
    main(asked or list(NETS), quick="--quick" in sys.argv)

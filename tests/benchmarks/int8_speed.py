"""What int8 brings: latency of fp32 and int8 files on ONNX Runtime and OpenVINO, and the accuracy it costs.

`python tests/benchmarks/int8_speed.py` trains the residual CNN on all of Fashion-MNIST first (minutes).
"""

from __future__ import annotations

import kit
from kit.runtime.onnx_model import OnnxModel, optimized_operators
from kit.variant import Variant


def on(variant, runtime, precision=None):
    """The same file, run by another runtime."""
    return Variant(
        OnnxModel(variant.file, runtime=runtime, precision=precision), variant.name, variant.signature
    )


def contenders(net, data):
    """fp32, int8 as this processor wants it, int8 as the library does it by default, and OpenVINO's forms."""
    fp32 = kit.export(net, data=data)
    int8 = kit.quantize(net, data)
    every = kit.quantize(net, data, exclude=())
    # quantize_static's own defaults: signed activations, a scale for each weight.
    library = kit.quantize(net, data, target="arm", per_channel=False, exclude=())
    return {
        "fp32": fp32,
        "int8": int8,
        "int8, all layers": every,
        "int8, library default (S8S8)": library,
        "OpenVINO fp32": on(fp32, "openvino", "fp32"),
        "OpenVINO int8": on(int8, "openvino"),
        "OpenVINO int8, all layers": on(every, "openvino"),
    } | ({"OpenVINO bf16": on(fp32, "openvino", "bf16")} if kit.device.accelerates("bf16") else {})


def main():
    data = kit.data.fashion_mnist()
    dense = kit.train(kit.models.convnet(), data, epochs=5, progress=False)
    wide = kit.train(
        kit.models.convnet(widths=(32, 64, 128)), data.subset(12_800, 1000, 1000), epochs=1, progress=False
    )
    for title, net in (("residual CNN", dense), ("the same, twice as wide", wide)):
        files = contenders(net, data)
        print(f"\n{title}: int8 report\n{files['int8'].report}")
        for name in ("int8", "int8, library default (S8S8)"):
            print(f"{name} runs as {optimized_operators(files[name].file)}")
        print(kit.benchmark(files, data, batch_sizes=(1, 32), seconds=2.0))
    for method in ("minmax", "entropy", "percentile"):
        int8 = kit.quantize(dense, data, method=method)
        print(f"{method}: {kit.agreement(dense, int8, data)}")
    print(kit.evaluate(dense, data).accuracy)


if __name__ == "__main__":
    main()

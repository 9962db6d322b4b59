import numpy as np
import pytest
import torch

import kit
from kit.errors import ArgumentError, ModelError

QUICK = {"seconds": 0.1, "clock": "cpu"}


@pytest.fixture(scope="module")
def variants(trained, fashion):
    slim = kit.prune(trained, fashion, ratio=0.5, finetune=0)
    sparse = kit.prune(trained, fashion, ratio=0.8, method="lamp", finetune=0)
    return [
        trained.renamed("dense"),
        slim.renamed("slim"),
        sparse.renamed("sparse"),
        kit.quantize(trained, fashion).renamed("int8"),
    ]


@pytest.fixture(scope="module")
def compared(variants, fashion):
    return kit.compare(variants, fashion, batch_sizes=(1, 8), **QUICK)


def test_rows_say_how_good_how_large_and_how_fast(compared, variants, fashion):
    dense, slim, sparse, int8 = compared.rows
    assert [r.name for r in compared.rows] == ["dense", "slim", "sparse", "int8"]
    assert dense.score == kit.evaluate(variants[0], fashion).accuracy
    assert dense.agreement.value == 1
    assert dense.verdict == "baseline"
    assert slim.parameters < 0.5 * dense.parameters
    assert slim.macs < 0.5 * dense.macs
    assert sparse.nonzero < 0.3 * dense.nonzero
    assert sparse.bytes == pytest.approx(dense.bytes, rel=0.01)
    assert int8.bytes < 0.5 * dense.bytes
    assert int8.macs == dense.macs
    assert int8.agreement.value > 0.95
    assert slim.p is not None
    assert all(
        r.memory > 0 and r.latency.value > 0 and r.latency.low <= r.latency.value for r in compared.rows
    )
    assert "dense kernels multiply zeros as well" in sparse.why
    assert any("fewer MACs" in line for line in slim.why)
    assert any("int8 weights instead of float32" in line for line in int8.why)


def test_accuracy_is_that_of_the_file_which_ran(compared, fashion):
    for variant, found in zip(compared.variants, compared.rows, strict=True):
        assert variant.file.stat().st_size == found.bytes
        assert variant.figures["accuracy"] == found.score == kit.evaluate(variant, fashion).accuracy
        assert variant.figures["latency"] == found.latency
        assert variant.recipe[-1].verb in {"export", "quantize"}


def test_all_run_on_one_runtime_in_one_interleaved_run(compared):
    assert compared.runtime == "onnxruntime"
    names = [t.name for t in compared.benchmark.timings if t.batch == 8]
    assert names == ["dense", "slim", "sparse", "int8", "dense again", "an empty model"]
    assert compared.benchmark.plans[1][0] >= 6


def test_native_runs_modules_in_torch(trained, fashion):
    found = kit.compare(
        {"one": trained, "other": kit.models.lenet_300_100()}, fashion, runtime="native", **QUICK
    )
    assert [r.name for r in found.rows] == ["one", "other"]
    assert found.rows[1].parameters == 266_610
    assert found.rows[0].memory is None
    assert all(isinstance(v.model, torch.nn.Module) for v in found.variants)
    assert found.best(max_drop=100, by="macs").name == "other"


def test_regression_is_compared_by_its_error():
    random = np.random.default_rng(0)
    x = random.normal(size=(1500, 6)).astype(np.float32)
    data = kit.data.from_arrays(x, x[:, :2].sum(1), test=0.5)
    small, large = torch.nn.Linear(6, 1), torch.nn.Sequential(torch.nn.Linear(6, 64), torch.nn.Linear(64, 1))
    found = kit.compare({"large": large, "small": small}, data, **QUICK)
    assert found.rows[0].metric == "rmse"
    assert found.rows[1].p is None
    assert found["small"].macs == 6
    assert "RMSE" in str(found)
    assert found.best(max_drop=1000).name == "small"


def test_what_cannot_be_compared_is_refused(trained, fashion):
    with pytest.raises(ArgumentError, match="nothing to compare"):
        kit.compare([], fashion)
    with pytest.raises(ArgumentError, match="unknown runtime 'onnx'; did you mean 'onnxruntime'"):
        kit.compare([trained], fashion, runtime="onnx")
    with pytest.raises(ModelError, match="gives 7"):
        kit.compare([trained, kit.models.lenet5(classes=7)], fashion, runtime="native", **QUICK)

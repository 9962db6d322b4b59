import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import kit
from kit import device as hardware
from kit.errors import ArgumentError, DataError, DeviceError, ModelError
from kit.runtime.onnx_model import OnnxModel, optimized_operators


@pytest.fixture(scope="module")
def exported(trained, fashion):
    return kit.export(trained, data=fashion)


@pytest.fixture(scope="module")
def inputs(fashion):
    return fashion.test.inputs[:64].numpy()


def test_every_runtime_gives_the_same_answers_to_the_same_call(trained, exported, inputs):
    answers = {}
    for runtime, model in (("torch", trained), ("onnxruntime", exported), ("openvino", exported)):
        with kit.open(model, runtime=runtime) as session:
            assert session.runtime == runtime
            assert session.threads == hardware.threads()
            answers[runtime] = session(inputs)
            assert answers[runtime].dtype == np.float32
            assert np.array_equal(session(torch.from_numpy(inputs)), answers[runtime])
    for other in ("onnxruntime", "openvino"):
        assert np.allclose(answers["torch"], answers[other], atol=1e-4)


def test_what_is_called_fp32_in_openvino_is_fp32(exported, inputs):
    exact = kit.open(exported)(inputs)
    assert np.abs(kit.open(exported, runtime="openvino")(inputs) - exact).max() < 1e-4


def test_bf16_in_openvino_is_asked_for_by_name(exported, inputs):
    if hardware.accelerates("bf16") is None:
        with pytest.raises(DeviceError, match="has no bf16"):
            kit.open(exported, runtime="openvino", precision="bf16")
        return
    session = kit.open(exported, runtime="openvino", precision="bf16")
    assert session.precision == "bf16"
    rough = np.abs(session(inputs) - kit.open(exported)(inputs)).max()
    assert 1e-4 < rough < 1


def test_auto_takes_torch_for_modules_and_onnxruntime_for_files(trained, exported):
    assert kit.open(trained).runtime == "torch"
    assert kit.open(trained.module).runtime == "torch"
    assert kit.open(exported).runtime == "onnxruntime"
    assert kit.open(exported.file).runtime == "onnxruntime"
    assert kit.open(str(exported.file)).name == exported.file.stem


def test_a_model_folder_can_be_opened(trained, exported, inputs, tmp_path):
    for variant, runtime in ((trained, "torch"), (exported, "onnxruntime")):
        with kit.open(kit.save(variant, tmp_path / runtime)) as session:
            assert session.runtime == runtime
            assert session.name == variant.name
            assert np.array_equal(session(inputs), variant(inputs))


def test_the_session_reports_what_the_runtime_itself_says(exported):
    session = kit.open(exported)
    assert session.provider == "CPUExecutionProvider"
    assert kit.open(exported, providers=["cpu"], threads=1).threads == 1
    assert "CPUExecutionProvider" in repr(session)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_an_absent_device_or_provider_is_an_error_and_no_fallback(trained, exported):
    with pytest.raises(DeviceError, match="CUDAExecutionProvider"):
        kit.open(exported, providers=["cuda"])
    with pytest.raises(DeviceError, match="CUDAExecutionProvider"):
        kit.open(exported, device="cuda")
    with pytest.raises(DeviceError, match="TensorrtExecutionProvider"):
        kit.open(exported, providers=["TensorrtExecutionProvider", "cpu"])
    with pytest.raises(DeviceError, match="not on this machine"):
        kit.open(trained, device="cuda")
    with pytest.raises(DeviceError, match="OpenVINO has no device 'gpu'"):
        kit.open(exported, runtime="openvino", device="gpu")


def test_a_closed_session_says_so(trained, exported, inputs):
    for model in (trained, exported):
        with kit.open(model) as session:
            session(inputs)
        with pytest.raises(ModelError, match=r"is closed; open it again"):
            session(inputs)
        session.close()


def test_a_session_is_a_snapshot_and_leaves_the_module_alone(fashion, inputs):
    net = kit.models.lenet_300_100().train()
    session = kit.open(net)
    before = session(inputs)
    with torch.no_grad():
        net[1].weight.zero_()
    assert np.array_equal(session(inputs), before)
    assert net.training


def test_the_number_of_threads_is_used_and_put_back(trained, inputs):
    before = torch.get_num_threads()
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return x.flatten(1)

    kit.open(Spy(), threads=1)(inputs)
    assert seen == [1]
    assert torch.get_num_threads() == before


def test_many_threads_may_call_one_session(exported, fashion):
    batches = fashion.test.inputs[:160].numpy().reshape(16, 10, 1, 28, 28)
    for runtime in ("onnxruntime", "openvino"):
        session = kit.open(exported, runtime=runtime)
        expected = [session(batch) for batch in batches]
        results = [None] * len(batches)

        def work(index, session=session, results=results):
            for _ in range(20):
                results[index] = session(batches[index])

        workers = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(results, expected, strict=True))


def test_wrong_shapes_and_dtypes_are_refused(trained, exported, inputs):
    for model in (trained, exported):
        session = kit.open(model)
        with pytest.raises(DataError, match=r"expected inputs of shape \(N, 1, 28, 28\)"):
            session(inputs[:, :, :20])
        with pytest.raises(DataError, match="expected float32"):
            session(inputs.astype(np.float64))
    bare = kit.open(exported.file)
    with pytest.raises(DataError, match="expected float32"):
        bare(inputs.astype(np.float64))
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(DataError, match="cannot take inputs") as caught:
            kit.open(exported.file, runtime=runtime)(inputs[:, :, :20])
        assert "\n" not in str(caught.value)


def test_arguments_are_checked(trained, exported):
    for words, error, call in [
        ("did you mean 'onnxruntime'", ArgumentError, lambda: kit.open(exported, runtime="onnx-runtime")),
        ("threads must be at least 1", ArgumentError, lambda: kit.open(exported, threads=0)),
        ("belongs to ONNX Runtime", ArgumentError, lambda: kit.open(trained, providers=["cpu"])),
        ("kit.export", ArgumentError, lambda: kit.open(trained, runtime="onnxruntime")),
        ("torch cannot run", ArgumentError, lambda: kit.open(exported, runtime="torch")),
        ("as the file was|written in", ArgumentError, lambda: kit.open(exported, precision="bf16")),
        (
            "unknown provider 'cudda'; did you mean",
            ArgumentError,
            lambda: kit.open(exported, providers=["cudda"]),
        ),
        ("unknown precision", ArgumentError, lambda: kit.open(trained, precision="fp8")),
        ("got int", ArgumentError, lambda: kit.open(3)),
        ("does not exist", ModelError, lambda: kit.open("no/such/file.onnx")),
    ]:
        with pytest.raises(error, match=words):
            call()


def test_a_file_with_other_inputs_is_refused_when_it_is_opened(tmp_path):
    def write(name, kind, count):
        values = [helper.make_tensor_value_info(f"x{i}", kind, ["n", 3]) for i in range(count)]
        nodes = [helper.make_node("Identity", ["x0"], ["y"])]
        graph = helper.make_graph(nodes, "g", values, [helper.make_tensor_value_info("y", kind, ["n", 3])])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), name)
        return name

    with pytest.raises(ModelError, match="2 inputs and 1 outputs"):
        kit.open(write(tmp_path / "two.onnx", TensorProto.FLOAT, 2))
    with pytest.raises(ModelError, match=r"takes tensor\(float16\); expected float32"):
        kit.open(write(tmp_path / "half.onnx", TensorProto.FLOAT16, 1))


def test_an_unknown_operator_is_one_line(tmp_path, exported):
    model = onnx.load(exported.file)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "odd.onnx")
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(ModelError, match="NoSuchOperator") as caught:
            kit.open(tmp_path / "odd.onnx", runtime=runtime)
        assert "\n" not in str(caught.value)


def test_an_onnx_model_opens_lazily_and_again_after_close(exported, inputs):
    model = OnnxModel(exported.file)
    first = model(inputs)
    model.close()
    assert np.array_equal(model(inputs), first)
    with pytest.raises(ModelError, match="does not exist"):
        OnnxModel("no/such/file.onnx")


def test_optimized_operators_show_what_was_fused(exported):
    operators = optimized_operators(exported.file)
    assert operators["Conv"] == 7
    assert "Relu" not in operators
    assert "Add" not in operators


def test_ctrl_c_still_works_after_sessions_on_openvino(exported):
    """In a process that has a stack of its own for signals, as every Jupyter kernel has."""
    code = """
import faulthandler, gc, os, signal, sys
faulthandler.enable()
import kit

first, second = (kit.open(sys.argv[1], runtime="openvino") for _ in range(2))
first.close(), second.close()
del first, second
gc.collect()
kit.doctor()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    command = [sys.executable, "-c", code, str(exported.file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import kit
from kit.conversion.export import export
from kit.errors import ArgumentError, ExportError, ModelError, StorageError


@pytest.fixture(scope="module")
def exported(trained, fashion):
    return export(trained, data=fashion)


def test_an_export_gives_the_same_answers_for_any_batch_size(exported, trained, fashion):
    inputs = fashion.test.inputs[:100].numpy()
    for batch in (1, 7, 100):
        assert np.allclose(exported(inputs[:batch]), trained(inputs[:batch]), atol=1e-4)
    assert exported.parent is trained
    assert [step.verb for step in exported.recipe] == ["train", "export"]


def test_the_report_says_on_how_many_real_inputs_it_was_proven(exported, fashion):
    assert exported.report.agreed
    assert exported.report.n == 1000
    assert exported.report.batches == (1, 2, 17)
    assert 0 < exported.report.max_abs <= exported.report.tolerance < 1e-4
    assert "1,000 inputs in a fresh process" in str(exported.report)


def test_the_file_is_whole_small_and_tells_nothing_about_this_machine(exported, trained):
    content = exported.file.read_bytes()
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    weights = sum(p.numel() for p in trained.module.parameters())
    assert 4 * weights < len(content) < 4.2 * weights
    assert b"site-packages" not in content
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert list(exported.file.parent.iterdir()) == [exported.file]


def test_with_fewer_inputs_than_asked_all_are_used_and_counted(trained, fashion):
    few = fashion.subset(30, 20, 10)
    assert export(trained, data=few, tolerance=1e-4).report.n == 50


def test_a_second_export_is_remembered_until_a_weight_changes(fashion):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    first = export(net, data=fashion)
    assert export(net, data=fashion).file == first.file
    with torch.no_grad():
        net[1].bias[0] += 1
    second = export(net, data=fashion)
    assert second.file != first.file
    inputs = fashion.test.inputs[:4].numpy()
    assert np.allclose((second(inputs) - first(inputs))[:, 0], 1, atol=1e-4)


def test_an_export_proven_on_fewer_inputs_is_proven_again(fashion):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    assert export(net, data=fashion.subset(30, 20, 10)).report.n == 50
    assert export(net, data=fashion).report.n == 1000


def test_a_proof_on_other_data_is_no_proof_on_these(fashion):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    first = export(net, data=fashion.subset(30, 20, 10))
    second = export(net, data=fashion)
    assert (first.report.n, second.report.n) == (50, 1000)
    assert first.file != second.file


def test_a_remembered_export_is_dropped_when_the_code_changes(fashion):
    class Scaled(nn.Module):
        factor = 1.0

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(784, 10)

        def forward(self, x):
            return self.head(x.flatten(1)) * self.factor

    net = Scaled()
    first = export(net, data=fashion)
    net.factor = 2.0
    inputs = fashion.test.inputs[:4].numpy()
    assert np.allclose(export(net, data=fashion)(inputs), 2 * first(inputs), atol=1e-4)


def test_a_module_in_training_mode_is_exported_in_eval_and_stays_as_it_was(fashion):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.BatchNorm1d(32), nn.Dropout(), nn.Linear(32, 10))
    net.train()
    answers = export(net, data=fashion)(fashion.test.inputs[:8].numpy())
    assert net.training
    assert np.allclose(answers, net.eval()(fashion.test.inputs[:8]).detach().numpy(), atol=1e-5)


def test_a_pruned_narrow_net_and_a_regression_can_be_exported():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(200, 10)).astype(np.float32)
    data = kit.data.from_arrays(inputs, inputs[:, :3] * 2)
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 3))
    result = export(net, data=data)
    assert result.signature.task == "regression"
    assert np.allclose(result(inputs), net(torch.from_numpy(inputs)).detach().numpy(), atol=1e-5)


def test_a_path_can_be_given_and_is_replaced_only_by_a_proven_file(tmp_path, trained, fashion):
    target = tmp_path / "deep" / "net.onnx"
    assert export(trained, data=fashion, path=target).file == target
    before = target.read_bytes()

    class Random(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10] + torch.rand(())

    with pytest.raises(ExportError, match="answers differently"):
        export(Random(), data=fashion, path=target)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["net.onnx"]


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path, trained, fashion):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write"):
        export(trained, data=fashion, path=tmp_path / "file" / "net.onnx")


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(784, 10)

    def forward(self, x):
        y = self.head(x.flatten(1))
        if y[0].sum() > 1e9:
            return y * 2
        return y


class Fixed(nn.Module):
    def forward(self, x):
        return x.reshape(3, 784)[:, :10] if len(x) == 3 else x.reshape(len(x), 784)[:, :10]


class Airy(nn.Module):
    def forward(self, x):
        return torch.special.airy_ai(x.flatten(1)[:, :10])


class Pair(nn.Module):
    def forward(self, x):
        return x.flatten(1), x


class Broken(nn.Module):
    def forward(self, x):
        raise RuntimeError(f"a bug of one's own, {x.ndim}")


@pytest.mark.parametrize(
    ("module", "error", "words"),
    [
        (Branch(), ExportError, ["layer '0' (Branch)", "values of the data", "torch.where", "if y[0].sum()"]),
        (Airy(), ExportError, ["special_airy_ai", "layer '0' (Airy)", "no ONNX translation"]),
        (Pair(), ExportError, ["gives tuple", "one tensor"]),
        (Broken(), ModelError, ["layer '0' (Broken)", "a bug of one's own"]),
    ],
)
def test_what_cannot_be_exported_is_named_with_operator_and_layer(fashion, module, error, words):
    with pytest.raises(error) as caught:
        export(nn.Sequential(module), data=fashion)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_a_batch_size_written_into_the_code_is_found(fashion):
    with pytest.raises(ExportError):
        export(nn.Sequential(Fixed()), data=fashion)


def test_arguments_are_checked(trained, fashion):
    with pytest.raises(ArgumentError, match="give data="):
        export(trained)
    with pytest.raises(ArgumentError, match="opset"):
        export(trained, data=fashion, opset=9)
    with pytest.raises(ModelError, match="already is an ONNX file"):
        export(export(trained, data=fashion), data=fashion)
    with pytest.raises(ArgumentError, match=r"expected a torch\.nn\.Module"):
        export("net", data=fashion)


def test_nothing_is_printed_or_warned(trained, fashion, capfd, recwarn):
    export(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), data=fashion)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""
    assert [str(w.message) for w in recwarn if "kit" in w.filename] == []

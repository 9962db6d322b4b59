import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import kit
from kit.errors import CorruptFileError, ModelError, StorageError, UnsafeModelError
from kit.models import Architecture
from kit.runtime.folder import load, save
from kit.statistics import Measurement
from kit.variant import Variant, as_variant


@pytest.fixture(scope="module")
def inputs(fashion):
    return fashion.test.inputs[:50].numpy()


@pytest.fixture
def saved(trained, tmp_path):
    return save(trained, tmp_path / "models" / "convnet")


def edit(folder, change):
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


def test_a_loaded_module_computes_the_same_and_knows_its_past(trained, saved, inputs):
    loaded = load(saved)
    assert np.array_equal(loaded(inputs), trained(inputs))
    assert loaded.name == trained.name
    assert loaded.signature == trained.signature
    assert [step.verb for step in loaded.recipe] == ["train"]
    assert loaded.recipe[0].settings["epochs"] == trained.recipe[0].settings["epochs"]
    assert loaded.report.to_dict()["epochs"]
    assert not loaded.module.training
    assert sorted(path.name for path in saved.iterdir()) == ["card.json", "model.safetensors"]
    assert [path.name for path in saved.parent.iterdir()] == ["convnet"]


def test_a_fresh_process_loads_it_to_the_same_answers(trained, saved, inputs, tmp_path):
    np.save(tmp_path / "inputs.npy", inputs)
    code = (
        f"import kit, numpy as np; net = kit.load({str(saved)!r});"
        f"np.save({str(tmp_path / 'outputs.npy')!r}, net(np.load({str(tmp_path / 'inputs.npy')!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert np.allclose(np.load(tmp_path / "outputs.npy"), trained(inputs), atol=1e-5)


def test_an_onnx_file_is_kept_with_its_report_and_figures(trained, fashion, inputs, tmp_path):
    accuracy = Measurement(0.81, 0.79, 0.83, 2000, "", "Wilson 95 %")
    variant = kit.export(trained, data=fashion).with_figures(accuracy=accuracy)
    loaded = load(save(variant, tmp_path / "onnx"))
    assert np.array_equal(loaded(inputs), variant(inputs))
    assert loaded.figures == {"accuracy": accuracy}
    assert loaded.report.to_dict()["agreed"] is True
    assert loaded.file == tmp_path / "onnx" / "model.onnx"


def test_a_pruned_net_is_rebuilt_with_its_own_widths(trained, fashion, inputs, tmp_path):
    slim = kit.prune(trained, fashion, ratio=0.5, finetune=0)
    again = load(save(slim, tmp_path / "slim"))
    assert np.array_equal(again(inputs), slim(inputs))
    assert sum(p.numel() for p in again.module.parameters()) == sum(
        p.numel() for p in slim.module.parameters()
    )


def test_masks_are_saved_as_the_weights_they_give(trained, fashion, inputs, tmp_path):
    sparse = kit.prune(trained, fashion, ratio=0.8, method="magnitude", finetune=0)
    again = load(save(sparse, tmp_path / "sparse"))
    assert np.array_equal(again(inputs), sparse(inputs))
    assert (again.module[0][0].weight == 0).any()


def test_a_module_of_ones_own_is_given_again_to_load(fashion, inputs, tmp_path):
    def make():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.BatchNorm1d(32), nn.Linear(32, 10))

    variant = as_variant(make(), fashion.signature)
    folder = save(variant, tmp_path / "own")
    with pytest.raises(ModelError, match=r"module=MyNet\(\)"):
        load(folder)
    given = make()
    before = given[1].weight.clone()
    assert np.array_equal(load(folder, module=given)(inputs), variant(inputs))
    assert torch.equal(given[1].weight, before)
    with pytest.raises(ModelError, match="do not fit the architecture"):
        load(folder, module=nn.Linear(784, 10))


def test_a_net_changed_by_hand_is_not_taken_for_its_plan(fashion, inputs, tmp_path):
    """Its weights would fit the plan, and its answers would be others."""
    net = kit.models.lenet_300_100()
    net[2] = nn.Tanh()
    variant = as_variant(net, fashion.signature)
    folder = save(variant, tmp_path / "changed")
    with pytest.raises(ModelError, match="cannot rebuild"):
        load(folder)
    other = kit.models.lenet_300_100()
    other[2] = nn.Tanh()
    assert np.array_equal(load(folder, module=other)(inputs), variant(inputs))


def test_saving_again_replaces_a_model_folder_and_nothing_else(trained, saved, fashion, tmp_path):
    small = as_variant(kit.models.lenet_300_100(), fashion.signature)
    save(small, saved)
    assert load(saved).name == small.name
    assert [path.name for path in saved.parent.iterdir()] == ["convnet"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    for target in (tmp_path / "notes", tmp_path / "notes" / "thesis.txt"):
        with pytest.raises(StorageError, match="is no model folder"):
            save(small, target)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    assert load(save(small, tmp_path / "empty")).name == small.name


def test_a_changed_or_shortened_file_is_named_with_its_checksum(saved):
    weights = saved / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptFileError, match=r"model\.safetensors was changed: SHA-256"):
        load(saved)
    weights.write_bytes(content[:-100])
    with pytest.raises(CorruptFileError, match="its card says"):
        load(saved)
    weights.unlink()
    with pytest.raises(CorruptFileError, match="is missing"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.pop("task"), "lacks the field 'task'"),
        (lambda card: card.update(task="poetry"), "unknown task"),
        (lambda card: card.update(classes="abc"), "wrong kind"),
        (lambda card: card["input"].update(shape=[1, -28, 28]), "wrong kind"),
        (lambda card: card.update(recipe=[["rm", "-rf"]]), "wrong kind"),
        (lambda card: card.update(files={}), "names neither"),
        (
            lambda card: card["files"].update({"../secret": {"sha256": "0", "bytes": 1}}),
            "outside its own folder",
        ),
        (
            lambda card: card["files"].update({"/etc/passwd": {"sha256": "0", "bytes": 1}}),
            "outside its own folder",
        ),
        (lambda card: card.update(runtime="pickle"), "unknown runtime"),
        (lambda card: card.update(figures={"accuracy": 1}), "wrong kind"),
    ],
)
def test_a_card_that_is_not_valid_is_refused(saved, change, words):
    edit(saved, change)
    with pytest.raises(CorruptFileError, match=words):
        load(saved)


@pytest.mark.parametrize("text", ["", "[1, 2", "[]", "null", "[" * 100_000, "\ud800"])
def test_a_card_that_is_no_json_object_is_refused(saved, text):
    (saved / "card.json").write_text(text, errors="surrogatepass")
    with pytest.raises(CorruptFileError, match=r"card\.json"):
        load(saved)


def test_hostile_architectures_and_weights_run_nothing(saved):
    edit(saved, lambda card: card.update(architecture={"factory": "os.system", "arguments": {}}))
    with pytest.raises(kit.errors.KitError, match="unknown architecture"):
        load(saved)
    edit(saved, lambda card: card.update(architecture={"factory": "convnet", "arguments": {"evil": 1}}))
    with pytest.raises(ModelError, match="which fails"):
        load(saved)


def test_a_pickle_in_place_of_the_weights_is_not_opened(trained, saved):
    import hashlib

    path = saved / "model.safetensors"
    torch.save(trained.module.state_dict(), path)
    content = path.read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(saved, lambda card: card["files"].update({"model.safetensors": entry}))
    with pytest.raises(UnsafeModelError, match="is a pickle"):
        load(saved)


def test_a_card_of_a_newer_version_asks_for_an_update(saved):
    edit(saved, lambda card: card.update(format=99))
    with pytest.raises(ModelError, match="update maaskit"):
        load(saved)


def test_what_is_no_model_folder_is_said(tmp_path):
    with pytest.raises(ModelError, match="is no model folder"):
        load(tmp_path)
    with pytest.raises(ModelError, match="is no model folder"):
        kit.open(tmp_path)


def test_a_folder_that_cannot_be_written(trained, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for target in ("/proc/maaskit/model", tmp_path / "file" / "model"):
        with pytest.raises(StorageError, match="cannot write"):
            save(trained, target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_model_that_does_not_answer_the_same_again_never_takes_its_place(saved, fashion):
    class Random(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10] + torch.rand(10)

    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(ModelError, match="does not compute the same"):
        save(as_variant(Random(), fashion.signature), saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["convnet"]


def small_disk(folder):
    """Mount 100 kB where the system allows it; elsewhere limit the size of a file, as a full disk would."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    return mounted


def test_a_full_disk_leaves_the_old_model_and_nothing_half_written(fashion, tmp_path):
    disk = tmp_path / "disk"
    mounted = small_disk(disk)
    try:
        old = as_variant(kit.models.convnet(widths=(2, 4, 4)), fashion.signature)
        save(old, disk / "model")
        before = sorted(str(path) for path in disk.rglob("*"))
        big = as_variant(kit.models.lenet_300_100(), fashion.signature)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(StorageError, match="free some space"):
                save(big, disk / "model")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sorted(str(path) for path in disk.rglob("*")) == before
        assert load(disk / "model").name == old.name
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def test_numbers_that_json_lacks_become_null_and_come_back_as_nan(trained, tmp_path):
    odd = trained.with_figures(loss=Measurement(float("nan"), 0.0, float("inf"), 3, "", "none"))
    folder = save(odd, tmp_path / "odd")
    json.loads((folder / "card.json").read_text(), parse_constant=pytest.fail)
    assert np.isnan(load(folder).figures["loss"].value)


def test_the_architecture_stands_in_the_card(saved):
    card = json.loads((saved / "card.json").read_text())
    assert Architecture(**card["architecture"]) == Architecture("convnet", {"widths": [8, 16, 32]})
    assert card["files"]["model.safetensors"]["bytes"] == (saved / "model.safetensors").stat().st_size


def test_another_kind_of_model_cannot_be_saved(fashion, tmp_path):
    other = Variant(lambda inputs: inputs.reshape(len(inputs), -1), "lambda", fashion.signature)
    with pytest.raises(ModelError, match="expected a module or a file"):
        save(other, tmp_path / "other")
    assert list(tmp_path.iterdir()) == []

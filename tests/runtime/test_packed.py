"""One small file: nothing is lost, a fresh process agrees, and nothing that was tampered with is believed."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import torch
from torch import nn

import kit
from kit.errors import CorruptFileError, KitError, ModelError, UnsafeModelError
from kit.runtime import packed
from kit.runtime.packed import pack, unpack
from kit.variant import Variant


def sparse(module: nn.Module, density: float = 0.2, step: float = 0.125, seed: int = 0) -> nn.Module:
    """Make a net whose weights are few and small multiples of a step."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.parameters():
        kept = torch.rand(tensor.shape, generator=generator) < density
        tensor.data = torch.randint(-3, 4, tensor.shape, generator=generator) * step * kept
    return module


@pytest.fixture(scope="module")
def signature():
    return kit.data.fashion_mnist().signature


@pytest.fixture(scope="module")
def small(signature, tmp_path_factory):
    """A packed convnet of a few kilobytes, for the tests that read it often."""
    net = sparse(kit.models.convnet(widths=(4, 6, 8)), density=0.3)
    return pack(
        Variant(net, "small", signature), tmp_path_factory.mktemp("packed") / "small.kit", history=False
    )


def same_state(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def test_a_trained_net_loses_nothing_and_keeps_its_card(trained, fashion, tmp_path):
    path = kit.pack(trained, tmp_path / "deep" / "net.kit")
    loaded = kit.load(path)
    assert same_state(trained.module, loaded.module)
    assert loaded.recipe == trained.recipe
    assert loaded.signature == trained.signature
    assert loaded.report.to_dict()["epochs"]
    assert np.array_equal(loaded(fashion.test.inputs[:64]), trained(fashion.test.inputs[:64]))


def test_a_fresh_process_gives_the_same_predictions(fashion, tmp_path):
    net = sparse(kit.models.convnet(widths=(8, 8, 16)), density=0.1)
    variant = Variant(net, "net", fashion.signature)
    path = pack(variant, tmp_path / "net.kit")
    np.save(tmp_path / "inputs.npy", fashion.test.inputs[:200].numpy())
    code = (
        "import sys, kit, numpy as np;"
        "session = kit.open(sys.argv[1]); assert session.name == 'net' and session.signature;"
        "np.save(sys.argv[3], session(np.load(sys.argv[2])))"
    )
    answers = tmp_path / "answers.npy"
    subprocess.run([sys.executable, "-c", code, path, tmp_path / "inputs.npy", answers], check=True)
    assert np.array_equal(np.load(answers), variant(fashion.test.inputs[:200]))


def test_sparse_small_integers_cost_little_more_than_their_entropy(signature, tmp_path):
    net = sparse(kit.models.convnet(widths=(8, 16, 24)), density=0.05)
    bits = 0.0
    for tensor in net.state_dict().values():
        share = torch.unique(tensor, return_counts=True)[1] / tensor.numel()
        bits -= float((share * share.log2()).sum()) * tensor.numel()
    size = pack(Variant(net, "net", signature), tmp_path / "a.kit", history=False).stat().st_size
    assert bits / 8 * 0.97 < size < bits / 8 * 1.1 + 300  # these weights are random: nothing can be guessed


def test_rows_and_columns_are_exploited(signature, tmp_path):
    """Weights that stand in few rows and columns cost less than as many that stand anywhere."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 40))
    sizes = []
    for rows, columns, density in ((40, 784, 0.04), (8, 157, 1.0)):
        net[1].weight.data = torch.zeros(40, 784)
        block = sparse(nn.Linear(columns, rows, bias=False), density=density).weight.detach()
        net[1].weight.data[:: 40 // rows, :: -(-784 // columns)] = block
        sizes.append(pack(Variant(net, "net", signature), tmp_path / f"{rows}.kit").stat().st_size)
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("values", ["plain", "codebook", "grid", "one", "odd"])
def test_every_kind_of_tensor_comes_back(signature, tmp_path, dtype, values):
    made = {
        "plain": torch.randn(10, 784),
        "codebook": torch.randn(20)[torch.randint(0, 20, (10, 784))],
        "grid": torch.randint(-20, 21, (10, 784)) * 0.0625,
        "one": torch.full((10, 784), 0.1),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-38]).repeat(1960).view(10, 784),
    }
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    net[1].weight.data = made[values]
    net = net.to(dtype)
    loaded = unpack(pack(Variant(net, "own", signature), tmp_path / "x.kit"), module=net)
    assert torch.equal(loaded.module[1].weight.nan_to_num(7), net[1].weight.nan_to_num(7))
    assert loaded.module[1].weight.dtype == dtype
    small = (tmp_path / "x.kit").stat().st_size < 1500 + 784 * 10 * 5 / 8 * 1.1
    assert small == (values != "plain")


def test_large_tensors_and_batch_statistics(tmp_path, signature):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 1500), nn.BatchNorm1d(1500), nn.Linear(1500, 10))
    sparse(net, density=0.01)
    net(torch.randn(5, 784))
    net.eval()
    loaded = unpack(pack(Variant(net, "own", signature), tmp_path / "x.kit"), module=net)
    assert same_state(net, loaded.module)
    assert (tmp_path / "x.kit").stat().st_size < 50_000


def test_a_pruned_net_keeps_its_widths_and_its_masks_become_zeros(trained, tmp_path):
    layer = kit.models.lenet5()
    slim = kit.models.fit_to_weights(
        layer,
        {
            "0.weight": torch.randn(6, 1, 5, 5), "0.bias": torch.zeros(6),
            "2.weight": torch.randn(10, 6, 5, 5), "2.bias": torch.zeros(10),
            "5.weight": torch.randn(30, 160), "5.bias": torch.zeros(30),
            "7.weight": torch.randn(10, 30), "7.bias": torch.zeros(10),
        },
    )  # fmt: skip
    from kit.compression.pruning import masks

    masks.apply(slim, {"5": torch.rand(30, 160) < 0.1})
    loaded = unpack(pack(Variant(slim, "slim", trained.signature), tmp_path / "slim.kit"))
    assert torch.equal(loaded.module[5].weight, slim[5].weight)
    assert loaded.module[0].out_channels == 6


def test_what_cannot_be_packed_or_read_says_so(trained, tmp_path, small):
    own = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    path = pack(Variant(own, "own", trained.signature), tmp_path / "own.kit")
    with pytest.raises(ModelError, match=r"module=MyNet\(\)"):
        unpack(path)
    with pytest.raises(KitError):
        unpack(path, module=nn.Sequential(nn.Flatten(), nn.Linear(784, 9)))
    (tmp_path / "text.kit").write_text("hello")
    with pytest.raises(ModelError, match="no packed model"):
        unpack(tmp_path / "text.kit")
    (tmp_path / "new.kit").write_bytes(b"kit\x02" + small.read_bytes()[4:])
    with pytest.raises(ModelError, match="update maaskit"):
        unpack(tmp_path / "new.kit")
    with pytest.raises(UnsafeModelError, match="largest=1,000"):
        unpack(small, largest=1000)


def forged(card: dict, tail: bytes = b"\0\0") -> bytes:
    """Return a file with a valid checksum whose card is what an attacker wants."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=packed._WORDS)
    text = deflate.compress(json.dumps(card).encode()) + deflate.flush()
    body = packed._length(len(text)) + text + tail
    return packed.MAGIC + zlib.crc32(body).to_bytes(4, "big") + body


HOSTILE = {
    "many classes": {"factory": "lenet5", "arguments": {"classes": 10**9}},
    "beyond 64 bits": {"factory": "lenet5", "arguments": {"classes": 10**30}},
    "wide": {"factory": "convnet", "arguments": {"widths": [10**6, 10**6, 10**6]}},
    "negative": {"factory": "lenet5", "arguments": {"classes": -1}},
    "text": {"factory": "lenet5", "arguments": {"classes": "x" * 1000}},
    "many widths": {"factory": "convnet", "arguments": {"widths": [8] * 100_000}},
    "unknown": {"factory": "os.system", "arguments": {"command": "true"}},
    "unknown argument": {"factory": "lenet5", "arguments": {"device": "cuda"}},
    "not a name": {"factory": ["lenet5"], "arguments": {}},
    "no arguments": {"factory": "lenet5"},
}


@pytest.mark.parametrize("made", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_plan_is_refused_at_once(tmp_path, small, made):
    card = json.loads(kit.runtime.card.describe(unpack(small), files={}).to_json())
    (tmp_path / "x.kit").write_bytes(forged(card | {"architecture": made}))
    begun = time.process_time()
    with pytest.raises(KitError):
        unpack(tmp_path / "x.kit")
    assert time.process_time() - begun < 1


def test_a_card_that_unfolds_to_gigabytes_is_refused(tmp_path):
    (tmp_path / "x.kit").write_bytes(forged({"name": "x" * 20_000_000}))
    with pytest.raises(CorruptFileError, match="card"):
        unpack(tmp_path / "x.kit")


def test_more_layers_than_allowed(tmp_path, small, monkeypatch):
    monkeypatch.setattr(packed, "_MODULES", 5)
    with pytest.raises(UnsafeModelError, match="more than 5 layers"):
        unpack(small)


def test_every_truncation_is_refused(small, tmp_path):
    content = small.read_bytes()
    for length in {*range(60), *range(60, len(content), 17), len(content) - 1}:
        (tmp_path / "x.kit").write_bytes(content[:length])
        with pytest.raises((CorruptFileError, ModelError)):
            unpack(tmp_path / "x.kit")


def test_fuzz_changed_files_are_refused_or_read(small, tmp_path):
    """With its checksum repaired a changed file may be a sound one; else it is refused, in little time."""
    content, generator = small.read_bytes(), random.Random(0)
    path, refused, slowest = tmp_path / "x.kit", 0, 0.0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rounds = 400
    for turn in range(rounds):
        changed = bytearray(content[8:])
        for _ in range(generator.choice((1, 1, 2, 5, 50))):
            place = generator.randrange(min(len(changed), 300 if turn % 2 else len(changed)))
            kind = generator.randrange(3)
            if kind == 0:
                changed[place] = generator.randrange(256)
            elif kind == 1:
                del changed[place : place + generator.randrange(1, 20)]
            else:
                changed[place:place] = generator.randbytes(generator.randrange(1, 20))
        mended = turn % 10 != 0
        checksum = zlib.crc32(changed).to_bytes(4, "big") if mended else content[4:8]
        path.write_bytes(content[:4] + checksum + changed)
        begun = time.process_time()
        try:
            unpack(path)
        except KitError:
            refused += 1
        else:
            assert mended
        slowest = max(slowest, time.process_time() - begun)
    unit = 2**20 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / unit
    print(f"{refused} of {rounds} refused; slowest {slowest:.3f} s of CPU; memory grew by {grown:.0f} MiB")
    assert refused > 0.5 * rounds
    assert slowest < 1
    assert grown < 100

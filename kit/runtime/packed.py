"""The packed file: one small file that a fresh process turns into the same model, bit by bit."""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import replace
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.nn.utils import parametrize

from kit import files
from kit.errors import CorruptFileError, KitError, ModelError, UnsafeModelError
from kit.models import Architecture, architecture_of, build, fit_to_weights
from kit.runtime import card as cards
from kit.runtime.coding import Decoder, Encoder, Model
from kit.runtime.tensors import Reader, Writer
from kit.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kit.runtime.card import Card

MAGIC = b"kit\x01"  # the last byte is the version of the format
_MODULES = 4096  # a plan that wants more is refused while it is being built
_CARD = 2**20  # bytes of a card
LARGEST = 2**26  # weights that a file may declare
# Deflate starts with these words known: a card that differs little from them costs few bytes.
_WORDS = b"""{"format":1,"name":"lenet_300_100 lenet5 mobilenet convnet pruned distilled squeezed",
"task":"regression","classes":["zero","one","two"],"runtime":"torch","precision":null,"files":{},"figures":{
"accuracy":{"value":0.99,"low":0.9,"high":0.95,"n":10000,"unit":"ms","method":"Wilson 95 %"}},"report":null,
"versions":{"maaskit":"0.1.0","torch":"2.13.0","numpy":"2.4.6","onnx":"1.23.2","onnxruntime":"1.31.1"},
"recipe":[{"verb":"prune","settings":{"ratio":0.5,"method":"structured","steps":1,"finetune":1,"distill":true,
"teacher":"epochs":5,"lr":0.001,"seed":0,"bytes":}},{"verb":"train","settings":{"loss":"auto",
"optimizer":"adam","schedule":"onecycle","batch_size":128}},{"name":"lenet5","task":"classification",
"classes":["0","1","2","3","4","5","6","7","8","9"],"input":{"shape":[3,32,32],[1,28,28],"dtype":"float32"},
"outputs":10,"preprocess":{"scale":1.0,0.00392156862745098,"mean":[0.0],[0.1307],"std":[1.0],[0.3081]},
"architecture":{"factory":"lenet_300_100","arguments":{"classes":10,"channels":1,"widths":{}}}"""
_DEFAULTS: dict[str, Any] = {
    "format": cards.FORMAT,
    "runtime": "torch",
    "precision": None,
    "files": {},
    "figures": {},
    "report": None,
    "recipe": [],
    "versions": {},
}


def pack(variant: Variant, path: str | Path, *, history: bool = True) -> Path:
    """Write a variant as one small file: its card and its weights, entropy-coded, without any loss.

    Packing changes nothing and makes little of ordinary weights; what makes a file small is done before,
    by pruning, sharing and rounding weights. Each tensor is kept as multiples of a step or as places in a
    codebook if its values are such, and byte by byte otherwise. The file is read again and compared with the
    variant before it takes its name.

    Args:
        variant: of a module; masks and other parametrizations are written as the weights they give.
        path: of the file, such as "lenet.kit"; its parents are created.
        history: also keep the recipe, the figures, the report and the versions of the libraries; without
            them the card holds what a fresh process needs to run the model.

    Returns:
        The path. `os.path.getsize` is what the model costs.

    Raises:
        ModelError: when the variant is a model file, or what was written does not give the same weights.
        StorageError: when the file cannot be written.

    Source: S. Han, H. Mao, W. J. Dally, "Deep Compression", arXiv:1510.00149, for the idea.

    Example: `kit.pack(small, "small.kit").stat().st_size`
    """
    target, module = Path(path), _plain(variant)
    tensors = module.state_dict()
    with files.atomic(target) as temporary:
        temporary.write_bytes(_content(variant, module, history=history))
        found = unpack(temporary, module=None if architecture_of(module) else module).module.state_dict()
        different = [key for key in tensors if not _equal(tensors[key], found[key])]
        if different:
            raise ModelError(f"{different[0]!r} does not come back as it was; nothing was written")
    return target


def unpack(path: str | Path, *, module: nn.Module | None = None, largest: int = LARGEST) -> Variant:
    """Read a packed file.

    Whatever a file claims, it is refused before much is computed or allocated: its checksum is verified,
    the plan of the net is built without memory and with a limited number of layers, no tensor may be larger
    than the plan says, and no stream may end early or late.

    Args:
        path: what `pack` wrote.
        module: a module of the same class, for a model that `kit.models` did not make; it stays as it is.
        largest: refuse a file that declares more weights.

    Returns:
        The variant, on the CPU, in eval mode, with the weights that were packed.

    Raises:
        CorruptFileError: when the file is cut short or changed.
        UnsafeModelError: when it asks for more layers or weights than allowed.
        ModelError: when this is no packed file, or its module cannot be rebuilt.

    Example: `unpack("small.kit")`; `kit.load` does the same.
    """
    file = Path(path)
    content = file.read_bytes()
    if not is_packed(file):
        raise ModelError(f"{file} is no packed model; kit.pack writes one")
    if content[:4] != MAGIC:
        raise ModelError(
            f"{file} has format {content[3:4]!r}, this maaskit reads {MAGIC[3:]!r}; update maaskit"
        )
    try:
        card, raw, stream = _parts(content[4:])
        template = _template(card, module, largest)
        decoder = Decoder(stream)
        reader = Reader(Model(decoder), raw)
        weights = {name: reader.tensor(like) for name, like in template.items()}
        if decoder.rest or not reader.finished():
            raise CorruptFileError("bytes are left over; it was changed")
        blank = _plain(module) if module is not None else build(_made(card))
        net = fit_to_weights(blank, weights).eval()
    except KitError as error:
        raise type(error)(f"{file}: {error}") from None
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CorruptFileError(f"{file} describes no model that can be built: {error}") from error
    report = cards.RecordedReport(card.report) if card.report is not None else None
    return Variant(net, card.name, card.signature, card.recipe, None, report, card.figures)


def is_packed(path: Path) -> bool:
    """Tell whether a file begins as packed files do, whatever its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(3) == MAGIC[:3]


def size(variant: Variant, *, history: bool = False) -> int:
    """Return how many bytes `pack` would write.

    Args:
        variant: of a module.
        history: as in `pack`.
    """
    return len(_content(variant, _plain(variant), history=history))


def _content(variant: Variant, module: nn.Module, *, history: bool) -> bytes:
    made = architecture_of(module)
    card = cards.describe(variant, files={}, architecture=made)
    if not history:
        card = replace(card, recipe=(), figures={}, report=None, versions={})
    return MAGIC + _body(card, _ordered(module.state_dict()), _shapes(made))


def _body(card: Card, tensors: Mapping[str, torch.Tensor], usual: Mapping[str, torch.Size]) -> bytes:
    """Return the checksum, the card, what is kept byte by byte, and the coded stream up to the end."""
    encoder = Encoder()
    writer = Writer(Model(encoder))
    for name, tensor in tensors.items():
        writer.tensor(tensor, usual.get(name))
    text = _deflated(card)
    raw = writer.finish()
    body = _length(len(text)) + text + _length(len(raw)) + raw + encoder.finish()
    return zlib.crc32(body).to_bytes(4, "big") + body


def _parts(content: bytes) -> tuple[Card, bytes, bytes]:
    """Take apart what `_body` put together; the third part is the coded stream."""
    body = content[4:]
    if len(content) < 4 or zlib.crc32(body).to_bytes(4, "big") != content[:4]:
        raise CorruptFileError("the checksum is wrong: it was cut short or changed")
    text, body = _cut(body)
    raw, stream = _cut(body)
    return _inflated(text), raw, stream


def _deflated(card: Card) -> bytes:
    content = json.loads(card.to_json())
    brief = {key: value for key, value in content.items() if _DEFAULTS.get(key, ...) != value}
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=_WORDS)
    text = json.dumps(brief, separators=(",", ":"), ensure_ascii=False).encode()
    return deflate.compress(text) + deflate.flush()


def _inflated(data: bytes) -> Card:
    inflate = zlib.decompressobj(-15, zdict=_WORDS)
    try:
        text = inflate.decompress(data, _CARD)
        content = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise CorruptFileError(f"its card cannot be read: {error}") from None
    if not inflate.eof or inflate.unused_data or not isinstance(content, dict):
        raise CorruptFileError("its card is too long or no card")
    path = files.scratch("card.json")
    path.write_text(json.dumps(_DEFAULTS | content), encoding="utf-8")
    try:
        return cards.read(path)
    finally:
        path.unlink()


def _length(number: int) -> bytes:
    """Write a whole number in groups of seven bits, the last with its eighth bit clear."""
    head = b"" if number < 128 else _length(number >> 7)
    return bytes(byte | 128 for byte in head) + bytes([number & 127])


def _cut(body: bytes) -> tuple[bytes, bytes]:
    """Return as many bytes as the length in front says, and what follows them."""
    number = 0
    for k, byte in enumerate(body[:5]):
        number = number << 7 | byte & 127
        if byte < 128:
            if number > len(body) - k - 1:
                raise CorruptFileError("a part is longer than the file")
            return body[k + 1 : k + 1 + number], body[k + 1 + number :]
    raise CorruptFileError("a length is missing")


def _template(card: Card, module: nn.Module | None, largest: int) -> dict[str, torch.Tensor]:
    """Return tensors without memory, of the shapes that the weights have if nothing was pruned."""
    blank = _planned(_made(card)) if module is None else _plain(module).to("meta")
    tensors = _ordered(blank.state_dict())
    count = sum(tensor.numel() for tensor in tensors.values())
    if count > largest:
        raise UnsafeModelError(f"it declares {count:,} weights, more than largest={largest:,}")
    return tensors


def _ordered(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put the tensors of each layer in order: one that was masked or rounded holds them in another."""
    layers = {name.rpartition(".")[0]: place for place, name in enumerate(tensors)}
    names = sorted(tensors, key=lambda name: (layers[name.rpartition(".")[0]], name))
    return {name: tensors[name] for name in names}


def _planned(made: Architecture) -> nn.Module:
    """Build a net without memory, but for its layers, of which there may be only so many."""
    thread, layers = get_ident(), 0

    def count(_module: nn.Module, _name: str, _layer: nn.Module | None) -> None:
        nonlocal layers
        layers += get_ident() == thread
        if layers > _MODULES:
            raise UnsafeModelError(f"it declares more than {_MODULES:,} layers")

    handle = register_module_module_registration_hook(count)
    try:
        with torch.device("meta"):
            return build(made)
    finally:
        handle.remove()


def _made(card: Card) -> Architecture:
    if card.architecture is None:
        raise ModelError(
            "kit.models did not make its module; give one of the same class: kit.load(path, module=MyNet())"
        )
    return card.architecture


def _shapes(made: Architecture | None) -> dict[str, torch.Size]:
    plan = _planned(made).state_dict() if made else {}
    return {name: tensor.shape for name, tensor in plan.items()}


def _plain(variant: Variant | nn.Module) -> nn.Module:
    """Return a copy on the CPU with masks and other parametrizations applied for good."""
    module = copy.deepcopy(variant.module if isinstance(variant, Variant) else variant).cpu().eval()
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer):
            # A copy shares the class that holds the computed weights: removing them would break the original.
            kind = type(layer)
            layer.__class__ = type(kind.__name__, kind.__bases__, dict(kind.__dict__))
        for name in list(getattr(layer, "parametrizations", {})):
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
    return module


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Tell whether two tensors hold the same numbers; both zeros are one, and NaN is itself."""
    same = first.dtype == second.dtype and first.shape == second.shape
    return same and bool(((first == second) | (first.isnan() & second.isnan())).all())

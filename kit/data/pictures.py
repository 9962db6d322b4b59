"""Photographs and drawings as a model's raw input: upright, in its colours, its size, its polarity."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from kit import media
from kit.errors import DataError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.variant import Signature


class Picture(NamedTuple):
    """A picture as a raw sample.

    Attributes:
        raw: (C, H, W) uint8, as the data sets hold it.
        inverted: whether dark and light were exchanged.
        size: width and height of what was given.
    """

    raw: torch.Tensor
    inverted: bool
    size: tuple[int, int]


def read_picture(source: Any, signature: Signature, *, invert: bool | Literal["auto"] = "auto") -> Picture:
    """Turn a picture into a raw sample for a model: the whole picture, its border continued.

    Args:
        source: a path, the bytes of a PNG, JPEG or any other file that Pillow reads (of an animation the
            first picture), a PIL image, or an array (H, W) or (H, W, 3 or 4) of bytes, of 16-bit numbers or
            of floats from 0 to 1.
        signature: the model's: grey or colour, and the size.
        invert: whether to exchange dark and light; "auto" does what `signature.media` says, else it does
            for a grey picture with a light border, since the nets of this kit have learnt light garments and
            digits on a black ground.

    Raises:
        DataError: when it is no picture that can be read, or has more pixels than Pillow allows
            (89 million), for a decompression bomb would fill the memory.
        ModelError: when the model does not take pictures.
    """
    channels, height, width = image_shape(signature)
    image, size = _decode(source, "L" if channels == 1 else "RGB", (width, height))
    how = signature.media if isinstance(signature.media, media.Picture) else media.Picture()
    array = _fit(image, width, height) if how.crop is None else _middle_of(image, width, height, how.crop)
    if invert == "auto" and how.invert is not None:
        invert = how.invert
    flip = channels == 1 and (bool(_border(array).mean() > 127) if invert == "auto" else invert)
    raw = torch.from_numpy(255 - array if flip else array.copy())
    return Picture(raw[None] if channels == 1 else raw.permute(2, 0, 1).contiguous(), flip, size)


def centred(raw: torch.Tensor, box: int = 20) -> torch.Tensor:
    """Return a drawing (1, H, W) uint8 scaled to a square of `box` pixels, its centre of mass in the middle.

    So MNIST was made. An empty drawing stays empty.

    Source: Y. LeCun et al., "The MNIST database": size normalization and centring.
    """
    from PIL import Image

    ink = raw[0].numpy()
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if len(rows) == 0:
        return raw
    part = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = box / max(part.shape)
    width, height = (max(1, round(side * factor)) for side in part.shape[::-1])
    small = np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.LANCZOS))
    result = np.zeros(ink.shape, np.uint8)
    top, left = (
        int(np.clip(round(full / 2 - _middle(small, axis)), 0, full - small.shape[axis]))
        for axis, full in enumerate(ink.shape)
    )
    result[top : top + height, left : left + width] = small
    return torch.from_numpy(result)[None]


def image_shape(signature: Signature) -> tuple[int, int, int]:
    """Return (channels, height, width) of a model that takes pictures.

    Raises:
        ModelError: when it takes something else.
    """
    match signature.shape:
        case (1 | 3 as channels, height, width):
            return channels, height, width
    raise ModelError(
        f"the model takes samples of shape {signature.shape}; a picture has the shape (1 or 3, height, width)"
    )


def _opened(source: Any) -> Any:
    """Return a PIL image of whatever was given; a file is not decoded yet."""
    from PIL import Image

    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray | torch.Tensor):
        return Image.fromarray(_bytes(np.asarray(source)))
    if not isinstance(source, bytes | str | Path):
        raise DataError(f"expected a picture (path, bytes, PIL image or array), got {type(source).__name__}")
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    if not content:
        raise DataError("the picture is empty (0 bytes); choose another file")
    return Image.open(io.BytesIO(content))


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an array's values as bytes, whatever they were."""
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}) or not array.size:
        raise DataError(f"expected an array (H, W) or (H, W, 3 or 4), got shape {array.shape}")
    if array.dtype == np.uint16:
        return (array / 257).round().astype(np.uint8)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise DataError("an array of floats must hold numbers from 0 to 1; scale it, or give bytes")
        return (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"expected bytes, 16-bit numbers or floats from 0 to 1, got {array.dtype}")
    return array


def _decode(source: Any, mode: str, least: tuple[int, int]) -> tuple[Any, tuple[int, int]]:
    """Return an upright image in `mode`, transparent parts white, and the size it came in."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _opened(source)
        size = image.size
        image.draft(mode, (8 * least[0], 8 * least[1]))  # a JPEG need not be decoded in full
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # Pillow itself would cut 16 bits off at 255 instead of scaling them
            upright = Image.fromarray(_bytes(np.asarray(upright).clip(0, 65535).astype(np.uint16)))
        upright = upright.convert("RGBA")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"the picture is too large ({error}); make it smaller first") from error
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{source} is no file; expected a picture") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = str(error).split("<")[0].strip() or type(error).__name__
        raise DataError(f"this is no picture that can be read ({reason}); PNG and JPEG are safe") from error
    opaque = Image.new("RGBA", upright.size, "white")
    opaque.alpha_composite(upright)
    return opaque.convert(mode), size


def _fit(image: Any, width: int, height: int) -> NDArray[np.uint8]:
    """Scale a picture into (height, width) without distortion; what is left over gets its border's mean."""
    from PIL import Image, ImageOps

    small = np.asarray(ImageOps.contain(image, (width, height), Image.Resampling.LANCZOS))
    result = np.empty((height, width, *small.shape[2:]), np.uint8)
    result[:] = _border(small).mean(axis=0).round()
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    result[top : top + small.shape[0], left : left + small.shape[1]] = small
    return result


def _middle_of(image: Any, width: int, height: int, crop: float) -> NDArray[np.uint8]:
    """Cut the middle out of a picture that was scaled until its shorter side is the model's over `crop`."""
    from PIL import Image, ImageOps

    wide, high = round(width / crop), round(height / crop)
    scaled = ImageOps.fit(image, (wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - width) // 2, (high - height) // 2
    return np.asarray(scaled.crop((left, top, left + width, top + height)))


def _border(array: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the pixels around an image (H, W) or (H, W, C), one after the other."""
    return np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]]).astype(np.float64)


def _middle(image: NDArray[np.uint8], axis: int) -> float:
    """Return the centre of mass along an axis, in pixels."""
    mass = image.astype(np.float64).sum(axis=1 - axis)
    return float((mass * np.arange(len(mass))).sum() / mass.sum())

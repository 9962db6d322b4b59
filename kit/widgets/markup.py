"""Small pieces of HTML: pictures, bars, figures, progress. All text that comes in is escaped."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from kit.errors import DataError
from kit.plots.canvas import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch


def picture(sample: torch.Tensor, alt: str, *, size: int = 84) -> str:
    """Return a sample (C, H, W), C = 1 or 3, as an `<img>`; its own range becomes black to white.

    One channel is drawn dark on light, as in the kit's figures.

    Raises:
        DataError: when the sample is no image.
    """
    if sample.ndim != 3 or sample.shape[0] not in {1, 3}:
        raise DataError(f"expected an image (1 or 3, H, W), got a sample of shape {tuple(sample.shape)}")
    return (
        f'<img alt="{escape(alt)}" width="{size}" height="{size}" '
        f'style="image-rendering:pixelated;border:1px solid #8884;object-fit:contain" src="{_png(sample)}">'
    )


def _png(sample: torch.Tensor) -> str:
    from PIL import Image

    values = sample.detach().to("cpu").float().numpy()
    low, high = float(values.min()), float(values.max())
    grey = np.round((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    array = 255 - grey[0] if len(grey) == 1 else np.moveaxis(grey, 0, -1)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with their values, side by side."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="kit-facts">{items}</dl>'


def progress(share: float, label: str, text: str) -> str:
    """Return a progress bar that says `text` (also to a screen reader), and the text beside it."""
    percent = min(max(100 * share, 0.0), 100.0)
    return (
        f'<div class="kit-bar" role="progressbar" aria-label="{escape(label)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent:.0f}" aria-valuetext="{escape(text)}">'
        f'<div style="width:{percent:.1f}%"></div></div><div>{escape(text)}</div>'
    )


def bars(rows: Sequence[tuple[str, float, str]], *, caption: str, colour: int = 0) -> str:
    """Return horizontal bars as a table: a name, a length from 0 to 1, and the value in words."""
    fill = COLOURS[colour % len(COLOURS)]
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="kit-length"><div style="background:{fill};'
        f'width:{100 * min(max(share, 0), 1):.1f}%"></div></td><td>{escape(value)}</td></tr>'
        for name, share, value in rows
    )
    return f'<table class="kit-bars"><caption>{escape(caption)}</caption><tbody>{body}</tbody></table>'

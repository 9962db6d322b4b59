"""`Clip`: drop or record a sound, and every chosen variant says what it hears."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as W
from traitlets import Int

from kit.data.sounds import read_sound
from kit.errors import DataError, ModelError
from kit.media import Sound
from kit.widgets.asking import AskingPanel
from kit.widgets.photo import Drop

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from kit.variant import Variant

LONGEST = 60
"""Seconds that the panel takes: what is longer belongs into `kit.pipeline`, which reads hours."""


class Ear(Drop):
    """A place to choose, drop or record a sound; the browser makes it mono, at the models' rate.

    Attributes:
        rate: samples a second.
        longest: seconds that it takes.
    """

    _esm = Path(__file__).with_name("clip.js")
    rate = Int(8000).tag(sync=True)
    longest = Int(LONGEST).tag(sync=True)


class Clip(AskingPanel):
    """Give a sound; of its loudest stretch every variant says what it is.

    Args:
        variants: one or more that take sounds.

    Raises:
        ModelError: when one takes something else.

    Example:
        >>> kit.widgets.Clip([spotter, int8])  # doctest: +SKIP
    """

    title = "Clip"
    about = "Give a sound or record one; every chosen variant says what it hears."
    hint = "It stays on this machine."
    sense = "what the models hear"

    def __init__(self, variants: Sequence[Variant] | Variant) -> None:
        self.ear = Ear()
        super().__init__(variants, self.ear, W.HBox([]))
        sound = self._answers.signature.media
        if not isinstance(sound, Sound):
            raise ModelError(
                f"the models take samples of shape {self._answers.signature.shape}, not sounds: their "
                "signature has no media=Sound(…)"
            )
        self.ear.rate = sound.rate
        self.watch(self.ear, self._given, "count")

    @property
    def code(self) -> str:
        """The call that reads and answers."""
        return 'kit.pipeline(variant)("clip.wav")'

    def shown(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the spectrogram with low pitches below."""
        return raw.flip(1)

    def _given(self) -> None:
        """Read the sound and ask about it."""
        self.clear("")
        if self.ear.problem:
            raise DataError(self.ear.problem)
        content = bytes(self.ear.content)
        _check_length(content)
        self.ask(read_sound(content, self._answers.signature))


def _check_length(content: bytes) -> None:
    import soundfile

    try:
        seconds = soundfile.info(io.BytesIO(content)).duration if content else 0.0
    except soundfile.LibsndfileError:
        return  # reading it says what is wrong
    if seconds > LONGEST:
        raise DataError(
            f"the sound lasts {seconds / 60:.1f} minutes; this panel takes {LONGEST} seconds: cut it, "
            "or call kit.pipeline, which reads hours"
        )

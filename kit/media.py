"""What a model's samples are made of: a picture, a sound, a text, named columns. It travels with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kit.errors import ArgumentError, DataError, nearest, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Sound:
    """A stretch of sound as decades of energy in bands of pitch, (1, bands, frames); 0 is the loudest.

    Attributes:
        rate: samples a second.
        samples: how many make one input.
        window, hop: samples that one spectrum sees, and from one to the next.
        bands: mel bands from 0 Hz to half the rate.
        floor: decades below the loudest at which everything is silence.
    """

    rate: int = 8000
    samples: int = 8000
    window: int = 256
    hop: int = 128
    bands: int = 40
    floor: float = 4.0

    def __post_init__(self) -> None:
        whole = (self.rate, self.samples, self.window, self.hop, self.bands)
        if not all(type(n) is int and 0 < n <= 2**24 for n in whole) or not 0 < self.floor <= 20:
            raise ArgumentError(f"these are no settings of a sound: {self}")
        if self.window < 16 or self.hop > self.window or self.samples < self.window:
            raise ArgumentError(f"expected hop <= window <= samples and a window of 16 or more: {self}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input."""
        return 1, self.bands, self.samples // self.hop


@dataclass(frozen=True)
class Picture:
    """How a picture of any size becomes one of the model's.

    Attributes:
        crop: None shows the whole picture and continues its border. A share cuts out the middle: the shorter
            side is scaled to the model's size over `crop`, such as 224 / 256 for nets of ImageNet.
        invert: whether dark and light are exchanged; None does where a grey picture has a light border, as
            the nets of this kit that have learnt light garments and digits on a black ground need it.
    """

    crop: float | None = None
    invert: bool | None = None

    def __post_init__(self) -> None:
        if self.crop is not None and not 0.1 <= self.crop <= 1:
            raise ArgumentError(f"crop lies between 0.1 and 1, got {self.crop}")
        if self.invert not in {None, True, False}:
            raise ArgumentError(f"invert is True, False or None, got {self.invert!r:.60}")


@dataclass(frozen=True)
class Text:
    """Characters as their places in an alphabet.

    Attributes:
        alphabet: the characters, each once; a token is a place in it.
        other: whether the first of them stands for every character that is not in it, and fills up
            what is too short. Without it an unknown character is an error.
    """

    alphabet: str
    other: bool = False

    def __post_init__(self) -> None:
        if len(set(self.alphabet)) != len(self.alphabet) or not self.alphabet:
            raise ArgumentError(f"an alphabet holds each character once, got {self.alphabet!r:.60}")

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text.

        Raises:
            DataError: when a character is unknown; shows it, where it stands, and what is known.
        """
        if not isinstance(text, str):
            raise DataError(f"expected a text, got {type(text).__name__}")
        if not hasattr(self, "_places"):
            object.__setattr__(self, "_places", {c: i for i, c in enumerate(self.alphabet)})
        places: dict[str, int] = self._places  # type: ignore[attr-defined]
        if self.other:
            return [places.get(c, 0) for c in text]
        try:
            return [places[c] for c in text]
        except KeyError:
            at, c = next((i, c) for i, c in enumerate(text) if c not in places)
            known = "".join(c for c in self.alphabet if c.isprintable())
            raise DataError(
                f"the model does not know the character {_visible(c)} at place {at + 1}; "
                f"it knows line breaks and {known}"
            ) from None

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return "".join(self.alphabet[t] for t in tokens)


@dataclass(frozen=True)
class Subwords:
    """Pieces of words as a Hugging Face tokenizer cuts them.

    Attributes:
        tokenizer: its JSON, as `tokenizer.json` holds it.
        end: the token that ends an answer, if any.
    """

    tokenizer: str
    end: int | None = None

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        found: list[int] = self._opened().encode(text).ids
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; half a character comes out as U+FFFD."""
        text: str = self._opened().decode(list(tokens), skip_special_tokens=True)
        return text

    def _opened(self) -> Any:
        if not hasattr(self, "_open"):
            made = require("tokenizers", "text").Tokenizer.from_str(self.tokenizer)
            object.__setattr__(self, "_open", made)
        return self._open  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Columns:
    """A row of a table: its numbers by name.

    Attributes:
        names: of the columns, in the order of the model's input.
    """

    names: tuple[str, ...]

    def read(self, row: Mapping[str, Any]) -> list[float]:
        """Return the numbers of a row in the model's order.

        Raises:
            DataError: when a column is missing, unknown, or no finite number.
        """
        if extra := [name for name in row if name not in self.names]:
            raise DataError(f"unknown column {extra[0]!r}{nearest(str(extra[0]), self.names)}")
        if missing := [name for name in self.names if name not in row]:
            raise DataError(f"the row lacks {', '.join(missing[:5])}; expected {', '.join(self.names)}")
        return [float(row[name]) for name in self.names]


Media = Picture | Sound | Text | Subwords | Columns
_KINDS: dict[str, type[Media]] = {
    "picture": Picture,
    "sound": Sound,
    "text": Text,
    "subwords": Subwords,
    "columns": Columns,
}


def to_dict(media: Media | None) -> dict[str, Any] | None:
    """Return what a card holds of it."""
    if media is None:
        return None
    kind = next(name for name, known in _KINDS.items() if isinstance(media, known))
    return {"kind": kind, **asdict(media)}


def from_dict(content: Mapping[str, Any] | None) -> Media | None:
    """Return what `to_dict` wrote.

    Raises:
        TypeError, KeyError, ValueError: when a field is missing, unknown or of the wrong kind.
    """
    if content is None:
        return None
    fields = dict(content)
    kind = _KINDS[fields.pop("kind")]
    if kind is Columns:
        fields["names"] = tuple(str(name) for name in fields["names"])
    if kind is Text and not isinstance(fields["alphabet"], str):
        raise TypeError(f"expected an alphabet, got {fields['alphabet']!r:.60}")
    return kind(**fields)


def _visible(character: str) -> str:
    """Return a character for a message: lone surrogates cannot even be printed."""
    code = f"U+{ord(character):04X}"
    return f"{character!r} ({code})" if character.isprintable() else code

"""A generator: a prompt in, a text that goes on with it out, token by token."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch

from kit.errors import ArgumentError, ModelError
from kit.media import Subwords, Text
from kit.runtime.pipelines.answers import Written
from kit.runtime.pipelines.reading import read_text
from kit.runtime.pipelines.sampling import Sampling
from kit.runtime.session import open as open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kit.variant import Variant

_LONGEST = 100_000  # tokens in one answer
_HALVES = 8  # tokens that one character may be cut into


class Oracle(Protocol):
    """What says how likely each token comes next."""

    def next(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits (tokens,) after these."""

    def close(self) -> None:
        """Free what it holds."""


class Whole:
    """Runs the model over the whole window for every token: what any model file can do."""

    def __init__(self, variant: Variant, **how: Any) -> None:
        self._session, self._context = open_session(variant, **how), variant.signature.shape[0]

    def next(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Fill the window up behind the tokens: a causal model does not look there."""
        window = np.zeros((1, self._context), np.float32)
        window[0, : len(tokens)] = tokens
        logits: NDArray[np.float32] = self._session(window)[0, :, len(tokens) - 1]
        return logits

    def close(self) -> None:
        """Close the session."""
        self._session.close()


class Cached:
    """Keeps the keys and values of what was read: a token costs one step instead of a window."""

    def __init__(self, module: Any) -> None:
        self._module = deepcopy(module).cpu().eval()
        self._read: list[int] = []
        self._cache: Any = None

    @torch.inference_mode()
    def next(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Compute what is new; begin again where the window has moved."""
        known = len(self._read)
        if self._cache is None or known >= len(tokens) or self._read != list(tokens[:known]):
            known, self._cache = 0, None
        logits, self._cache = self._module.step(torch.tensor([list(tokens[known:])]), self._cache)
        self._read = list(tokens)
        found: NDArray[np.float32] = logits[0].float().numpy()
        return found

    def close(self) -> None:
        """Forget what was read."""
        self._cache, self._read = None, []


class Generator:
    """Goes on with a text. A context that is full lets go of its older half.

    Attributes:
        name: the model's.
        signature: its tokens and how many it sees.
        media: its alphabet.
        cached: whether keys and values are kept from token to token, as modules with a `step` can.

    Raises:
        ModelError: when the model's card names no alphabet.
    """

    def __init__(self, variant: Variant, *, cache: bool = True, **how: Any) -> None:
        self.name, self.signature = variant.name, variant.signature
        if not isinstance(variant.signature.media, Text | Subwords):
            raise ModelError(f"{variant.name!r} generates, but its signature has no media=Text(alphabet)")
        self.media: Text | Subwords = variant.signature.media
        module = variant.model if isinstance(variant.model, torch.nn.Module) else None
        self.cached = cache and module is not None and hasattr(module, "step") and not how
        self._oracle: Oracle = Cached(module) if self.cached else Whole(variant, **how)

    def __call__(self, prompt: Any, /, **settings: Any) -> Any:
        """Write on from a prompt, or from each of a list of prompts.

        Args:
            prompt: a text of characters that the model knows.
            settings: as for `stream`.

        Returns:
            `Written`; for a list a list, each as if it had been given alone.

        Raises:
            DataError: when a prompt is empty or holds what the model does not know.
            ArgumentError: when a setting is out of range.
        """
        if isinstance(prompt, list):
            return [self(one, **settings) for one in prompt]
        tally = {"tokens": 0, "ended": "length"}
        begin = time.perf_counter()
        text = "".join(self._pieces(prompt, tally, **settings))
        return Written(prompt, text, tally["tokens"], time.perf_counter() - begin, tally["ended"])  # type: ignore[arg-type]

    def stream(self, prompt: str, **settings: Any) -> Iterator[str]:
        """Write on from a prompt, and hand out the text as it grows.

        Args:
            prompt: a text of characters that the model knows.
            settings: `length` in tokens (200), `temperature` (0.8), `top_k` (None), `top_p` (1.0), `stop`
                (texts that end the answer and are left out) and `seed` (0).

        Raises:
            DataError, ArgumentError: as calling it does, before the first piece.
        """
        return self._pieces(prompt, {}, **settings)

    def _pieces(
        self,
        prompt: str,
        tally: dict[str, Any],
        *,
        length: int = 200,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        **sampling: Any,
    ) -> Iterator[str]:
        stops = [stop] if isinstance(stop, str) else list(stop)
        if not 1 <= length <= _LONGEST:
            raise ArgumentError(f"length lies between 1 and {_LONGEST:,} tokens, got {length}")
        if not all(isinstance(text, str) and text for text in stops):
            raise ArgumentError(f"stop texts must not be empty, got {stop!r:.60}")
        tokens, how = read_text(prompt, self.media), Sampling(**sampling)
        return self._write(tokens, tally, length, stops, how, np.random.default_rng(seed))

    def _write(
        self,
        tokens: list[int],
        tally: dict[str, Any],
        length: int,
        stops: list[str],
        how: Sampling,
        random: np.random.Generator,
    ) -> Iterator[str]:
        held, reach = "", max(map(len, stops), default=1) - 1  # what may be the beginning of a stop text
        pending: list[int] = []  # what may be half a character
        for drawn in range(1, length + 1):
            token = how.draw(self._oracle.next(self._window(tokens)), random)
            tokens.append(token)
            tally["tokens"] = drawn
            if token == getattr(self.media, "end", None):
                tally["ended"] = "stop"
                break
            pending.append(token)
            text = self.media.decode(pending)
            if text.endswith("\ufffd") and len(pending) < _HALVES:
                continue
            held, pending = held + text, []
            ends = [at for text in stops if (at := held.find(text)) >= 0]
            if ends:
                tally["ended"] = "stop"
                yield held[: min(ends)]
                return
            ready = len(held) - reach
            if ready > 0:
                yield held[:ready]
                held = held[ready:]
        if rest := held + self.media.decode(pending):
            yield rest

    def _window(self, tokens: Sequence[int]) -> Sequence[int]:
        """Return what the model sees of the tokens; it moves by half a context, so that a cache holds."""
        context, half = self.signature.shape[0], max(1, self.signature.shape[0] // 2)
        over = max(0, len(tokens) - context)
        return tokens[-(-over // half) * half :]

    def close(self) -> None:
        """Free what the runtime holds."""
        self._oracle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Generator({self.name!r}, context {self.signature.shape[0]})"

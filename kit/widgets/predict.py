"""The `Predict` panel: commit to an answer before the measurement, then see both side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import ipywidgets as W

from kit import plots
from kit.errors import ArgumentError, CorruptFileError, unknown
from kit.files import atomic
from kit.statistics import Measurement
from kit.widgets.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from kit.widgets.panel import Table

KEPT = "predictions.json"


class Predict(Panel):
    """Asks for a number or a choice before something is measured, and draws it beside what came out.

    What is committed is written to `predictions.json` in the notebook's folder, by question, so that it is
    still there after the kernel was restarted.

    Args:
        question: what to predict; one question has one answer a folder.
        choices: the answers to choose from; a number is asked for without them.
        unit: of the number, such as "×" or "%".
        file: where commitments are kept; by default `predictions.json` in the working folder.

    Attributes:
        prediction: the committed answer; None before.
        measured: what came out; None before `reveal`.

    Example:
        >>> bet = kit.widgets.Predict("How many times faster?", unit="×")  # doctest: +SKIP
        >>> bet.reveal(timed["sparse"].speedup)  # doctest: +SKIP
    """

    title: ClassVar[str] = "Predict"
    about: ClassVar[str] = "Commit to an answer first; it is shown beside the measurement."

    def __init__(
        self, question: str, choices: Sequence[str] = (), *, unit: str = "", file: str | Path = KEPT
    ) -> None:
        self.question, self.unit, self._choices = question, unit, tuple(choices)
        self._file = Path(file).absolute()
        self.prediction: float | str | None = None
        self.measured: Measurement | float | str | None = None
        if choices:
            self.answer = W.RadioButtons(
                options=self._choices, value=None, description="Answer", layout={"width": "auto"}
            )
        else:
            self.answer = W.Text(description="Answer", placeholder="a number", layout={"width": "9em"})
        asked = W.Label(f"{question} In {unit}:" if unit else question)
        self._commit = self.button("Commit", "Settle on this answer", self.commit, "primary")
        self._again = self.button("Think again", "Take the answer back", self.withdraw)
        form = W.VBox([asked, self.answer, W.HBox([self._commit, self._again])])
        super().__init__(form)
        self.attempt(self._remember)
        self.watch(self.answer, self.show_code)
        self._show()

    @property
    def code(self) -> str:
        """The call that commits to what the panel shows now."""
        try:
            return f"bet.commit({self._given()!r})"
        except ArgumentError:
            return "bet.commit(…)"

    def commit(self, answer: float | str | None = None) -> None:
        """Settle on an answer, by default the one in the panel, and keep it.

        Raises:
            ArgumentError: when it is no number, none of the choices, or too late.
            StorageError: when it cannot be written; it holds until the kernel ends.
        """
        if self.measured is not None:
            raise ArgumentError("it is measured already: predictions come first")
        self.prediction = self._given() if answer is None else self._checked(answer)
        self._show()
        self.renew()
        self._keep(self.prediction)

    def withdraw(self) -> None:
        """Take the answer back, here and in the file."""
        self.prediction = None
        self._show()
        self._keep(None)

    def reveal(self, measured: Measurement | float | str) -> None:
        """Show what came out beside what was predicted, and leave both in the notebook.

        Args:
            measured: a number, with its interval if it has one; or one of the choices.

        Raises:
            ArgumentError: when it is none of the choices.
        """
        if self._choices and measured not in self._choices:
            raise unknown("answer", str(measured), self._choices)
        self.measured = measured
        self._show()
        self.snapshot()

    def verdict(self) -> str:
        """Return in a sentence how the prediction and the measurement compare."""
        if self.measured is None:
            return (
                "No answer yet." if self.prediction is None else f"Committed: {self._words(self.prediction)}."
            )
        found = self._words(self.measured)
        if self.prediction is None:
            return f"It is {found}; no prediction was made."
        said = f"You said {self._words(self.prediction)}; it is {found}"
        if isinstance(self.prediction, str) or isinstance(self.measured, str):
            return f"{said}. {'Right.' if self.prediction == self.measured else 'A surprise.'}"
        if isinstance(self.measured, Measurement) and self.measured.contains(self.prediction):
            return f"{said}: within the interval."
        return f"{said}: {_apart(self.prediction, float(self.measured))}."

    def figure(self) -> Figure | None:
        """Draw both, once something was measured; choices need no drawing."""
        if self.measured is None or isinstance(self.measured, str):
            return None
        said = None if self.prediction is None else float(self.prediction)
        return plots.prediction(said, self.measured, unit=self.unit, title=self.question)

    def table(self) -> Table:
        """Return the answer, the measurement and the verdict."""
        rows = [
            ["predicted", "nothing yet" if self.prediction is None else self._words(self.prediction)],
            ["measured", "not yet" if self.measured is None else self._words(self.measured)],
        ]
        if self.measured is not None:
            rows.append(["so", self.verdict()])
        return self.question, ("", "answer"), rows

    def _given(self) -> float | str:
        """Return what the control holds."""
        if self.answer.value in {None, ""}:
            raise ArgumentError(
                "choose one of the answers first" if self._choices else "type a number first, such as 1.5"
            )
        return self._checked(self.answer.value)

    def _checked(self, answer: float | str) -> float | str:
        if self._choices:
            if answer not in self._choices:
                raise unknown("answer", str(answer), self._choices)
            return str(answer)
        try:
            return float(str(answer).strip().rstrip("×x%").replace(",", "."))
        except ValueError:
            raise ArgumentError(f"expected a number such as 1.5, got {str(answer)[:40]!r}") from None

    def _words(self, answer: Measurement | float | str | None) -> str:
        if isinstance(answer, Measurement):
            interval = f" [{answer.low:.3g}, {answer.high:.3g}]" if answer.low < answer.high else ""
            return f"{answer.value:.3g}{self.unit}{interval}"
        return f"{answer:.3g}{self.unit}" if isinstance(answer, float | int) else str(answer)

    def _show(self) -> None:
        """Bring the controls in line with what is settled."""
        settled = self.prediction is not None
        if settled:
            self.answer.value = self.prediction if self._choices else f"{self.prediction:g}"
        self.answer.disabled = self._commit.disabled = settled or self.measured is not None
        self._again.disabled = not settled or self.measured is not None
        self.say(self.verdict())
        self.show_code()

    def _kept(self) -> dict[str, float | str]:
        if not self._file.is_file():
            return {}
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CorruptFileError(f"{self._file} holds no predictions; move it away to go on")
        return found

    def _remember(self) -> None:
        """Take up what was committed in an earlier session."""
        found = self._kept().get(self.question)
        if found is not None:
            self.prediction = self._checked(found)

    def _keep(self, answer: float | str | None) -> None:
        kept = self._kept()
        kept.pop(self.question, None)
        if answer is not None:
            kept[self.question] = answer
        with atomic(self._file) as temporary:
            temporary.write_text(json.dumps(kept, indent=1, ensure_ascii=False), encoding="utf-8")


def _apart(said: float, found: float) -> str:
    """Tell how far a prediction was off: as a ratio where both are positive.

    >>> _apart(5.0, 1.0), _apart(1.0, 1.5), _apart(0.0, 2.0)
    ('5× too high', '1.5× too low', '2 too low')
    """
    where = "too high" if said > found else "too low"
    if said > 0 and found > 0:
        ratio = max(said, found) / min(said, found)
        return f"{ratio:.2g}× {where}" if ratio >= 1.005 else "exact"
    return f"{abs(said - found):.3g} {where}" if said != found else "exact"

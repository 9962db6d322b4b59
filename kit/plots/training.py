"""Training curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from kit.plots.canvas import caption, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure


def training_curves(
    epochs: Sequence[Mapping[str, Any]], *, metric: str = "accuracy", title: str = ""
) -> Figure:
    """Draw losses, the validation metric and the learning rate over the epochs.

    Args:
        epochs: rows with `number`, `train_loss`, `valid_loss`, `valid_metric`, `lr`, `share`.
        metric: the name of `valid_metric`; accuracy is drawn in percent.
        title: above the figure.
    """
    figure, (losses, scores, rates) = new_figure(1, 3, width=9.6, height=3.0)
    x = [row["number"] - 1 + row.get("share", 1) for row in epochs]
    for index, (key, label) in enumerate((("train_loss", "train"), ("valid_loss", "valid"))):
        losses.plot(x, [row[key] for row in epochs], label=label, **_line(index, len(x)))
    losses.set_ylabel("loss")
    losses.legend(frameon=False)
    percent = metric == "accuracy"
    values = [row["valid_metric"] * (100 if percent else 1) for row in epochs]
    scores.plot(x, values, **_line(1, len(x)))
    if values:
        best = (max if percent else min)(range(len(values)), key=values.__getitem__)
        scores.plot(x[best], values[best], "o", markersize=11, fillstyle="none", color="black")
        scores.annotate(
            f"best {values[best]:.4g}",
            (x[best], values[best]),
            xytext=(0, -16 if percent else 12),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    scores.set_ylabel(f"valid {metric}{' / %' if percent else ''}")
    rates.plot(x, [row["lr"] for row in epochs], **_line(2, len(x)))
    rates.set_ylabel("learning rate")
    rates.set_ylim(bottom=0)
    for axis in (losses, scores, rates):
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title, fontsize=10)
    caption(figure, f"{len(epochs)} epoch{'s' * (len(epochs) != 1)}, one run")
    return figure


def _line(index: int, points: int) -> dict[str, Any]:
    return {**style(index), "markersize": 4, "markevery": max(1, points // 20)}

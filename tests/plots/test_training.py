"""Training curves: what is drawn is what was measured."""

from __future__ import annotations

from kit import plots


def rows(*metrics):
    keys = ("number", "train_loss", "valid_loss", "valid_metric", "lr", "share")
    return [
        dict(zip(keys, (n, 1 / n, 2 / n, m, 0.1 / n, 1.0), strict=True)) for n, m in enumerate(metrics, 1)
    ]


def test_losses_metric_and_rate_are_drawn_with_units_and_n():
    figure = plots.training_curves(rows(0.5, 0.8, 0.7), metric="accuracy", title="a run")
    losses, scores, rates = figure.axes
    train, valid = losses.lines
    assert list(train.get_ydata()) == [1, 1 / 2, 1 / 3]
    assert list(valid.get_ydata()) == [2, 1, 2 / 3]
    assert train.get_linestyle() != valid.get_linestyle(), "never colour alone"
    assert scores.get_ylabel() == "valid accuracy / %"
    assert list(scores.lines[0].get_ydata()) == [50, 80, 70]
    assert scores.texts[0].get_text() == "best 80"
    assert list(rates.lines[0].get_ydata()) == [0.1, 0.05, 0.1 / 3]
    assert "3 epochs, one run" in figure.get_supxlabel()


def test_a_run_cut_short_stands_where_it_ended():
    cut = [*rows(0.5), {**rows(0.5, 0.6)[1], "share": 0.25}]
    figure = plots.training_curves(cut)
    assert list(figure.axes[0].lines[0].get_xdata()) == [1, 1.25]


def test_errors_are_drawn_in_their_own_unit_and_an_empty_run_at_all():
    assert plots.training_curves(rows(0.5, 0.8), metric="rmse").axes[1].texts[0].get_text() == "best 0.5"
    assert "0 epochs" in plots.training_curves([]).get_supxlabel()

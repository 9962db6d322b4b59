from __future__ import annotations

import asyncio

import pytest
import torch

import kit
from kit.errors import ArgumentError
from kit.widgets import Training


@pytest.fixture(scope="module")
def small(fashion):
    return fashion.subset(1000, 300, 300)


def net():
    torch.manual_seed(0)
    return kit.models.lenet_300_100()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_a_run_gives_the_same_weights_as_the_code_that_the_panel_shows(small):
    panel = Training(small, {"net": net()}, epochs=2)
    panel.lr.value = 2e-3
    result = asyncio.run(panel.run())
    again = eval(panel.code, {"kit": kit, "net": net(), "data": small})
    for a, b in zip(result.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(a, b)
    assert result is panel.result
    assert panel.frame.status.startswith("Run 1 finished")


def test_the_nets_that_fit_the_data_can_be_chosen_and_are_written_as_code(small):
    panel = Training(small)
    assert panel.model.options == ("convnet", "mobilenet", "lenet5", "lenet_300_100")
    panel.model.value, panel.epochs.value, panel.optimizer.value = "lenet5", 7, "sgd"
    assert panel.code == "kit.train(kit.models.lenet5(), data, epochs=7, optimizer='sgd', lr=0.1)"
    x = torch.rand(40, 3, 32, 32)
    colour = kit.data.from_arrays(x, torch.arange(40) % 4)
    panel = Training(colour)
    assert panel.model.options == ("convnet", "mobilenet")
    assert "kit.models.convnet(classes=4, channels=3)" in panel.code


def test_data_that_no_net_fits_asks_for_ones_own():
    table = kit.data.from_arrays(torch.rand(40, 5), torch.arange(40) % 2)
    with pytest.raises(ArgumentError, match="give your own"):
        Training(table)
    own = torch.nn.Linear(5, 2)
    panel = Training(table, {"own": own}, epochs=1)
    assert asyncio.run(panel.run()).report.stopped == "finished"


def test_stop_acts_in_the_middle_and_keeps_the_best(small):
    panel = Training(small, {"net": net()}, epochs=1000)

    async def session():
        panel._begin.click()
        await until(lambda: panel._live._done >= 1)
        panel._stop.click()
        await panel.work.wait()

    asyncio.run(session())
    assert panel.result.report.stopped == "stopped"
    assert 1 <= len(panel.result.report.epochs) < 1000
    assert "stopped" in panel.frame.status
    assert ", stopped<" in panel._live.view.value
    assert "left<" not in panel._live.view.value


def test_pause_holds_the_run_until_it_is_resumed(small):
    panel = Training(small, {"net": net()}, epochs=1000)
    seen = []

    async def session():
        panel._begin.click()
        await until(lambda: panel._live._train.x)
        panel._pause.click()
        assert panel._pause.description == "Resume"
        assert panel.frame.status == "Paused."
        await asyncio.sleep(0.1)
        held = panel._live._done, len(panel._live._losses)
        for _ in range(20):
            await asyncio.sleep(0.005)
            seen.append((panel._live._done, len(panel._live._losses)) == held)
        panel._pause.click()
        await until(lambda: (panel._live._done, len(panel._live._losses)) != held)
        panel._stop.click()
        await panel.work.wait()

    asyncio.run(session())
    assert all(seen)
    assert panel.result.report.stopped == "stopped"


def test_an_interrupt_of_the_waiting_cell_returns_the_history_so_far(small):
    panel = Training(small, {"net": net()}, epochs=1000)

    async def session():
        task = asyncio.create_task(panel.run())
        await until(lambda: panel._live._done >= 1)
        task.cancel()
        return await task

    result = asyncio.run(session())
    assert result.report.stopped == "interrupted"
    assert result.report.best is not None


def test_a_double_click_starts_one_run(small):
    panel = Training(small, {"net": net()}, epochs=1000)

    async def session():
        panel._begin.click()
        panel._begin.click()
        assert "still working" in panel.frame.alert
        await until(lambda: panel._live._done >= 1)
        panel._stop.click()
        await panel.work.wait()
        panel._begin.click()
        assert panel.frame.alert == ""
        panel._stop.click()
        await panel.work.wait()

    asyncio.run(session())
    assert len(panel.runs) == 2


def test_settings_changed_during_a_run_count_for_the_next_one(small):
    panel = Training(small, {"net": net()}, epochs=3)

    async def session():
        panel._begin.click()
        panel.epochs.value = 1
        panel.lr.value = 5.0
        return await panel.wait()

    first = asyncio.run(session())
    assert first.recipe[-1].settings["epochs"] == 3
    assert first.recipe[-1].settings["lr"] == 1e-3
    assert "epochs=1, optimizer='adam', lr=5.0" in panel.code


def test_buttons_without_a_run_say_so(small):
    panel = Training(small, {"net": net()})
    for button in (panel._pause, panel._stop):
        panel.say("")
        button.click()
        assert panel.frame.status == "Nothing is running."


def test_a_run_that_fails_says_why_and_leaves_the_panel_usable(small):
    panel = Training(small, {"net": net()}, epochs=1)
    panel.lr.value = -1.0
    with pytest.raises(ArgumentError, match="lr must be a positive number"):
        asyncio.run(panel.run())
    assert "lr must be a positive number" in panel.frame.alert
    panel.lr.value = 1e-3
    assert asyncio.run(panel.run()).report.stopped == "finished"
    assert panel.frame.alert == ""


def test_an_error_that_is_not_the_kits_is_shown_with_its_type(small):
    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, _x):
            raise TypeError("no <way>")

    panel = Training(small, {"broken": Broken()}, epochs=1)
    with pytest.raises(Exception, match="no <way>"):
        asyncio.run(panel.run())
    assert "no <way>" in panel.frame.alert


def test_earlier_runs_are_compared_in_a_table_and_a_chart(small):
    panel = Training(small, {"net": net()}, epochs=1)
    for rate in (1e-3, 1e-2):
        panel.lr.value = rate
        asyncio.run(panel.run())
    _, header, rows = panel.table()
    assert [row[0] for row in rows] == ["1", "2"]
    assert "lr 0.01" in rows[1][header.index("recipe")]
    assert "run 1" in panel._live.view.value
    for row in rows:
        assert row[1] in panel._table.value


def test_live_figures_agree_with_the_history(small):
    panel = Training(small, {"net": net()}, epochs=2)
    result = asyncio.run(panel.run())
    live, epochs = panel._live, result.report.epochs
    assert live._valid.y == [epoch.valid_loss for epoch in epochs]
    assert live._score.y == [epoch.valid_metric for epoch in epochs]
    assert 'aria-valuenow="100"' in live.view.value
    assert f"{epochs[-1].valid_metric:.1%}" in live.view.value
    assert "epoch 2.0 of 2, finished" in live.view.value


def test_epochs_shorter_than_a_repaint_are_all_in_the_curve(small):
    panel = Training(small.subset(200), {"net": net()}, epochs=20)
    result = asyncio.run(panel.run())
    live = panel._live
    assert len(live._train.x) >= 20
    assert live._train.y[-1] == pytest.approx(result.report.epochs[-1].train_loss, rel=0.5)
    assert len(live._score.x) == 20


def test_what_fails_after_the_run_is_shown_too(small, monkeypatch):
    panel = Training(small, {"net": net()}, epochs=1)
    monkeypatch.setattr(panel, "figure", lambda: 1 / 0)
    monkeypatch.setattr("kit.widgets.panel.get_ipython", object)  # as in a kernel

    async def session():
        panel._begin.click()
        await panel.work.wait()

    asyncio.run(session())
    assert "ZeroDivisionError" in panel.frame.alert
    assert panel.result is not None


def test_unknown_names_suggest_the_nearest(small):
    with pytest.raises(ArgumentError, match="did you mean 'lenet5'"):
        Training(small, model="lenet55")
    with pytest.raises(ArgumentError, match="did you mean 'adam'"):
        Training(small, optimizer="adan")

"""What the live Training panel costs training, and how it feels in the browser.

python tests/benchmarks/live_panel.py [rounds]

Cost: in a real kernel, the same run with and without the panel, alternately in random order, in the worker
thread both times; what is compared is the processor time of the whole kernel, and the wall time. And,
which other work on the machine disturbs less, the share of the training thread's own processor time that
its listeners take.
Browser: in a real JupyterLab, repaints a second, and the longest time without a frame, while a net trains.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from playwright.sync_api import sync_playwright

from kit import device
from kit.statistics import hodges_lehmann

KERNEL = """
import asyncio, json, random, time
import kit
from kit.widgets import Training

data = kit.data.fashion_mnist().subset({samples}, 500, 500)
settings = dict(epochs={epochs}, layout="contiguous", precision="fp32", threads=1)
panels = [Training(data, {{"net": {net}}}, **settings) for _ in range(2)]
panels[0]._live.__class__ = type("Silent", (type(panels[0]._live),), {{"listeners": {{"progress": False}}}})
for panel in panels:
    display(panel)

spent = dict(listening=0.0, training=0.0)
def counted(listener):
    def listen(news):
        begin = time.thread_time()
        listener(news)
        spent["listening"] += time.thread_time() - begin
    return listen

def whole(prepare):
    def prepared():
        call = prepare()
        def run(control):
            begin = time.thread_time()
            try:
                return call(control)
            finally:
                spent["training"] += time.thread_time() - begin
        return run
    return prepared

live = panels[1]._live
live.on_step, live.on_epoch = counted(live.on_step), counted(live.on_epoch)
panels[1].prepare = whole(panels[1].prepare)

async def timed(panel):
    before = time.process_time(), time.perf_counter()
    panel.start()
    await panel.work.wait()
    return time.process_time() - before[0], time.perf_counter() - before[1]

rounds = []
for number in range({rounds} + 1):
    pair = {{}}
    for which in random.sample([0, 1], 2):
        pair[which] = await timed(panels[which])
    if number:  # the first one warms up
        rounds.append([pair[0], pair[1]])
    await asyncio.sleep(0.05)
print(json.dumps([rounds, spent["listening"] / spent["training"]]))
"""

WATCH = """() => {
    window.seen = { frames: [], repaints: 0 };
    let last = performance.now();
    const frame = (now) => {
        window.seen.frames.push(now - last);
        last = now;
        window.seen.id = requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    const bar = document.querySelector('.kit-panel [role=progressbar]');
    const watch = new MutationObserver(() => { window.seen.repaints += 1; });
    watch.observe(bar.closest('.widget-html-content'), { childList: true });
}"""


def cost(net: str, samples: int, epochs: int, rounds: int) -> None:
    """Print the ratio of the times with and without the panel."""
    source = KERNEL.format(net=net, samples=samples, epochs=epochs, rounds=rounds)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    printed = "".join(
        o.text for o in notebook.cells[0].outputs if o.output_type == "stream" and o.name == "stdout"
    )
    found, share = json.loads(printed.splitlines()[-1])
    times = np.array(found)  # (rounds, without/with, cpu/wall)
    ratios = np.log(times[:, 1] / times[:, 0])
    for name, column, without in zip(("cpu", "wall"), ratios.T, np.median(times[:, 0], 0), strict=True):
        centre = hodges_lehmann(column)
        value, low, high = (100 * (np.exp(bound) - 1) for bound in (centre.value, centre.low, centre.high))
        interval = f"{value:+.2f} % [{low:+.2f}, {high:+.2f}]"
        print(f"{net}: {name} time {interval}, {without:.1f} s a run, n = {rounds}")

    print(f"{net}: the listeners take {100 * share:.2f} % of the training thread's processor time")


def browser(seconds: float = 10.0) -> None:
    """Print how often the panel repaints, and the longest time without a frame."""
    path = Path(__file__).parents[1] / "browser" / "conftest.py"
    spec = importlib.util.spec_from_file_location("browser_fixtures", path)
    fixtures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fixtures)
    code = (
        "import kit\ndata = kit.data.fashion_mnist()\n"
        "panel = kit.widgets.Training(data, model='convnet', epochs=100)\npanel"
    )
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = fixtures.Server(Path(home))
        try:
            chromium = (
                fixtures.launch(playwright) if hasattr(fixtures, "launch") else _launch(fixtures, playwright)
            )
            lab = fixtures.Lab(server, chromium.new_context(viewport={"width": 1280, "height": 900}))
            notebook = lab.notebook(code)
            notebook.run()
            panel = notebook.show(0).locator(".kit-panel")
            panel.locator("button", has_text="Start").click()
            panel.get_by_role("progressbar").wait_for()
            notebook.page.evaluate(WATCH)
            notebook.page.wait_for_timeout(1000 * seconds)
            seen = notebook.page.evaluate("window.seen")
            panel.locator("button", has_text="Stop").click()
            lab.close()
            chromium.close()
        finally:
            server.stop()
    frames = np.array(seen["frames"])
    print(
        f"browser, convnet training for {seconds:.0f} s: {seen['repaints'] / seconds:.1f} repaints/s, "
        f"{1000 * len(frames) / frames.sum():.0f} frames/s, longest freeze {frames.max():.0f} ms"
    )


def _launch(fixtures, playwright):
    found = next(path for path in map(fixtures.shutil.which, fixtures.BROWSERS) if path)
    return playwright.chromium.launch(executable_path=found, args=fixtures.FLAGS)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    print(f"{device.describe()}; load {device.load():.1f} a core")
    cost("kit.models.convnet()", 6000, 2, rounds)
    cost("kit.models.lenet_300_100()", 20_000, 6, rounds)
    browser()


if __name__ == "__main__":
    main()

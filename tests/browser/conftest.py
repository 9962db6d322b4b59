"""A real JupyterLab and a real Chromium.

    def test_a_panel(lab):
        notebook = lab.notebook("import kit\npanel = kit.widgets.Data(…)\npanel")  # one string a code cell
        notebook.run()                                   # all cells, in order; waits until the last ended
        notebook.show(0).get_by_label("Class").press("ArrowRight")  # a cell on the page, as a locator
        notebook.see(0, "Trouser")                       # waits until the cell shows that text
        assert notebook.axe(".kit-panel") == []          # accessibility, inside that selector
        notebook.screenshot("data-panel")                # runs/browser/data-panel.png

`lab.open("notebooks/00_tour.ipynb")` opens a copy of a stored notebook (`kernel=False`: as a reader
without a kernel sees it). `notebook.start()` starts all cells and returns at once: click Stop, Pause or
call `notebook.interrupt()`, then `notebook.wait()`. Outputs are read from the model (`outputs`, `text`,
`errors`), for Lab keeps only the cells near the screen on the page. `notebook.page` is Playwright's page.
Nothing here sleeps: wait with `see`, `until` or Playwright's `expect`.

Every request that would leave the machine fails and is counted in `lab.outside`, which must be empty
after each test.
"""

from __future__ import annotations

import itertools
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect, sync_playwright

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "runs" / "browser"
find = runpy.run_path(str(Path(__file__).with_name("chromium.py")))["find"]
FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root, as containers do, with its sandbox
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no other name or address resolves
]
SECONDS = 60  # what anything may need on a loaded machine with two cores; only a red test waits that long
OUTCOME = pytest.StashKey()

expect.set_options(timeout=SECONDS * 1000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.stash[OUTCOME] = report.failed
    return report


def until(condition, what, seconds=SECONDS):
    """Wait until `condition()` is true and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return value


class Server:
    """What `kit lab` starts, in a fresh home: JupyterLab with its own settings, kernels, port and token."""

    def __init__(self, home):
        self.folder = home / "work"
        self.log = home / "jupyter.log"
        runtime = home / "runtime"
        own = {
            "HOME": home,
            "JUPYTER_RUNTIME_DIR": runtime,
            "JUPYTER_CONFIG_DIR": home / "config",
            "JUPYTER_DATA_DIR": home / "data",
            "JUPYTERLAB_SETTINGS_DIR": home / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
            "IPYTHONDIR": home / "ipython",
            "MPLCONFIGDIR": home / "matplotlib",
            "XDG_CACHE_HOME": home / "cache",
        }
        command = [sys.executable, "-m", "kit", "lab", "--fast", "--no-browser", "--folder", str(self.folder)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--", "--expose-app-in-browser"],
                env=os.environ | {name: str(value) for name, value in own.items()},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: list(runtime.glob("jpserver-*.json")) or self._died(), "JupyterLab starts")
        (found,) = runtime.glob("jpserver-*.json")
        told = until(found.read_text, "JupyterLab tells its address")
        self.token = json.loads(told)["token"]
        self.port, self.python = json.loads(told)["port"], sys.executable
        self.url = f"http://127.0.0.1:{self.port}"
        until(lambda: self.ask("api/status") or self._died(), "JupyterLab answers")

    def _died(self):
        if self.process.poll() is not None:
            pytest.fail(f"JupyterLab ended at once:\n{self.log.read_text()}")

    def ask(self, path, method="GET"):
        """Call the server's own interface; None when it does not answer (yet)."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return json.loads(response.read() or b"{}")
        except (urllib.error.URLError, ConnectionError):
            return None

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Lab:
    """One test's view of JupyterLab: opens notebooks, counts the requests that would leave the machine."""

    def __init__(self, server, context):
        self.server, self.context = server, context
        self.folder, self.url, self.token = server.folder, server.url, server.token
        self.outside: list[str] = []
        self.screenshots = SCREENSHOTS
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()
        self._opened: list[Notebook] = []
        context.on("request", lambda request: self._count(request.url))
        context.on("page", lambda page: page.on("websocket", lambda socket: self._count(socket.url)))

    def _count(self, url):
        parts = urlsplit(url)
        if parts.scheme in {"http", "https", "ws", "wss", "ftp"} and parts.hostname != "127.0.0.1":
            self.outside.append(url)

    def page(self, path="lab"):
        """Open any address of the server in a new tab."""
        page = self.context.new_page()
        page.goto(f"{self.url}/{path}{'&' if '?' in path else '?'}token={self.token}")
        return page

    def notebook(self, *sources, kernel=True):
        """Open a new notebook of these code cells."""
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in sources])
        content.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        path = self.folder / f"test-{os.urandom(4).hex()}.ipynb"
        nbformat.write(content, path)
        return self._open(path, kernel)

    def open(self, path, *, kernel=True):
        """Open a copy of a notebook of the repository."""
        copy = self.folder / f"{Path(path).stem}-{os.urandom(4).hex()}.ipynb"
        shutil.copyfile(ROOT / path, copy)
        return self._open(copy, kernel)

    def _open(self, path, kernel):
        workspace = f"test-{next(self._numbers)}"
        page = self.page(f"doc/workspaces/{workspace}/tree/{quote(path.name)}?reset")
        self._opened.append(Notebook(page, self, path, kernel=kernel))
        return self._opened[-1]

    def close(self):
        for notebook in self._opened:
            notebook.close()
        for session in self.server.ask("api/sessions") or []:
            self.server.ask(f"api/sessions/{session['id']}", "DELETE")


class Notebook:
    """A notebook open in JupyterLab."""

    def __init__(self, page, lab, path, *, kernel):
        self.page, self.lab, self.path = page, lab, path
        page.set_default_timeout(SECONDS * 1000)
        page.wait_for_function("window.jupyterapp !== undefined")
        page.evaluate("jupyterapp.restored")
        page.wait_for_function("jupyterapp.shell.currentWidget?.content?.model != null")
        page.evaluate("window.kit = jupyterapp.shell.currentWidget")
        page.evaluate("kit.context.ready")
        page.locator(".jp-Notebook").wait_for()
        if kernel:
            page.evaluate("kit.sessionContext.ready")
            page.wait_for_function("kit.sessionContext.session?.kernel?.connectionStatus === 'connected'")
            self.idle()

    def start(self):
        """Start every cell and return at once."""
        self._execute("notebook:run-all-cells")

    def run(self, cell=None, *, seconds=300):
        """Run every cell, or one, and wait for its end."""
        if cell is None:
            self.start()
        else:
            self.page.evaluate("index => { kit.content.activeCellIndex = index }", cell)
            self._execute("notebook:run-cell")
        self.wait(seconds=seconds)

    def _execute(self, command):
        self.page.evaluate(
            "command => { window.kitDone = false;"
            " jupyterapp.commands.execute(command).finally(() => { window.kitDone = true }) }",
            command,
        )

    def wait(self, *, seconds=300):
        """Wait until what `start` started has ended."""
        self.page.wait_for_function("window.kitDone === true", timeout=seconds * 1000)

    def idle(self):
        """Wait until the kernel is idle."""
        self.page.wait_for_function("kit.sessionContext.session?.kernel?.status === 'idle'")

    def interrupt(self):
        """Interrupt the kernel, as the stop button of the toolbar does."""
        self._command_only("notebook:interrupt-kernel")

    def restart(self):
        """Restart the kernel without asking, and wait until it is idle."""
        self.page.evaluate("kit.sessionContext.session.kernel.restart()")
        self.idle()

    def save(self):
        """Save the notebook and return it as it is on disk."""
        self._command_only("docmanager:save")
        return nbformat.read(self.path, as_version=4)

    def _command_only(self, command):
        self.page.evaluate("command => jupyterapp.commands.execute(command).then(() => null)", command)

    def cells(self):
        """The notebook's cells as its model has them now."""
        return self.page.evaluate("kit.content.model.sharedModel.toJSON().cells")

    def outputs(self, cell):
        """The outputs of one cell, as nbformat dictionaries."""
        return self.page.evaluate("i => kit.content.model.cells.get(i).sharedModel.toJSON().outputs", cell)

    def text(self, cell):
        """All text that one cell printed or returned."""
        parts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in self.outputs(cell)]
        return "".join("".join(part) for part in parts)

    def errors(self):
        """Every error shown: (cell number, class, message)."""
        found = [(i, o) for i, c in enumerate(self.cells()) for o in c.get("outputs", [])]
        return [(i, o["ename"], o["evalue"]) for i, o in found if o["output_type"] == "error"]

    def show(self, cell):
        """Scroll to a cell and return it as a Playwright locator."""
        self.page.evaluate(
            "async i => { const cell = kit.content.widgets[i]; await kit.content.scrollToItem(i, 'smart');"
            " await cell.ready; cell.node.setAttribute('data-cell', i) }",
            cell,
        )
        return self.page.locator(f'.jp-Cell[data-cell="{cell}"]')

    def see(self, cell, text):
        """Wait until the outputs of a cell show `text` (a string or a regular expression)."""
        expect(self.show(cell).locator(".jp-Cell-outputWrapper")).to_contain_text(text)

    def until(self, script, *, seconds=SECONDS):
        """Wait until a JavaScript expression is true on the page."""
        self.page.wait_for_function(script, timeout=seconds * 1000)

    def axe(self, selector=".jp-Cell-outputArea"):
        """Accessibility violations inside `selector`: one line each, with the element."""
        self.page.locator(selector).first.wait_for()
        found = Axe().run(self.page, context=selector).response["violations"]
        return [f"{v['impact']}: {v['id']}: {v['help']}: {n['html']}" for v in found for n in v["nodes"]]

    def screenshot(self, name):
        """Save what is on the screen as runs/browser/NAME.png."""
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def close(self):
        self.page.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """JupyterLab, once for all browser tests."""
    server = Server(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


def launch(playwright):
    """Start Chromium, as this machine has it."""
    path = find()
    if path is None:
        pytest.fail("no Chromium or Chrome found: run `make chromium`, or set CHROMIUM to its path")
    return playwright.chromium.launch(executable_path=path, args=FLAGS)


@pytest.fixture(scope="module")
def browser():
    """Chromium. Once a module, for Playwright's event loop would stop other tests from using asyncio."""
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def lab(server, browser, request):
    """JupyterLab in a fresh browser context; see the module's docstring for how to use it."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-GB", reduced_motion="reduce"
    )
    lab = Lab(server, context)
    yield lab
    if request.node.stash.get(OUTCOME, False):
        for number, page in enumerate(context.pages):
            path = SCREENSHOTS / f"failed-{request.node.name}-{number}.png"
            try:
                page.screenshot(path=path)
            except Error as error:
                print("no screenshot:", error)
            else:
                print("screenshot:", path)
    lab.close()
    context.close()
    assert lab.outside == [], "requests that would have left the machine"

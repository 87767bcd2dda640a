"""A person's way: JupyterLab in a real browser runs each notebook; the report opens on a phone.

Needs Chromium and its driver (Debian: chromium, chromium-driver); skipped where they are absent.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from subprocess import DEVNULL

import nbformat
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from hpo_utils.base.paths import project_root
from hpo_utils.pipeline import NOTEBOOKS

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="Chromium and its driver are not installed"
)
N_FIGURES = {"01_prepare_data": 3, "02_train": 2, "03_optimize": 0, "04_analyze": 11}
# what the page knows of the notebook that is open
PANEL = "const panel = [...(window.jupyterapp?.shell?.widgets('main') ?? [])].find(w => w.context);"
CELLS = PANEL + "return JSON.stringify(panel.content.model.toJSON().cells);"
READY = PANEL + (
    "return Boolean(panel?.context.isReady"
    ' && panel.sessionContext?.session?.kernel?.status === "idle");'
)
RUN = PANEL + (
    "window.jupyterapp.shell.activateById(panel.id);"
    'window.jupyterapp.commands.execute("notebook:run-all-cells");'
)


def wait_for(what, seconds, condition):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"no {what} after {seconds} s"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the notebooks at smoke size, as someone would have edited their parameters."""
    folder = tmp_path_factory.mktemp("lab")
    for name in NOTEBOOKS:
        notebook = nbformat.read(project_root() / "notebooks" / f"{name}.ipynb", as_version=4)
        cell = notebook.cells[2]
        cell.source = cell.source.replace("params/demo.yaml", "params/smoke.yaml").replace(
            'overrides: str = ""', f'overrides: str = "paths.outputs_root={folder}/runs"'
        )
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serving(command, address):
    """Run a server until the block ends; it has answered when the block begins."""
    process = subprocess.Popen(command, cwd=project_root(), stdout=DEVNULL, stderr=DEVNULL)

    def answers():
        try:
            with urllib.request.urlopen(address, timeout=5):
                return True
        except OSError:
            return False

    try:
        wait_for(f"answer of {address}", 90, answers)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def lab(workplace):
    """The address of a JupyterLab in that folder."""
    port = free_port()
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root",
        "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={workplace}",
        f"--LabApp.workspaces_dir={workplace}/.workspaces", "--LabApp.news_url=None",
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with serving(command, f"{address}/api"):
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = Options()
    options.binary_location = CHROMIUM or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--window-size=1400,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_jupyterlab(lab, browser, name):
    browser.get(f"{lab}/lab/tree/{name}.ipynb?reset")
    wait_for("kernel", 120, lambda: browser.execute_script(READY))
    browser.find_element(By.CSS_SELECTOR, ".jp-Notebook .jp-Cell").click()
    browser.execute_script(RUN)

    def finished():
        cells = [c for c in json.loads(browser.execute_script(CELLS)) if c["cell_type"] == "code"]
        outputs = [output for cell in cells for output in cell["outputs"]]
        failed = [o for o in outputs if o["output_type"] == "error"]
        assert not failed, failed
        started = all(cell["execution_count"] for cell in cells)  # the last one may be at work
        return cells if started and browser.execute_script(READY) else None

    cells = wait_for("end of the notebook", 300, finished)
    outputs = [output for cell in cells for output in cell["outputs"]]
    warnings = [o["text"] for o in outputs if o.get("name") == "stderr"]
    assert not warnings
    shown = sum("<img" in "".join(o.get("data", {}).get("text/html", "")) for o in outputs)
    assert shown >= N_FIGURES[name]
    if shown:
        seen = "return document.querySelectorAll('.jp-OutputArea img').length"
        assert wait_for("figure on the page", 30, lambda: browser.execute_script(seen))


WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
LOADED = "return location.protocol === 'file:' && document.readyState === 'complete'"
BROKEN = "return [...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"


@pytest.mark.parametrize("width", [390, 1400])
def test_the_report_opens_on_a_phone_and_on_a_desk(workplace, browser, width):
    page = workplace / "runs" / "reports" / "smoke.html"
    assert page.stat().st_size < 5e6
    assert "http" not in page.read_text(encoding="utf-8").replace("http-equiv", "")  # offline
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.get(page.as_uri())
    wait_for("whole page", 60, lambda: browser.execute_script(LOADED))
    assert browser.execute_script("return document.images.length") >= 10
    assert browser.execute_script(BROKEN) == 0
    assert browser.execute_script(WIDER) <= 0
    targets = "return [...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))"
    anchors = browser.execute_script(targets)
    assert len(anchors) == 7
    for anchor in anchors:
        found = "return document.getElementById(arguments[0]) !== null"
        assert browser.execute_script(found, anchor.removeprefix("#")), anchor
    alts = browser.execute_script("return [...document.images].map(i => i.alt)")
    assert all(alts)
    assert len(set(alts)) == len(alts)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_dashboard_shows_the_study_and_its_trials(workplace, browser):
    port = free_port()
    address = f"http://127.0.0.1:{port}/dashboard/"
    command = [
        sys.executable, "-m", "hpo_utils", "dashboard", "--port", str(port),
        "--params-file", "params/smoke.yaml", "--overrides", f"paths.outputs_root={workplace}/runs",
    ]  # fmt: skip
    with serving(command, address):
        browser.get(address)
        link = "//a[contains(@href, '/dashboard/studies/') and contains(., 'smoke')]"
        wait_for("link to the study", 60, lambda: browser.find_elements(By.XPATH, link))[0].click()
        shown = "return document.body.innerText.includes('Hyperparameter Importance')"
        wait_for("page of the study", 60, lambda: browser.execute_script(shown))

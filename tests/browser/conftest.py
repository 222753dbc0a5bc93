"""Fixtures for the server, the browser, and the page as a user sees it."""

import base64
import json
import subprocess
import sys
import tempfile
import urllib.request
from functools import partial
from pathlib import Path

import pytest
import suite
from front import Front
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

# Without a sandbox, because root, as in a container, cannot have one, and without the browser's own network traffic.
SWITCHES = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --window-size=1280,900"""


def pytest_addoption(parser) -> None:
    parser.addoption("--page", type=Path)


class Server:
    """`lexivec serve models/nano` on a free port."""

    def __init__(self, program: Path) -> None:
        command = [program, "serve", suite.ROOT / "models" / "nano", "--port", "0", "--log", "warn"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self._process.stderr:
            if address := suite.served_at(line):
                self.address = address
                return
            sys.stderr.write(line)
        raise RuntimeError("the server did not start; its own message is above")

    def post(self, body: dict) -> list[list[float]]:
        """Returns the vectors of a request to the API."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/v1/embeddings", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as response:
            return [item["embedding"] for item in json.load(response)["data"]]

    def get(self, path: str) -> list[dict]:
        with urllib.request.urlopen(f"{self.address}{path}") as response:
            return json.load(response)["data"]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)


class Page:
    """The start page in the browser."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address = driver, address
        self.run, self.cdp = driver.execute_script, driver.execute_cdp_cmd

    def open(self, width: int = 1280, dark: bool = False, address: str | None = None) -> None:
        """Loads the page and waits for its first requests."""
        phone = width < 600
        height, factor = (844, 2) if phone else (900, 1)
        self._screen = {"width": width, "height": height, "deviceScaleFactor": factor, "mobile": phone}
        self.cdp("Emulation.setDeviceMetricsOverride", self._screen)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", {"features": [theme]})
        self.driver.get(f"{address or self.address}/")
        self.wait()

    def wait(self) -> None:
        """Waits until no request is in flight."""
        WebDriverWait(self.driver, 20, 0.02).until(lambda driver: driver.execute_script("return running === null"))

    def find(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def fill(self, selector: str, value: str) -> None:
        """Sets a field's value by script, because the driver cannot type characters beyond the first 65,536."""
        self.run("arguments[0].value = arguments[1]", self.find(selector), value)
        self.run("arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", self.find(selector))
        self.wait()

    def compare(self, terms: list[str] | None = None) -> None:
        if terms is not None:
            self.fill("#terms", "\n".join(terms))
        self.find("button.primary").click()
        self.wait()

    def cells(self) -> list[tuple[str, str, float]]:
        """Returns each cell of the matrix: the terms of its row and column, and its number."""
        script = """
            const columns = [...document.querySelectorAll('thead th')].map(head => head.textContent);
            return [...document.querySelectorAll('tbody tr')].flatMap(row => [...row.cells].slice(1).map(
                cell => [row.cells[0].textContent, columns[cell.cellIndex], cell.textContent]))"""
        return [(row, column, float(number.replace("−", "-"))) for row, column, number in self.run(script)]

    def sent(self) -> list[tuple[str, dict | None]]:
        """Returns URL and JSON body of the page's requests since the last call, without `data:` URLs."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        # The browser's first tab sends requests as well.
        requests = [params["request"] for params in sent if params["documentURL"].startswith(self.address)]
        bodies = [json.loads(request["postData"]) if "postData" in request else None for request in requests]
        return [(r["url"], body) for r, body in zip(requests, bodies) if not r["url"].startswith("data:")]

    def complaints(self) -> list[str]:
        """Returns the console's messages since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self, file: Path) -> None:
        # Uses a screen as tall as the page, because a scroll bar would make the page narrower.
        height = self.run("return document.documentElement.scrollHeight")
        self.cdp("Emulation.setDeviceMetricsOverride", self._screen | {"height": height + 16})
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        shot = self.cdp("Page.captureScreenshot", {"format": "png"})
        file.write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture(scope="session")
def server():
    server = Server(suite.program())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def driver():
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for switch in [*SWITCHES.split(), f"--user-data-dir={profile}"]:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # Without both paths, Selenium would look for downloads.
        options.binary_location = "/usr/bin/chromium"
        driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        yield driver
        driver.quit()


@pytest.fixture(scope="session")
def front(server, request):
    """Creates proxies in front of the server (front.py)."""
    return partial(Front, server.address, page=request.config.getoption("--page"))


@pytest.fixture(scope="session")
def address(server, front, request) -> str:
    return front().address if request.config.getoption("--page") else server.address


@pytest.fixture
def page(driver, address):
    """The opened page with the compared example."""
    page = Page(driver, address)
    page.sent(), page.complaints()
    page.open()
    yield page
    complaints = page.complaints()
    assert not complaints, "the console has messages that the test did not read"

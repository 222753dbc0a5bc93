"""Tests of the page that `lexivec compare --html` writes, opened from its file as a user would."""

import base64
import json
import subprocess
import tempfile
from pathlib import Path

import pytest
import suite
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

TEXTS = ["cardiac arrest", "心肌梗死", "инфаркт", "force majeure", "breach of contract", "shear stress", "import", "π ≈ 3.14"]
TEXTS += ["</script><img src=x onerror=document.title='run'>", "ابن سينا", "a | b \\ `c` *d*", "x" * 400, "fn main() {}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A comparison of two precisions with nano, with pairs, a retrieval set and a gate that fails."""
    folder = tmp_path_factory.mktemp("report")
    program, nano = suite.program(), suite.ROOT / "models" / "nano"
    quiet = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([program, "convert", nano, "--precision", "fp16,int8", "--output", "."], **quiet)
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    pairs = "".join(f"{a},{b},{abs(i - j)}\n" for i, a in enumerate(TEXTS[:6]) for j, b in enumerate(TEXTS[:6]))
    (folder / "pairs.csv").write_text("text_a,text_b,score\n" + pairs)
    (folder / "set" / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": f"t{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS)]
    (folder / "set" / "corpus.jsonl").write_text("".join(lines))
    (folder / "set" / "queries.jsonl").write_text("".join(line.replace('"t', '"q', 1) for line in lines))
    (folder / "set" / "qrels" / "test.tsv").write_text("".join(f"q{i}\tt{(i + 1) % 5}\t1\n" for i in range(5)))
    command = [program, "compare", nano, "fp16", "int8", "--texts", "texts.jsonl", "--pairs", "pairs.csv"]
    command += ["--retrieval", "set", "--speed-seconds", "0.2", "--resamples", "100", "--min-cosine", "0.99999"]
    command += ["--html", "report.html", "--json", "report.json"]
    failed = subprocess.run(command, **quiet | {"check": False})
    assert failed.returncode == 1, "the gate fails, and everything else works"
    return folder


@pytest.fixture
def report(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


def load(driver, folder: Path, width: int = 1280, dark: bool = False) -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    driver.get_log("browser"), driver.get_log("performance")
    driver.get((folder / "report.html").as_uri())
    drawn = "return [...document.querySelectorAll('figure svg')].every(picture => picture.childElementCount > 3)"
    WebDriverWait(driver, 20, 0.05).until(lambda driver: driver.execute_script(drawn))


@pytest.fixture
def page(driver, folder):
    load(driver, folder)
    yield driver
    assert not driver.get_log("browser")


def texts(driver, selector: str) -> list[str]:
    return [element.text for element in driver.find_elements(By.CSS_SELECTOR, selector)]


def test_the_page_sends_no_requests_and_runs_no_script_in_texts(page):
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in sent} <= {"file", "data"}
    assert page.title == "fp16, int8 against nano"


def test_the_page_shows_the_reports_figures(page, report):
    headings = texts(page, "h2")
    for heading in ["Size and speed", "Similarity to the baseline", "Quality against cost", "By output dimension", "By layer"]:
        assert heading in headings
    gates = texts(page, ".gate")
    assert gates[0].startswith("✗ minimum cosine 0.99999 int8: 0.99")
    assert gates[1].startswith("✓ minimum cosine 0.99999 fp16: 0.99")
    int8 = report["candidates"][1]
    rows = texts(page, "tbody tr")
    facts = int8["facts"]
    assert any(row.startswith("int8") and f"{facts['bytes'] / 1e6:.1f}" in row for row in rows)
    # The tab of the candidate with the worst text is open, and its worst text comes first.
    tables = page.find_elements(By.CSS_SELECTOR, "table")
    worst = tables[-1].find_elements(By.CSS_SELECTOR, "tbody tr")
    assert len(worst) == len(TEXTS)
    assert int8["worst"][0]["text"][:20] in worst[0].text
    assert page.find_element(By.CSS_SELECTOR, "[aria-pressed=true]").text == "int8"


def test_a_click_shows_a_candidates_worst_texts(page, report):
    page.find_element(By.XPATH, "//button[contains(., 'fp16')]").click()
    first = page.find_elements(By.CSS_SELECTOR, "table")[-1].find_element(By.CSS_SELECTOR, "tbody tr")
    assert report["candidates"][0]["worst"][0]["place"] in first.text


def test_marks_show_their_figures_to_pointer_and_keyboard(page):
    tip = page.find_element(By.ID, "tip")
    assert not tip.is_displayed()
    mark = page.find_element(By.CSS_SELECTOR, "figure g[tabindex]")
    ActionChains(page).move_to_element(mark).perform()
    assert tip.is_displayed() and "mean 0.99" in tip.text
    ActionChains(page).move_to_element(page.find_element(By.TAG_NAME, "h1")).perform()
    assert not tip.is_displayed()
    page.execute_script("arguments[0].focus()", mark)
    assert tip.is_displayed()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_exceeds_its_figure(driver, folder, width):
    load(driver, folder, width=width)
    wide = "return document.documentElement.scrollWidth <= innerWidth"
    assert driver.execute_script(wide), "the page scrolls sideways"
    outside = """
        return [...document.querySelectorAll('figure')].flatMap(figure => {
            const edge = figure.getBoundingClientRect();
            return [...figure.querySelectorAll('text, circle, path, rect, line')].filter(mark => {
                const box = mark.getBoundingClientRect();
                return box.left < edge.left - 1 || box.right > edge.right + 1 || box.top < edge.top || box.bottom > edge.bottom + 1;
            }).map(mark => `${figure.textContent}: ${mark.outerHTML}`);
        })"""
    assert driver.execute_script(outside) == []


def test_the_dark_page_is_dark(driver, folder):
    load(driver, folder, dark=True)
    colours = "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    paper, ink = driver.execute_script(colours)
    brightness = lambda colour: sum(int(part) for part in colour.strip("rgb()").split(","))
    assert brightness(paper) < 100 < 600 < brightness(ink)


def test_screenshots(driver, folder):
    """Writes screenshots for visual inspection."""
    into = Path(tempfile.gettempdir()) / "lexivec-report"
    into.mkdir(exist_ok=True)
    for name, width, dark in [("light", 1280, False), ("dark", 1280, True), ("phone", 390, False)]:
        load(driver, folder, width=width, dark=dark)
        height = driver.execute_script("return document.documentElement.scrollHeight")
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        (into / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
    print(f"\nscreenshots: {into}")

"""Tests of the page that `lexivec terms` writes, opened from its file as a user would."""

import base64
import csv
import json
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import suite
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

HOSTILE = ["</script><img src=x onerror=document.title='run'>", "<b>bold</b>", "line\u2028separator", "\u202eright to left", "{/*DATA*/}"]
HOSTILE += ["/*SCRIPT*/", "x" * 2000, "ابن سينا", "it's \"quoted\" & \\escaped\\"]
SUBJECTS = ["heart", "court", "bank", "gear", "code"]
LANGUAGES = ["en", "de", "zh", "</script>"]
SETTINGS = ["--min-cluster-size", "5", "--min-samples", "3"]


def analyse(folder: Path, terms: list[tuple[str, str, str]], vectors: np.ndarray, *options: str) -> None:
    with (folder / "terms.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("term", "language", "domain"), *terms])
    np.save(folder / "vectors.npy", vectors.astype("<f4"))
    command = [suite.program(), "terms", "terms.csv", "--vectors", "vectors.npy", "--output", "out", "--force", *SETTINGS, *options]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def groups(count: int, width: int = 16) -> tuple[list, np.ndarray]:
    """Terms of five subjects, around five directions."""
    chance = np.random.default_rng(1)
    centres = chance.standard_normal((len(SUBJECTS), width))
    vectors = centres[np.arange(count) % len(SUBJECTS)] + 0.25 * chance.standard_normal((count, width))
    terms = [(f"{SUBJECTS[i % 5]} {i}", LANGUAGES[i % 4], SUBJECTS[i % 5]) for i in range(count)]
    for i, hostile in enumerate(HOSTILE):
        terms[i] = (hostile, *terms[i][1:])
    return terms, vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("map")
    analyse(folder, *groups(200))
    return folder


@pytest.fixture
def rows(folder) -> list[dict]:
    with (folder / "out" / "terms.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def load(driver, folder: Path, width: int = 1280, dark: bool = False) -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    driver.get_log("browser"), driver.get_log("performance")
    driver.get((folder / "out" / "report.html").as_uri())
    drawn(driver)


def drawn(driver) -> None:
    """Waits until the map is drawn."""
    if driver.execute_script("return hasMap"):
        WebDriverWait(driver, 20, 0.05).until(lambda driver: driver.execute_script("return width > 0"))
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


@pytest.fixture
def page(driver, folder):
    load(driver, folder)
    yield driver
    assert not driver.get_log("browser")


def find(page, selector: str):
    return page.find_element(By.CSS_SELECTOR, selector)


def click(page, text: str, within: str = "#panel") -> None:
    """Clicks the first button with this text."""
    buttons = page.find_elements(By.CSS_SELECTOR, f"{within} button")
    next(button for button in buttons if text in button.text).click()
    drawn(page)


def hover(page, term: int):
    """Moves the pointer to a term's point."""
    canvas = find(page, "#map")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    x, y = page.execute_script("return [atX(arguments[0]) - width / 2, atY(arguments[0]) - height / 2]", term)
    # The canvas has a border, and the offset is from its centre.
    actions = ActionChains(page, duration=0)
    actions.move_to_element_with_offset(canvas, round(x), round(y)).perform()
    return actions


def colours(page) -> list[int]:
    """Returns the number of pixels of each colour of the map, largest first."""
    script = """
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
        copy.drawImage(canvas, 0, 0);
        const pixels = new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer), counts = new Map();
        for (const pixel of pixels) if (pixel >>> 24 === 255) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
        return [...counts].sort((a, b) => b[1] - a[1]).map(([colour]) => colour)"""
    return page.execute_script(script)


def test_the_page_sends_no_requests_and_runs_no_script_in_terms(page):
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in sent} <= {"file", "data"}
    for term in range(len(HOSTILE)):
        page.execute_script("choose(arguments[0])", term)
        assert find(page, "#panel h3").get_attribute("textContent")[:100] == HOSTILE[term][:100]
        hover(page, term)
    for by in ("language", "domain"):
        find(page, f"#colours [value={by}]").click()
    assert page.title == "terms.csv: 5 clusters"
    counts = page.execute_script("return ['script', 'img', 'b'].map(tag => document.querySelectorAll(`${tag}:not(#tip b)`).length)")
    assert counts == [2, 0, 0], "a term became an element"


def test_hovering_shows_the_term_and_its_facts(page, rows):
    tip = find(page, "#tip")
    assert not tip.is_displayed()
    for term in (20, 57, 123):
        page.execute_script("showTerms([arguments[0]])", term)
        drawn(page)
        hover(page, term)
        shown = tip.text.split("\n")
        assert shown[0] == rows[term]["term"]
        label = page.execute_script("return labelOf(labels[arguments[0]])", term)
        assert shown[1:] == [f"in “{label}”", f"language {rows[term]['language']}", f"domain {rows[term]['domain']}"]
    ActionChains(page).move_to_element(find(page, "#query")).perform()
    assert not tip.is_displayed()


def test_the_nearest_term_is_found_everywhere(page, rows):
    """Compares the grid with a search through all terms, at several zooms."""
    script = """
        const [x, y] = arguments;
        let found = null, best = REACH * REACH;
        for (let term = 0; term < count; term++) {
            const distance = (atX(term) - x) ** 2 + (atY(term) - y) ** 2;
            if (distance < best) [found, best] = [term, distance];
        }
        const near = nearest(x, y), at = term => term === null ? null : [atX(term), atY(term)];
        return [at(found), at(near)]"""
    chance = random.Random(1)
    for factor in (1, 3, 40):
        page.execute_script("showAll(); zoom(arguments[0], atX(60), atY(60))", factor)
        for _ in range(60):
            expected, found = page.execute_script(script, chance.uniform(-20, 900), chance.uniform(-20, 700))
            assert expected == found


def test_a_click_selects_a_term_and_its_cluster(page, rows):
    hover(page, 77).click().perform()
    assert find(page, "#panel h3").text == page.execute_script("return terms[current]")
    page.execute_script("choose(77)")
    click(page, page.execute_script("return labelOf(labels[77])")[:20])
    cluster = rows[77]["cluster"]
    members = [row for row in rows if row["cluster"] == cluster]
    assert f"{len(members)} terms" in find(page, "#panel").text
    assert page.execute_script("return shown.reduce((sum, flag) => sum + flag, 0)") == len(members)
    click(page, "Show all terms")
    assert page.execute_script("return shown") is None


def test_search_lists_and_emphasises_terms(page, rows):
    field = find(page, "#query")
    field.send_keys("COURT 1", Keys.ENTER)
    drawn(page)
    expected = [row["term"] for row in rows if "court 1" in row["term"]]
    shown = [item.text for item in page.find_elements(By.CSS_SELECTOR, "#panel li button > bdi")]
    assert sorted(shown) == sorted(expected) and len(expected) > 10
    assert f"{len(expected)} terms found" in find(page, "#panel").text
    assert find(page, "[role=status]#found").get_attribute("textContent") == f"{len(expected)} terms found"
    assert page.execute_script("return view.scale > view.whole")
    field.send_keys(Keys.ESCAPE)
    assert page.execute_script("return shown") is None and field.get_attribute("value") == ""
    field.send_keys("nothing like this")
    assert "0 terms found" in find(page, "#panel").text


@pytest.mark.parametrize("dark", [False, True])
def test_colours_follow_the_choice_and_the_theme(driver, folder, dark):
    load(driver, folder, dark=dark)
    by_cluster = colours(driver)
    find(driver, "#colours [value=language]").click()
    drawn(driver)
    assert set(colours(driver)[1:4]) != set(by_cluster[1:4])
    legend = [entry.text for entry in driver.find_elements(By.CSS_SELECTOR, "#legend button")]
    assert legend == [f"{language} 50" for language in sorted(LANGUAGES)]
    first = find(driver, "#legend button")
    first.click()
    assert first.get_attribute("aria-pressed") == "true"
    assert driver.execute_script("return shown.reduce((sum, flag) => sum + flag, 0)") == 50
    first.click()
    assert first.get_attribute("aria-pressed") == "false" and driver.execute_script("return shown") is None
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in paper.strip("rgb()").split(",")) < 100) is dark


def test_the_map_works_with_the_keyboard(page):
    find(page, "#query").send_keys(Keys.TAB)
    page.execute_script("canvas.focus()")
    view = lambda: page.execute_script("return [view.left, view.top, view.scale]")
    before = view()
    ActionChains(page).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN).perform()
    assert view()[0] < before[0] and view()[1] < before[1] and view()[2] == before[2]
    ActionChains(page).send_keys("+").perform()
    assert view()[2] > before[2]
    ActionChains(page).send_keys("0").perform()
    assert view() == before
    page.execute_script("showTerms([50])")
    ActionChains(page).send_keys("+", "+", "+", "+", "+", "+").perform()
    assert find(page, "#tip").text.startswith(page.execute_script("return terms[50]"))
    ActionChains(page).send_keys(Keys.ENTER).perform()
    assert find(page, "#panel h3").text == page.execute_script("return terms[50]")
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert "clusters" in find(page, "#panel h3").text


def test_everything_has_an_accessible_name_and_a_list(page, rows):
    for field in page.find_elements(By.CSS_SELECTOR, "canvas, input, button, svg, [role=region], [role=group]"):
        assert not field.is_displayed() or field.accessible_name, field.get_attribute("outerHTML")[:80]
    # Every term is in the list of its cluster, which the table opens.
    heads = [row.text for row in page.find_elements(By.CSS_SELECTOR, "#clusters tbody th")]
    assert len(heads) == len({row["cluster"] for row in rows})
    find(page, "#clusters tbody th button").click()
    assert page.switch_to.active_element == find(page, "#panel")
    listed = {item.get_attribute("textContent") for item in page.find_elements(By.CSS_SELECTOR, "#panel li bdi")}
    assert {row["term"] for row in rows if row["cluster"] == "0" and len(row["term"]) < 100} <= listed
    # A button that the panel replaces does not take the focus with it, and the map is visible.
    find(page, "#panel li button").send_keys(Keys.ENTER)
    assert page.switch_to.active_element == find(page, "#panel")
    page.execute_script("scrollTo(0, 1e6)")
    page.find_elements(By.CSS_SELECTOR, "#clusters tbody th button")[-1].click()
    assert page.execute_script("return panel.getBoundingClientRect().bottom > 100 && panel.getBoundingClientRect().top < innerHeight - 100")


def test_the_wheel_scrolls_the_page_until_the_map_is_clicked(page, folder):
    canvas = find(page, "#map")
    scale = lambda: page.execute_script("return view.scale")
    until = lambda reached: WebDriverWait(page, 10, 0.05).until(lambda page: reached())
    before = scale()
    ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, 120).perform()
    until(lambda: page.execute_script("return scrollY > 0"))
    assert scale() == before
    # Chromium sends the wheel of one gesture to one target, so the second one needs a new page.
    load(page, folder)
    canvas = find(page, "#map")
    ActionChains(page).move_to_element_with_offset(canvas, -200, -150).click().perform()
    ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -240).perform()
    until(lambda: scale() > before)


CONTRASTS = """
const pixel = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
const luminance = colour => {
  pixel.fillStyle = colour;
  pixel.fillRect(0, 0, 1, 1);
  const linear = x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
  const [r, g, b] = [...pixel.getImageData(0, 0, 1, 1).data].map(x => linear(x / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const contrast = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
const behind = element => {
  const colour = getComputedStyle(element).backgroundColor;
  return colour.endsWith(', 0)') ? behind(element.parentElement) : colour;
};
const found = [];
for (const element of document.querySelectorAll('h1, h2, h3, p, label, legend, button, th, td, dt, dd, summary, bdi, .soft')) {
  if (!element.checkVisibility()) continue;
  found.push([element.outerHTML.slice(0, 60), contrast(luminance(getComputedStyle(element).color), luminance(behind(element)))]);
}
// Points need 3 to 1, as graphics do. Noise is meant to be faint.
const paper = luminance(getComputedStyle(canvas).backgroundColor);
for (let cluster = 1; cluster < 60; cluster++) found.push([`cluster ${cluster}`, 1.5 * contrast(luminance(clusterColour(cluster)), paper)]);
return found;"""


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(driver, folder, dark):
    load(driver, folder, dark=dark)
    find(driver, "summary").click()
    found = driver.execute_script(CONTRASTS)
    assert len(found) > 150
    assert not [(name, ratio) for name, ratio in found if ratio < 4.5]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_never_scrolls_sideways(driver, folder, width):
    load(driver, folder, width=width)
    for action in ("choose(null)", "choose(6)", "openCluster(1)", "recolour('language')"):
        driver.execute_script(action)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth"), action


def test_a_page_without_a_map_lists_terms(driver, tmp_path):
    terms, vectors = groups(60)
    analyse(tmp_path, terms, vectors, "--map", "none")
    load(driver, tmp_path)
    assert not find(driver, "#map").is_displayed() and not find(driver, "#zoom").is_displayed()
    find(driver, "#query").send_keys("bank")
    assert "terms found" in find(driver, "#panel").text
    find(driver, "#clusters tbody th button").click()
    assert not driver.get_log("browser")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A report of 100,000 random points. The analysis of so many takes minutes, so a small report gets their data."""
    folder = tmp_path_factory.mktemp("large")
    analyse(folder, *groups(60))
    page = (folder / "out" / "report.html").read_text()
    head, rest = page.split('id="data">')
    data, tail = rest.split("</script>", 1)
    data = json.loads(data)
    chance = np.random.default_rng(2)
    count, clusters = 100_000, 900
    # The first row of each cluster is its medoid, and half of the rows are noise.
    labels = np.concatenate([np.arange(1, clusters + 1), chance.integers(0, clusters + 1, count - clusters)])
    labels[count // 2 :] = 0
    centres = chance.uniform(4000, 61000, (clusters + 1, 2))
    places = np.where((labels > 0)[:, None], centres[labels] + chance.normal(0, 700, (count, 2)), chance.uniform(0, 65535, (count, 2)))
    packed = lambda numbers, bits: {
        "bits": bits,
        "base64": base64.b64encode(np.clip(numbers, 0, 2**bits - 1).astype(f"<u{bits // 8}").tobytes()).decode(),
    }
    data["terms"] = [f"term number {i}" for i in range(count)]
    data["labels"], data["probabilities"] = packed(labels, 16), packed(chance.integers(0, 256, count), 8)
    data["map"] |= {"x": packed(places[:, 0], 16), "y": packed(places[:, 1], 16)}
    data["languages"] = {"values": [f"l{i}" for i in range(12)], "of": packed(chance.integers(0, 13, count), 8)}
    data["domains"] = None
    near = lambda i: [{"cluster": (i + 1) % clusters, "similarity": 0.5}]
    data["clusters"] = [
        {"cluster": i, "size": int((labels == i + 1).sum()), "medoid": i, "mean_probability": 0.5, "nearest": near(i)} for i in range(clusters)
    ]
    (folder / "out" / "report.html").write_text(f'{head}id="data">{json.dumps(data)}</script>{tail}')
    return folder


def test_a_hundred_thousand_terms_stay_usable(driver, large):
    assert (large / "out" / "report.html").stat().st_size < 4_000_000
    load(driver, large)
    # Reading a pixel waits until the map is drawn.
    took = "const from = performance.now(); paint(); pen.getImageData(0, 0, 1, 1); return performance.now() - from"
    assert driver.execute_script(took) < 2000, "also on a busy machine without a GPU"
    hover(driver, 7)
    assert find(driver, "#tip").text.startswith("term number")
    find(driver, "#query").send_keys("number 9999", Keys.ENTER)
    assert "11 terms found" in find(driver, "#panel").text
    click(driver, "term number 99990")
    assert find(driver, "#panel h3").text == "term number 99990"
    driver.execute_script("openCluster(0)")
    assert len(driver.find_elements(By.CSS_SELECTOR, "#panel li")) == 100
    click(driver, "Show more of")
    assert len(driver.find_elements(By.CSS_SELECTOR, "#panel li")) == 200
    assert not driver.get_log("browser")


def test_screenshots(driver, folder, large):
    """Writes screenshots for visual inspection."""
    into = Path(tempfile.gettempdir()) / "lexivec-map"
    into.mkdir(exist_ok=True)
    for name, of, width, dark in [("light", folder, 1280, False), ("dark", folder, 1280, True), ("phone", folder, 390, False), ("large", large, 1280, False)]:
        load(driver, of, width=width, dark=dark)
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        (into / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
    print(f"\nscreenshots: {into}")

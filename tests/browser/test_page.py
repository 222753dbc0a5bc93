"""Tests of the start page in a browser, compared with the API."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

TERMS = [
    "cardiac arrest",
    "心肌梗死",
    "force majeure",
    "不可抗力",
    "credit default swap",
    "shear stress",
    "binary search tree",
]
AWKWARD = ["it's", 'a "quoted" term', r"back\slash \n", "$HOME `id` $(id) !!", "%s {}", "ابن سينا", "🫀 heart"]
AWKWARD += ["<img src=x onerror=document.title='run'>"]


def cosines(vectors) -> np.ndarray:
    unit = np.array(vectors, dtype=np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit @ unit.T


def assert_matrix(page, server, body: dict) -> None:
    """Checks that the matrix has the cosines of the API's vectors for `body`."""
    terms = body["input"]
    expected = cosines(server.post(body))
    cells = page.cells()
    assert len(cells) == len(terms) ** 2
    for row, column, number in cells:
        cosine = expected[terms.index(row), terms.index(column)]
        assert abs(number - cosine) <= 0.005 + 1e-5, (row, column, number, cosine)


def last_body(page) -> dict:
    return [body for url, body in page.sent() if url.endswith("/v1/embeddings")][-1]


def run_snippets(page, **environment) -> tuple[list, list]:
    """Runs the page's curl command and its Python program unchanged; returns the vectors that each prints."""
    environment = os.environ | environment
    shell = subprocess.run(["bash", "-ec", page.text("#curl")], capture_output=True, check=True, env=environment)
    program = page.text("#python") + "\nimport json; print(json.dumps(vectors))"
    python = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    return [item["embedding"] for item in json.loads(shell.stdout)["data"]], json.loads(python.stdout)


def test_opens_with_an_example_and_contacts_only_the_server(page):
    terms = page.find("#terms").get_attribute("value").split("\n")
    assert len(page.cells()) == len(terms) ** 2
    tokens, dimensions, ms = (float(part.split()[0]) for part in page.text("#status").split(" · ")[1:])
    assert tokens > len(terms) and dimensions == 256 and ms > 0
    urls = sorted(url.removeprefix(page.address) for url, _ in page.sent())
    assert urls == ["/", "/v1/domains", "/v1/embeddings", "/v1/models"]
    links = {link.get_attribute("href") for link in page.driver.find_elements("css selector", "a")}
    assert links == {f"{page.address}/{route}" for route in ("docs", "metrics", "health")}


def test_is_sent_with_a_strict_policy(page):
    script = "return fetch('').then(response => response.headers.get('content-security-policy'))"
    policy = page.run(script)
    assert policy.startswith("default-src 'none'") and "connect-src 'self'" in policy


def test_the_matrix_has_the_cosines_of_the_apis_vectors(page, server):
    page.find("#terms").clear()
    page.find("#terms").send_keys("\n\n  ".join(TERMS) + "\n")
    page.find("#terms").send_keys(Keys.CONTROL, Keys.ENTER)
    page.wait()
    assert_matrix(page, server, {"model": "nano", "input": TERMS})
    cell = page.find("td[data-i='1'][data-j='3']")
    before = cell.rect
    ActionChains(page.driver).move_to_element(cell).perform()
    assert cell.rect == before, "the matrix moves under the pointer"
    tip = page.text("#tip").split("\n")
    assert tip[:2] == [TERMS[1], TERMS[3]]
    expected = cosines(server.post({"model": "nano", "input": TERMS}))[1, 3]
    assert abs(float(tip[2].replace("−", "-")) - expected) < 5e-5 + 1e-6


def test_clustering_only_reorders_the_matrix(page, server):
    shuffled = TERMS[::2] + TERMS[1::2]
    page.compare(shuffled)

    def order() -> list[str]:
        return [column for _, column, _ in page.cells()[: len(TERMS)]]

    def between_neighbours() -> float:
        number = {(row, column): value for row, column, value in page.cells()}
        return sum(number[pair] for pair in itertools.pairwise(order()))

    assert order() == shuffled
    typed = between_neighbours()
    page.find("[value=clustered]").click()
    assert sorted(order()) == sorted(TERMS) and order() != shuffled
    assert between_neighbours() > typed
    assert_matrix(page, server, {"model": "nano", "input": shuffled})


def test_the_plane_shows_the_principal_components(page, server):
    page.compare(TERMS)
    script = "return [...document.querySelectorAll('circle')].map(c => [c.cx.baseVal.value, -c.cy.baseVal.value])"
    drawn = np.array(page.run(script))
    vectors = np.array(server.post({"model": "nano", "input": TERMS}), dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    drawn -= drawn.mean(axis=0)
    scale = np.linalg.norm(drawn) / np.linalg.norm(s[:2])
    for axis in range(2):
        expected = u[:, axis] * s[axis] * scale
        error = min(np.abs(drawn[:, axis] - sign * expected).max() for sign in (1, -1))
        assert error < 0.05, f"component {axis} is {error} pixels off"
    shares = [
        page.run("return document.querySelectorAll('.axis')[arguments[0]].textContent", axis) for axis in range(2)
    ]
    for share, exact in zip(shares, s**2 / (s**2).sum()):
        assert share.endswith(f" {round(100 * exact)} %")


@pytest.mark.parametrize("width", [1280, 390])
def test_labels_do_not_overlap(page, width):
    page.open(width)
    script = "return [...document.querySelectorAll('.point text:not(.crowded)')].map(t => t.getBoundingClientRect())"
    boxes = page.run(script)
    assert len(boxes) > 7
    for a, b in itertools.combinations(boxes, 2):
        across = min(a["right"], b["right"]) - max(a["left"], b["left"])
        down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
        assert across < 1 or down < 1, (a, b)


def test_dimensions_domain_and_instruction_reach_request_and_snippets(page, server):
    page.compare(TERMS)
    page.find("#dimensions").send_keys(Keys.ARROW_LEFT)
    page.wait()
    body = last_body(page)
    assert body == {"model": "nano", "dimensions": 128, "input": TERMS}
    assert_matrix(page, server, body)
    assert "    dimensions=128,\n" in page.text("#python") and '"dimensions": 128' in page.text("#curl")

    domains = {domain["name"]: domain["text"] for domain in server.get("/v1/domains")}
    offered = [option.text for option in page.driver.find_elements("css selector", "#domain option")]
    assert offered[1:-1] == list(domains)
    page.find("#domain").send_keys("medical/library")
    page.wait()
    body = last_body(page)
    assert body == {"model": "nano", "dimensions": 128, "domain": "medical/library", "input": TERMS}
    assert_matrix(page, server, body)
    assert 'extra_body={"domain": "medical/library"}' in page.text("#python")
    assert domains["medical/library"] in page.text("#wording")

    page.find("#domain").send_keys(Keys.END)
    page.wait()
    page.find("#instruction").send_keys("Represent the patient's condition:")
    assert "before the form changed" in page.text("#status"), "the page must not show results of another request as current"
    page.find("#instruction").send_keys(Keys.ENTER)
    page.wait()
    body = last_body(page)
    assert body["instruction"] == "Represent the patient's condition:" and "domain" not in body
    assert_matrix(page, server, body)
    assert "before the form changed" not in page.text("#status")


def test_snippets_run_and_print_the_pages_vectors(page, server):
    page.fill("#domain", "own")
    page.fill("#instruction", 'Represent the patient\'s "condition":')
    page.fill("#dimensions", "1")
    page.compare(AWKWARD)
    body = last_body(page)
    assert body["input"] == AWKWARD and body["dimensions"] == 64
    vectors = np.array(server.post(body))
    for printed in run_snippets(page):
        assert np.abs(np.array(printed) - vectors).max() < 1e-6
    assert_matrix(page, server, body)
    assert page.driver.title == "lexivec" and page.run("return document.images.length") == 0, "a term was read as HTML"


def test_copy_buttons_copy_the_snippets(page):
    for name in ("curl", "python"):
        snippet = page.text(f"#{name}")
        page.find(f"[data-copy={name}]").click()
        assert page.text("#status").startswith("Copied")
        page.find("#terms").clear()
        page.find("#terms").send_keys(Keys.CONTROL, "v")
        assert page.find("#terms").get_attribute("value").strip() == snippet
        page.open()


def test_errors_are_shown_as_sentences(page):
    for terms, words in [(["one"], "at least two"), ([str(n) for n in range(61)], "61 terms are too many")]:
        page.sent()
        page.compare(terms)
        assert words in page.text("#error") and not page.sent()
    page.compare(["short", "long " * 5000])
    assert "4096 tokens" in page.text("#error") and "“long long" in page.text("#error")
    page.run("models[0].id = 'nobody'")
    page.compare(TERMS)
    assert "`nobody` does not exist" in page.text("#error")
    page.run("models[0].id = 'nano'")
    page.compare(TERMS)
    assert not page.find("#error").is_displayed()
    complaints = page.complaints()
    assert len(complaints) == 2 and "status of 400" in complaints[0] and "status of 404" in complaints[1]


def test_an_unreachable_server_is_reported(page, front):
    proxy = front()
    page.open(address=proxy.address)
    proxy.stop()
    page.compare()
    assert "cannot be reached" in page.text("#error")
    assert "ERR_CONNECTION_REFUSED" in " ".join(page.complaints())


def test_behind_a_prefix_and_a_key(page, front, server):
    proxy = front(prefix="/vectors", key="s3cret")
    page.open(address=proxy.address)
    assert "asks for an API key" in page.text("#error")
    assert page.driver.switch_to.active_element == page.find("#key")
    page.find("#key").send_keys("s3cret", Keys.ENTER)
    page.wait()
    assert not page.find("#error").is_displayed()
    page.compare(TERMS)
    assert_matrix(page, server, {"model": "nano", "input": TERMS})
    assert f"{proxy.address}/v1" in page.text("#curl") and "s3cret" not in page.run("return document.body.innerHTML")
    vectors = np.array(server.post({"model": "nano", "input": TERMS}))
    for printed in run_snippets(page, OPENAI_API_KEY="s3cret"):
        assert np.abs(np.array(printed) - vectors).max() < 1e-6
    assert page.run("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    complaints = page.complaints()
    assert complaints and all("status of 401" in complaint for complaint in complaints)


def test_works_with_the_keyboard_and_has_accessible_names(page):
    page.compare(TERMS)
    for field in page.driver.find_elements("css selector", "textarea, select, input, button, pre, table, svg"):
        assert not field.is_displayed() or field.accessible_name, field.get_attribute("outerHTML")[:80]
    page.find("#order input").send_keys(Keys.TAB)
    keys = ActionChains(page.driver)
    keys.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN).perform()
    cell = page.driver.switch_to.active_element
    assert (cell.get_attribute("data-i"), cell.get_attribute("data-j")) == ("1", "2")
    assert page.text("#tip").split("\n")[:2] == [TERMS[1], TERMS[2]]
    cell.send_keys(Keys.ESCAPE)
    assert not page.find("#tip").is_displayed()


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
const check = (name, element, property = 'color') =>
  found.push([name, contrast(luminance(getComputedStyle(element)[property]), luminance(behind(element)))]);
const cell = document.querySelector('tbody td');
for (let v = -100; v <= 100; v++) { paint(cell, v / 100); check(`cosine ${v / 100}`, cell); }
const texts = 'h1, h2, p, a, label, label span, output, legend, button, textarea, select, pre, th';
for (const element of document.querySelectorAll(texts))
  if (element.checkVisibility()) check(element.outerHTML.slice(0, 60), element);
for (const text of document.querySelectorAll('svg text')) check(text.textContent, text, 'fill');
return found;"""


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(page, dark):
    """Every text, and the numbers on every colour of the scale, have WCAG's contrast of 4.5 to 1."""
    page.open(dark=dark)
    found = page.run(CONTRASTS)
    assert len(found) > 250
    assert not [(name, ratio) for name, ratio in found if ratio < 4.5]


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1280, 1920])
def test_never_scrolls_sideways(page, width):
    page.open(width)
    for terms in [None, [f"{'averylongword' * 12} {n}" for n in range(60)]]:
        page.compare(terms)
        assert len(page.cells()) in (225, 3600)
        assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_screenshots(page):
    folder = Path(tempfile.mkdtemp(prefix="lexivec-page-"))
    for name, width, dark in [("light", 1280, False), ("dark", 1280, True), ("phone", 390, False)]:
        page.open(width, dark)
        page.screenshot(folder / f"{name}.png")
        assert (folder / f"{name}.png").stat().st_size > 50_000
    print(f"\nscreenshots: {folder}")

"""The live page in a real Chromium: what it shows, of whom it asks, and that everybody can read and use it.

deploy/install_chromium.py, which `make test` calls, tries to install one; where there is none these are skipped.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import Page, browser, chromium
from test_live import Learner

from streamrec.models.settings import ModelSettings
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.service import BackgroundService
from streamrec.serving.split import Split, setting_name
from streamrec.serving.token import Tokens
from streamrec.store.memory import MemoryStore

pytestmark = pytest.mark.skipif(
    browser() is None, reason="no Chromium here: apt-get install chromium (deploy/install_chromium.py tries)"
)
TOKEN = "a-token-0123456789"
#: What is compiled on the way holds requests up.
PATIENT = Limits(delay_ms=60_000)

#: Every text whose contrast to what is behind it is below 4.5:1 (WCAG 2.2, 1.4.3), and controls without a name.
POORLY_READ = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const colour = rgb(getComputedStyle(element).backgroundColor);
    return colour[3] === 255 || !element.parentElement ? colour : behind(element.parentElement);
  };
  const ground = (element) => element.previousSibling?.localName === "rect"
    ? rgb(getComputedStyle(element.previousSibling).fill) : behind(element.closest("svg") ?? element);
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length || ["title", "option"].includes(element.localName)) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgb(element.closest("svg") ? style.fill : style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  for (const each of document.querySelectorAll("input, textarea, select, button, svg[role=img]")) {
    if (!(each.labels?.length || each.textContent.trim() && each.localName !== "svg" || each.ariaLabel)) {
      found.push(`no name: ${each.outerHTML.slice(0, 60)}`);
    }
  }
  return found;
})()
"""


class Service:
    """A service over a model that this test makes learn."""

    def __init__(self, learner: Learner, url: str) -> None:
        self.learner, self.url = learner, url


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    store = MemoryStore("page")
    learner = Learner(store, ModelSettings())
    learner.learn(900)
    with BackgroundService(store, "m", protection=Protection(PATIENT)) as running:
        yield Service(learner, running.url)
    store.close()


@pytest.fixture(scope="module")
def page(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        page.open(service.url)
        page.until(
            "document.querySelectorAll('#weights tbody tr').length && document.querySelector('#panel-rank')",
            60,
        )
        yield page


def fill(page: Page, form: str, **values: str) -> None:
    for name, value in values.items():
        page.run(f"document.querySelector('#panel-{form} [name={name}]').value = {json.dumps(value)}")
    page.run(
        f"document.querySelector('#panel-{form} textarea').dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def send(page: Page, form: str) -> str:
    answer = f"document.querySelector('#panel-{form} .answer')"
    page.run(f"{answer}.replaceChildren(); document.querySelector('#panel-{form} form').requestSubmit()")
    page.until(f"{answer}.textContent")
    return str(page.run(f"{answer}.textContent"))


def test_it_shows_the_state_of_the_model(page: Page) -> None:
    assert page.run("document.title") == "m – streamrec"
    assert page.run("document.querySelector('#status').textContent") == "live · wide"
    tiles = page.run("document.querySelector('#tiles').innerText")
    for text in (
        "Age of answers",
        "commit ",
        "Learned\n900",
        "Normalised entropy",
        "Calibration",
        "Newest event",
    ):
        assert text in tiles
    assert page.run("document.querySelectorAll('#curves .curve').length") == 3
    assert page.run("document.querySelectorAll('#curves .curve')[0].getTotalLength()") > 100
    assert page.run("document.querySelector('#curves svg').ariaLabel").startswith("Normalised entropy: from ")


def test_it_follows_the_model(page: Page, service: Service) -> None:
    before = service.learner.n
    service.learner.learn(300)
    page.until(f"document.querySelector('#tiles').innerText.includes('{before + 300:,}')")
    page.run("document.querySelector('#span button[value=minutes]').click()")
    page.until("document.querySelectorAll('#curves .curve').length == 3")
    assert page.run("document.querySelector('#span button[value=minutes]').ariaPressed") == "true"


def test_it_shows_the_arms_once_there_are_any(page: Page) -> None:
    assert page.run("document.querySelector('#arms').hidden") is True
    store, name = MemoryStore("page"), setting_name("m")
    other = Learner(store, ModelSettings(kind="ftrl"), "challenger")
    other.learn(100)
    store.change(name, Split.alone("m").with_shares({"challenger": 20}).to_bytes(0), 0)
    page.until("document.querySelectorAll('#arms tbody tr').length == 2")
    page.until("!document.querySelector('#arms').innerText.includes('not ready')")
    said = page.run("document.querySelector('#arms').innerText")
    assert "m (champion)" in said
    assert "challenger (challenger)" in said
    assert "20 %" in said
    store.change(name, Split.alone("m").to_bytes(0), 1)  # as before, for the other tests
    page.until("document.querySelectorAll('#arms tbody tr').length == 1")


def test_it_shows_alarms(page: Page, service: Service) -> None:
    alarm = {"of": "loss", "slice": None, "example": 700, "before": 0.25, "after": 0.5}
    service.learner.alarms = [alarm]
    service.learner.learn(100)
    page.until("!document.querySelector('#alarms').hidden")
    said = page.run("document.querySelector('#alarms').textContent")
    assert said == "drift at example 700: mean loss was 0.25 and is 0.5"
    page.run("document.querySelector('#span button[value=life]').click()")
    page.until("document.querySelectorAll('#curves .alarm').length === 3")


def test_a_form_ranks_and_the_requests_name_weights_and_crosses(page: Page) -> None:
    lines = [
        json.dumps({"item": f"i{i}", "features": {"genre": g, "device": "phone"}})
        for i, g in enumerate(("war", "drama"))
    ]
    fill(page, "rank", user="u3", candidates="\n".join(lines))
    told = send(page, "rank")
    assert told.index("i1") < told.index("i0")
    assert "From commit" in told
    page.until("document.querySelector('#weights').textContent.includes('device=phone×genre=drama')", 20)
    page.until("document.querySelector('.heat')", 20)
    assert "genre × device" in page.run("document.querySelector('.heat').ariaLabel")
    assert "diagonal" not in page.run("document.querySelector('#crosses-note').textContent")  # none is drawn
    fill(page, "rank", candidates="{nonsense")
    assert send(page, "rank").startswith("candidate 1: ")
    fill(page, "rank", candidates='{"item": 7}')
    assert send(page, "rank").startswith("candidates.0.item: Input should be a valid string, got 7")


def test_a_form_explores(page: Page) -> None:
    fill(page, "rank", candidates='{"item":"a"}\n{"item":"b"}', policy="thompson", scale="2")
    assert "Thompson sampling, scale 2, seed" in send(page, "rank")
    fill(page, "rank", policy="no")


def test_a_form_explains(page: Page) -> None:
    fill(page, "explain", user="u3", chosen="i1", features='{"genre":"drama","device":"phone"}')
    told = send(page, "explain")
    for text in ("device=phone×genre=drama", "they add up", "user=u3"):
        assert text in told
    assert page.run("document.querySelectorAll('#panel-explain .bar i').length") > 5


def test_there_is_no_form_for_what_the_service_cannot_do(page: Page) -> None:
    assert page.run("fetch('/v1/model').then((answer) => answer.json())")["retrieves"] is False
    assert page.run("[...document.querySelectorAll('[role=tab]')].map((tab) => tab.textContent).join()") == (
        "Rank,Explain"
    )
    assert [address for address in page.requested() if address.endswith("/v1/retrieve")] == []


def test_a_pause_is_no_slow_decline(page: Page) -> None:
    commits = [(0, 0), (1000, 50), (61_000, 90), (62_000, 130)]  # ms and examples
    points = [{"time_ms": ms, "examples": n} for ms, n in commits]
    drawn = page.run(
        "import('/assets/recent.js').then(({ Recent }) => "
        f"Object.assign(new Recent(), {{ points: {json.dumps(points)} }}).learned())"
    )
    assert drawn == [[1000, 50], [2000, 0], [60_000, 0], [61_000, 40], [62_000, 40]]


def test_keys_are_enough(page: Page) -> None:
    page.run("document.querySelector('#tab-rank').click(); document.querySelector('#tab-rank').focus()")
    press(page, "ArrowRight")
    assert page.run("document.activeElement.id") == "tab-explain"
    assert page.run("document.querySelector('#panel-rank').hidden") is True
    page.run("document.querySelector('#span button').click(); document.querySelector('#curves svg').focus()")
    press(page, "ArrowLeft")
    assert " at " in page.run("document.querySelector('#curves output').textContent")


def press(page: Page, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_read_it(page: Page, tmp_path: Path, width: int, dark: bool) -> None:
    page.resize(width, dark=dark)
    page.until(f"matchMedia('(prefers-color-scheme: dark)').matches === {json.dumps(dark)}")
    page.until(f"innerWidth === {width}")
    assert page.run(POORLY_READ) == []
    assert page.run("document.documentElement.scrollWidth") <= width
    assert mean_lightness(page) < 0.25 if dark else mean_lightness(page) > 0.75
    assert len(page.picture(tmp_path / "page.png")) > 30_000  # an empty one has 5,000


def mean_lightness(page: Page) -> float:
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    return float(np.mean([int(part) for part in colour.strip("rgb()").split(",")])) / 255


def test_the_documentation_can_be_read_and_used(page: Page, service: Service) -> None:
    page.open(f"{service.url}/docs", dark=True)
    assert page.run(POORLY_READ) == []
    page.run("document.querySelector('form[data-path=\"/v1/rank\"]').requestSubmit()")
    page.until("document.querySelector('form[data-path=\"/v1/rank\"] pre').textContent.startsWith('200 in')")


def test_nothing_is_asked_of_anybody_else_and_no_rule_is_broken(page: Page, service: Service) -> None:
    asked = [address for address in page.requested() if not address.startswith("data:")]
    assert asked
    assert {address for address in asked if not address.startswith(service.url)} == set()
    # 422 of the forms, 503 of a first look
    expected = ("/v1/rank", "/v1/model/weights", "/v1/model/crosses")
    assert [fault for fault in page.faults() if not any(path in fault for path in expected)] == []


def test_behind_a_token_it_asks_for_one(page: Page) -> None:
    store = MemoryStore("behind-a-token")
    Learner(store, ModelSettings()).learn(120)
    with BackgroundService(store, "m", protection=Protection(PATIENT, tokens=Tokens([TOKEN]))) as running:
        page.open(running.url)
        page.until("!document.querySelector('#token-form').hidden")
        assert "m" not in page.run("document.querySelector('#model').textContent")
        page.run(f"document.querySelector('#token').value = '{TOKEN}'")
        page.run("document.querySelector('#token-form').requestSubmit()")
        page.until("document.querySelector('#model').textContent === 'm'")
        assert page.run("document.querySelector('#token-form').hidden") is True
        assert TOKEN not in page.run("location.href + document.body.innerText + JSON.stringify(localStorage)")
    page.until("document.querySelector('#status').textContent.includes('does not answer')")
    store.close()

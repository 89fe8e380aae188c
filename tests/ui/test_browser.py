"""The explorer in a real browser: what only the browser knows is tried here, the rest in the other files."""

import json
from urllib.parse import urlencode, urlsplit

import pytest

pytest.importorskip("uvicorn", reason="the explorer is an extra")
pytest.importorskip("selenium", reason="a browser is driven with it")

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import inmem
import inmem.ui
from inmem import Thought, ToolCall
from inmem.ui.events_page import PAGE_ROWS
from tests.chromium import MISSING, WHY_MISSING, started
from tests.ui.conftest import HOSTILE, SCRIPT, fill_with_hostile_content

WAIT_S = 30

pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)


class Browser:
    """A browser on one explorer, with what a reader does."""

    def __init__(self, driver):
        self.driver = driver
        self.base = ""

    def go(self, page="", **query):
        self.driver.get(self.base + page + (f"?{urlencode(query, doseq=True)}" if query else ""))

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def count(self, selector):
        return self.run(f"return document.querySelectorAll({json.dumps(selector)}).length")

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, holds):
        # What is looked at may be replaced at that moment: then it is looked at again.
        return WebDriverWait(self.driver, WAIT_S, 0.05, [StaleElementReferenceException]).until(lambda _: holds())

    def press(self, keys):
        webdriver.ActionChains(self.driver).send_keys(keys).perform()

    def run(self, script):
        return self.driver.execute_script(script)

    def shown(self):
        return self.one("main").text

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requested(self):
        """Every address that was asked for since the last call."""
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = started(tmp_path_factory.mktemp("chromium"))
    driver.get("about:blank")
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, db):
    """A browser on an explorer of `db`. Whatever a test does, nobody complains, and nobody else is asked."""
    made = Browser(driver)
    with inmem.ui.start(db) as explorer:
        made.base = explorer.url
        made.complaints(), made.requested()
        yield made
        driver.get("about:blank")
        assert made.complaints() == []
        asked = [urlsplit(address) for address in made.requested()]
        ours = urlsplit(explorer.url)
        strangers = [each.geturl() for each in asked if each.scheme != "about" and each.netloc != ours.netloc]
        assert strangers == []


def test_hostile_content_stays_text(browser, db):
    fill_with_hostile_content(db)
    browser.go("runs", status="All")
    for name in HOSTILE[:4]:
        assert name in browser.shown()
    # The link of each run leads to that run, whatever it is called.
    links = [link.get_attribute("href") for link in browser.all("td.id a")]
    assert len(links) == len(HOSTILE) + 1
    for page in ("events", "traces", "state", "about"):
        browser.go(page, run=SCRIPT)
        assert browser.one("h1").text == SCRIPT
        # All that is folded away is brought in, and is text as well.
        browser.run("for (const row of document.querySelectorAll('details[data-src]')) row.open = true")
        browser.until(lambda: not browser.all("details[data-src]:not([data-state=loaded])"))
        assert not browser.all("main script, main img, main [onerror], main iframe, main object")
        assert browser.run("return document.scripts.length") == 1
    browser.go(links[-1].removeprefix(browser.base).split("?")[0], run=HOSTILE[1])
    assert browser.one("h1").text == "../x"
    # An alert that had been opened would have made any of these steps fail.


def test_a_form_sends_the_very_run_that_it_is_on(browser, db):
    db.events.append_many(HOSTILE[12], [("a\r\nb", 1), ("other", 2)])
    browser.go("events", run=HOSTILE[12])
    browser.run("const type = document.querySelector('#type'); type.selectedIndex = 1; type.form.requestSubmit()")
    browser.until(lambda: "type.hex" in browser.driver.current_url)
    assert [row.get_attribute("data-key") for row in browser.all("#rows > .row")] == ["0"]


def test_what_an_agent_writes_appears_by_itself(browser, db):
    db.runs.create_run("run")
    db.events.append("run", "first", 1)
    browser.go("runs")
    db.runs.create_run("another")
    browser.until(lambda: browser.count("#rows > .row") == 2)
    db.runs.fail_run("another", "went wrong")
    browser.until(lambda: "went wrong" in browser.shown())

    browser.go("events", run="run")
    browser.all("#rows summary")[0].click()
    browser.until(lambda: "Hash" in browser.shown())
    db.events.append("run", "second", {"text": "<b>new</b>"})
    browser.until(lambda: browser.count("#rows > .row") == 2)
    assert "<b>new</b>" in browser.shown()
    assert browser.one("#rows details").get_attribute("open") is not None
    assert "Timeline 2" in browser.shown()
    db.runs.complete_run("run")
    browser.until(lambda: "Completed" in browser.one("#run-head").text)

    browser.go("state", run="run")
    db.cells.set("run", "phase", "booking")
    browser.until(lambda: "booking" in browser.shown())
    browser.go("traces", run="run")
    root = db.traces.record("run", Thought("a thought"))
    browser.until(lambda: "a thought" in browser.shown())
    db.traces.record_child("run", root.id, ToolCall("search", {"q": 1}, "found", 12))
    browser.until(lambda: "search" in browser.shown())


def test_an_explorer_that_is_gone_is_said_to_be_gone(browser, db):
    with inmem.ui.start(db) as explorer:
        browser.driver.get(explorer.url)
        browser.until(lambda: browser.one("#link-state").text == "live")
    browser.until(lambda: browser.one("#link-state").text == "not connected")
    # Chromium itself complains of the connection that was refused.
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in browser.complaints())
    browser.requested()


def test_what_cannot_be_read_any_more_is_not_said_to_be_live(browser, tmp_path):
    with inmem.open(tmp_path / "db") as owner:
        owner.put("run", "k", 1)
    with inmem.ui.start(tmp_path / "db") as explorer:
        browser.driver.get(explorer.url)
        browser.until(lambda: browser.one("#link-state").text == "live")
        version = browser.one("#version").text
        (tmp_path / "db").rename(tmp_path / "away")
        browser.until(lambda: browser.one("#link-state").text.startswith(f"not read since version {version}: "))
        (tmp_path / "away").rename(tmp_path / "db")
        browser.until(lambda: browser.one("#link-state").text == "live")
        browser.driver.get("about:blank")
    browser.requested()


@pytest.mark.parametrize("page", ["events", "traces", "state", "about"])
def test_a_run_that_is_deleted_is_said_to_be_gone(browser, db, page):
    db.runs.create_run("run")
    db.events.append("run", "e", 1)
    browser.go(page, run="run")
    browser.until(lambda: browser.one("#link-state").text == "live")
    db.runs.delete_run("run")
    browser.until(lambda: browser.one("#link-state").text == "gone: there is no run 'run'")
    db.events.append("another", "e", 1)
    browser.until(lambda: len(browser.complaints()) > 0)
    assert browser.one("#link-state").text == "gone: there is no run 'run'"
    db.events.append("run", "e", "again")
    browser.until(lambda: browser.one("#link-state").text == "live")
    # Chromium itself complains of each page that is not there.
    assert all("404" in complaint for complaint in browser.complaints())


def test_spaces_in_names_can_be_seen(browser, db):
    names = [" lead", "lead", "trail ", "a  b", "a b", "a\u00a0b", "a    b"]
    for name in names:
        db.runs.create_run(name)
        db.kv.put("run", name, {name: name})
        db.events.append("run", name, name)
    for page, selector in (("runs", "td.id a"), ("state", "#keys .name"), ("events", "#rows .type")):
        browser.go(page, **({} if page == "runs" else {"run": "run"}))
        # As it is laid out: the text that a reader sees, spaces that collapse left out.
        shown = {each.get_property("innerText") for each in browser.all(selector)}
        assert shown == {'" lead"', "lead", '"trail "', '"a  b"', "a b", '"a\\xa0b"', '"a    b"'}
    assert '"a  b"' in browser.one("#rows").get_property("innerText")
    db.traces.record("run", ToolCall("x  y", {"a  b": 1}, "c  d"))
    browser.go("traces", run="run")
    shown = browser.one("#rows").get_property("innerText")
    assert all(text in shown for text in ('"x  y"', '{"a  b": 1}', '"c  d"'))


def test_later_events_are_added_below(browser, db):
    db.events.append_many("run", [("e", at) for at in range(2 * PAGE_ROWS + 10)])
    browser.go("events", run="run")
    # Not by its place on the screen: that moves while the rows that come into view find their heights.
    browser.run("document.querySelector('#more a').click()")
    browser.until(lambda: browser.count("#rows > .row") == 2 * PAGE_ROWS)
    browser.press("n")
    browser.until(lambda: browser.count("#rows > .row") == 2 * PAGE_ROWS + 10)
    assert not browser.all("#more")
    db.events.append("run", "e", "the newest")
    browser.until(lambda: "the newest" in browser.shown())
    keys = browser.run("return [...document.querySelectorAll('#rows > .row')].map(row => row.dataset.key)")
    assert keys == [str(at) for at in range(2 * PAGE_ROWS + 11)]


def test_a_tree_folds(browser, db):
    root = db.traces.record("run", Thought("root"))
    call = db.traces.record_child("run", root.id, ToolCall("outer"))
    db.traces.record_child("run", call.id, ToolCall("inner"))
    db.traces.record("run", Thought("next root"))
    browser.go("traces", run="run")
    visible = lambda: [row.text.split()[-1] for row in browser.all("#rows > .row") if row.is_displayed()]  # noqa: E731
    assert len(visible()) == 4
    browser.all(".fold")[1].click()
    assert len(visible()) == 3
    browser.one('[data-fold="all"]').click()
    assert len(visible()) == 2
    # What comes below a folded row stays folded away.
    db.traces.record_child("run", root.id, ToolCall("later"))
    browser.until(lambda: browser.count("#rows > .row") == 5)
    assert len(visible()) == 2
    browser.one('[data-fold="none"]').click()
    assert len(visible()) == 5


def test_it_is_used_with_keys_alone(browser, db):
    db.runs.create_run("one")
    db.runs.create_run("two")
    db.events.append_many("two", [("e", at) for at in range(3)])
    browser.go("runs")
    browser.press("j")
    assert browser.driver.switch_to.active_element.text == "two"
    browser.press("jk" + Keys.ENTER)
    browser.until(lambda: browser.one("h1").text == "two")
    browser.press("jj")
    browser.press(Keys.ENTER)
    browser.until(lambda: "Hash" in browser.shown())
    assert browser.all("#rows details")[1].get_attribute("open") is not None
    browser.press("u")
    browser.until(lambda: browser.one("h1").text == "Runs")
    browser.press("/")
    browser.press("one" + Keys.ENTER)
    browser.until(lambda: "q=one" in browser.driver.current_url)
    assert [link.text for link in browser.all("td.id a")] == ["one"]


def test_chain_and_unregistered_runs_are_found_out_while_the_page_stays(browser, db):
    db.events.append_many("loose", [("e", at) for at in range(3000)])
    browser.go("unregistered")
    browser.until(lambda: "loose" in browser.shown())
    browser.go("events", run="loose")
    address = browser.driver.current_url
    browser.one("[data-inline]").click()
    browser.until(lambda: "intact, 3,000 events" in browser.one("#chain").text)
    assert browser.driver.current_url == address


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_it_fits_and_can_be_read(browser, db, scheme, width):
    db.runs.create_run("x" * 255, tags=["t" * 300], metadata={"m": "w" * 5000})
    db.runs.fail_run("x" * 255, "e" * 3000)
    db.events.append("x" * 255, "t" * 1000, "v" * 5000)
    db.cells.set("x" * 255, "c" * 1000, "v" * 5000)
    parent = db.traces.record("x" * 255, ToolCall("t" * 1000, "a" * 1000, "r" * 1000, 5.0))
    for at in range(20):
        parent = db.traces.record_child("x" * 255, parent.id, Thought(f"thought {at}"))
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        for page, query in (
            ("runs", {}),
            *((page, {"run": "x" * 255}) for page in ("events", "traces", "state", "about")),
            ("event", {"run": "x" * 255, "seq": 0}),
            ("trace", {"run": "x" * 255, "id": parent.id}),
            ("entry", {"run": "x" * 255, "kind": "cell", "name": "c" * 1000}),
        ):
            browser.go(page, **query)
            assert browser.run("return document.documentElement.scrollWidth") <= width, page
            assert browser.run(CONTRAST) == [], page
            assert browser.run(NAMELESS) == [], page
            assert browser.run("return document.querySelectorAll('main, header, h1').length") == 3
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


# Text against the nearest background that is not transparent: at least 4.5 to 1, as WCAG 2.1 asks at level AA.
CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => {
  const [r, g, b] = channels(colour).map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const background = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if ((channels(colour)[3] ?? 1) > 0) return colour;
  }
  return "rgb(255, 255, 255)";
};
const poor = new Set();
for (const element of document.querySelectorAll("body *")) {
  const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!said || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const [dark, light] = [luminance(style.color), luminance(background(element))].sort((a, b) => a - b);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < 4.5) poor.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
}
return [...poor];
"""

# What is operated has to have a name for those who do not see it.
NAMELESS = """
return [...document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")]
  .filter((element) => element.checkVisibility())
  .filter((element) => !element.textContent.trim() && !element.ariaLabel && !element.labels?.length)
  .map((element) => element.outerHTML);
"""

"""What the page looks like: everything fits, can be read, and has the meaning that it shows."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.served import Served
from tests.probe.page.states import healthy, provider, silent, volume
from tests.probe.page.test_contrast import TEXT, contrast
from tests.probe.page.test_markup import HOSTILE
from tools.pictures import sample

LONG = "n" * 63 + "/" + "p" * 253
STATES: dict[str, dict[str, Any]] = {
    "sample": sample.state(),
    "hangs": silent(sample.state(), 200.0),
    "long names": healthy(
        volumes=[volume("a", 1) | {"pod": LONG, "class": LONG, "provider": "p" * 30, "reason": "r" * 1024}],
        providers=[provider("p" * 30, socket="/" + "s" * 107, last_error="e" * 1024)],
    ),
    "hostile names": healthy(
        volumes=[volume("a", 1) | {"pod": name, "class": name, "reason": name} for name in HOSTILE]
    ),
}
AXE = Path(__file__).parent.parent.parent / "build" / "browser" / "node_modules" / "axe-core" / "axe.min.js"

# Every text on the page with its colour and the first background below it that is not transparent.
PAIRS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const holder = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE"].includes(holder.nodeName) || !holder.checkVisibility()) continue;
    let back = holder;
    while (back && /, 0\\)|transparent/.test(getComputedStyle(back).backgroundColor)) back = back.parentElement;
    found.push([getComputedStyle(holder).color, getComputedStyle(back ?? document.body).backgroundColor]);
  }
  return found;
}"""


def as_hex(colour: str) -> str:
    """``rgb(1, 2, 3)`` as ``#010203``."""
    return "#" + "".join(f"{int(part):02x}" for part in colour.removeprefix("rgb(").rstrip(")").split(","))


@pytest.mark.parametrize("name, scheme, width", [*itertools.product(STATES, ["light", "dark"], [320, 1280])])
def test_it_fits_and_can_be_read(browser: Browser, served: Served, name: str, scheme: Any, width: int) -> None:
    """Each state, on a phone and on a desktop, in light and dark → nothing is wider than the screen, every reason is on
    it, and each text has a contrast of 4.5:1 to what is really behind it."""
    served.state = STATES[name]
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    view = context.new_page()
    view.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    view.goto(served.address)
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    for reason in view.locator(".why td").all():
        box = reason.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 10
    pairs = view.evaluate(PAIRS)
    assert len(pairs) > 40
    assert {(front, back) for front, back in pairs if contrast(as_hex(front), as_hex(back)) < TEXT} == set()
    context.close()


def test_cards_on_a_phone(browser: Browser, served: Served) -> None:
    """On a phone each row is a card below the other, with the names of its columns; a screen reader still finds a
    table."""
    context = browser.new_context(viewport={"width": 390, "height": 800})
    view = context.new_page()
    view.goto(served.address)
    table = view.get_by_role("table", name="Volumes")
    expect(table.get_by_role("columnheader")).to_have_count(7)
    first, second = (table.locator("tbody").nth(index) for index in (0, 1))
    above, below = first.bounding_box(), second.bounding_box()
    assert above and below and above["y"] + above["height"] <= below["y"]
    label = "getComputedStyle(document.querySelector('td[data-label=Provider]'), '::before').content"
    assert view.evaluate(label).startswith('"Provider')
    expect(first.get_by_role("cell")).to_have_count(8)
    context.close()


def test_keyboard(view: Page) -> None:
    """Details, links and the button are reached with the Tab key, and the focus can be seen."""
    reached = set()
    for _ in range(30):
        view.keyboard.press("Tab")
        reached.add(view.evaluate("document.activeElement.nodeName"))
        if view.evaluate("document.activeElement !== document.body"):
            assert view.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached >= {"SUMMARY", "A", "BUTTON"}


@pytest.mark.skipif(not AXE.exists(), reason="make test-browser installs axe-core where there is npm")
@pytest.mark.parametrize(
    "name, scheme, width", [*itertools.product(["sample", "hangs"], ["light", "dark"], [390, 1280])]
)
def test_axe(browser: Browser, served: Served, name: str, scheme: Any, width: int) -> None:
    """axe-core (https://github.com/dequelabs/axe-core) finds no violation of WCAG 2.2 A and AA, nor of its best
    practices."""
    served.state = STATES[name]
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    view = context.new_page()
    view.goto(served.address)
    view.evaluate(AXE.read_text())
    found = view.evaluate("axe.run(document).then((result) => result.violations)")
    assert [(item["id"], item["nodes"][0]["html"]) for item in found] == []
    context.close()

"""The page refreshes itself, and nobody who reads it loses the place."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.served import Served
from tests.probe.page.states import healthy, pending, volume

MANY = [volume(f"pod-{number:02}") for number in range(60)]


def tick(view: Page, served: Served, seconds: float = 5.0) -> None:
    """Let the page refresh itself once."""
    before = len(served.requests)
    with view.expect_response(served.address):
        view.clock.run_for(int(seconds * 1000))
    view.wait_for_function("document.readyState === 'complete'")
    assert len(served.requests) == before + 1


def test_changes_are_shown(view: Page, served: Served) -> None:
    """A volume fails, one is new, one is gone, time passes → a moment later the page says so, in its title and icon,
    too, with the failing row first."""
    served.state = healthy(volumes=MANY[:3])
    view.reload()
    expect(view.get_by_role("status")).to_have_text("✓ Ready 3 volumes, 2 providers, registered")
    served.state = healthy(volumes=[MANY[0], volume("pod-02", 1), MANY[5]])
    served.now += 5
    tick(view, served)
    expect(view.get_by_role("status")).to_have_text("✕ Failing 3 volumes, 1 failing, 2 providers, registered")
    rows = view.locator("#volumes tbody")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("pod-02")
    expect(rows.nth(2)).to_contain_text("43 s ago")
    assert view.title().startswith("Failing: 3 volumes, 1 failing")
    assert "d93025" in (view.locator("#icon").get_attribute("href") or "")


def test_the_place_is_kept(view: Page, served: Served) -> None:
    """Somebody has scrolled down, opened details, selected a text and put the focus on a link, while rows above come,
    go and change places → all stays as it was; the details are of the same volume."""
    served.state = healthy(volumes=MANY)
    view.reload()
    row = view.locator("#volumes tbody", has_text="pod-40")
    row.locator("summary").click()
    row.locator("summary").focus()
    row.scroll_into_view_if_needed()
    view.evaluate(
        """() => {
            const cells = [...document.querySelectorAll("td")];
            getSelection().selectAllChildren(cells.find((cell) => cell.textContent.includes("default/pod-41")));
        }"""
    )
    before = row.bounding_box()
    served.state = healthy(volumes=[volume("pod-50", 2), *MANY[3:50], *MANY[51:]], pending=[pending("new")])
    tick(view, served)
    expect(view.locator("#volumes tbody").first).to_contain_text("pod-50")
    expect(row.locator("details")).to_have_attribute("open", "")
    expect(row.locator("dd").first).to_be_visible()
    assert view.evaluate("getSelection().toString()").strip() == "default/pod-41 secrets"
    assert view.evaluate("document.activeElement.closest('tbody').textContent.includes('pod-40')")
    after = row.bounding_box()
    assert before and after and abs(before["y"] - after["y"]) < 2


def test_a_row_that_moves_keeps_focus_and_selection(view: Page, served: Served) -> None:
    """The row with the focus, the open details and the selection begins to fail, so that it moves to the top → it keeps
    them."""
    served.state = healthy(volumes=MANY[:6])
    view.reload()
    row = view.locator("#volumes tbody", has_text="pod-04")
    row.locator("summary").click()
    row.locator("summary").focus()
    served.state = healthy(volumes=[*MANY[:4], volume("pod-04", 1), MANY[5]])
    tick(view, served)
    expect(view.locator("#volumes tbody").first).to_contain_text("pod-04")
    expect(row.locator("details")).to_have_attribute("open", "")
    assert view.evaluate("document.activeElement.closest('tbody').textContent.includes('pod-04')")


def test_selected_text_is_not_changed(view: Page, served: Served) -> None:
    """A text is selected that would change → it does when the selection has ended."""
    served.state = healthy(volumes=MANY[:1])
    view.reload()
    view.evaluate("getSelection().selectAllChildren(document.querySelector('#volumes time'))")
    served.now += 5
    tick(view, served)
    assert view.evaluate("getSelection().toString()") == "38 s ago"
    view.evaluate("getSelection().removeAllRanges()")
    tick(view, served)
    expect(view.locator("#volumes time").first).to_have_text("43 s ago")


def test_pause(view: Page, served: Served) -> None:
    """The button pauses the refreshing and goes on; the link refreshes at once, in both cases without a new page."""
    view.evaluate("window.same = true")
    pause = view.get_by_role("button", name="Pause")
    pause.click()
    before = len(served.requests)
    view.clock.run_for(60_000)
    assert len(served.requests) == before
    with view.expect_response(served.address):
        view.get_by_role("link", name="Refresh").click()
    view.clock.run_for(60_000)
    assert len(served.requests) == before + 1
    with view.expect_response(served.address):
        view.get_by_role("button", name="Go on").click()
    expect(pause).to_be_visible()
    assert view.evaluate("window.same") is True


def test_the_port_is_not_forwarded_any_more(view: Page, served: Served) -> None:
    """The page cannot be refreshed → it says that it is out of date, keeps what it shows, and tries less often; it can
    again → it is up to date."""
    served.broken = True
    tick(view, served)
    alert = view.get_by_role("alert")
    expect(alert).to_contain_text("This page is out of date: it cannot be refreshed (HTTP status 500)")
    expect(view.locator("#volumes tbody").first).to_be_visible()
    tick(view, served, 10.0)
    served.state, before = healthy(), len(served.requests)
    view.clock.run_for(15_000)
    assert len(served.requests) == before
    served.broken = False
    tick(view, served, 15.0)
    expect(alert).to_be_empty()
    expect(view.get_by_role("status")).to_contain_text("Ready")
    served.broken = True  # the complaints of the browser about the answers above are no surprise


def test_without_javascript(context: BrowserContext, served: Served) -> None:
    """Without JavaScript → the same page, whose link refreshes it; nothing is there that does not work."""
    browser = context.browser
    assert browser is not None
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(served.address)
    expect(page.locator("#volumes tbody")).to_have_count(7)
    page.locator("summary").first.click()
    expect(page.locator("details dd").first).to_be_visible()
    expect(page.locator("#pause")).to_be_hidden()
    served.now += 60
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator("#as-of")).to_have_text("As of 11:07:40 UTC")
    plain.close()


@pytest.mark.parametrize("path", ["/", "/?x=1"])
def test_only_the_page_is_asked_for(context: BrowserContext, served: Served, path: str) -> None:
    """The page is opened and refreshed → no request to any other address or path, not for an icon either."""
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    page.goto(served.address.rstrip("/") + path)
    with page.expect_response("**"):
        page.clock.run_for(5000)
    assert {url for url in asked if not url.startswith("data:")} == {served.address.rstrip("/") + path}
    assert set(served.requests) == {"/"}

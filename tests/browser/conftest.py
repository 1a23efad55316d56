"""What the tests of this folder share: a browser, and a page in it whose every complaint fails the test."""

import os
from collections.abc import Iterator

import pytest

from tests.browser.served import Served, serving

if not os.environ.get("SECRETS_STORE_REQUIRE_BROWSER"):
    pytest.importorskip("playwright", reason="make test-browser installs Playwright")

from playwright.sync_api import Browser, BrowserContext, Page  # the skip has to come before

from tools.pictures.browser import chromium, program


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    if program() is None and not os.environ.get("SECRETS_STORE_REQUIRE_BROWSER"):
        pytest.skip("no Chromium: apt-get install chromium")
    with chromium() as started:
        yield started


@pytest.fixture
def served() -> Iterator[Served]:
    """The page's server."""
    with serving() as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A window of a desktop."""
    made = browser.new_context(viewport={"width": 1280, "height": 800})
    yield made
    made.close()


@pytest.fixture
def view(context: BrowserContext, served: Served) -> Iterator[Page]:
    """The page in that window. At the end the browser must not have complained of anything, such as a violation of the
    content security policy, nor asked any other address."""
    page, complaints, asked = context.new_page(), list[str](), set[str]()
    page.clock.install()  # timers run when a test says so
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: asked.add(request.url))
    page.goto(served.address)
    yield page
    if served.broken:
        complaints = [text for text in complaints if "status of 500" not in text]
    assert complaints == []
    assert {url for url in asked if not url.startswith("data:")} == {served.address}

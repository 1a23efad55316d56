"""The site that ``make docs`` has built."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.site.blocks import ROOT

SITE = ROOT / "build" / "site"
# What a browser fetches by itself, unlike a link.
LOADED = {
    ("script", "src"),
    ("img", "src"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
    ("source", "srcset"),
    ("object", "data"),
}


class Loads(HTMLParser):
    """Collects the addresses that a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
            return
        self.found += [value for name, value in attrs if (tag, name) in LOADED and value]


@pytest.fixture(scope="module")
def pages() -> list[Path]:
    """Its pages."""
    found = sorted(SITE.rglob("*.html"))
    assert len(found) > 20, "make docs builds the site before it runs the tests"
    return found


def test_nothing_is_loaded_from_elsewhere(pages: list[Path]) -> None:
    """Scripts, styles, fonts and pictures of all pages → all are in the site."""
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert [url for url in loads.found if re.match(r"(\w+:)?//", url)] == [], page
    for style in SITE.rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)|@import[^;]*//", style.read_text()) == [], style


def test_everything_that_is_loaded_is_there(pages: list[Path]) -> None:
    """Pictures, styles and scripts of all pages → their files exist; a data URL has its content in it."""
    missing = []
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        for url in loads.found:
            path = page.parent / url.partition("?")[0].partition("#")[0]
            if not url.startswith(("data:", "/")) and not path.exists():  # 404.html is for a server, at /
                missing.append(f"{page.name}: {url}")
    assert missing == []


def test_generated_pages(pages: list[Path]) -> None:
    """Fields and commands are there, from the code."""
    fields, commands = ((SITE / name).read_text() for name in ("fields.html", "commands.html"))
    for field in ("spec.provider", "spec.secretObjects[].data[].objectName", "spec.secretProviderClassName"):
        assert f"<code>{field}</code>" in fields
    for command in ("validate", "explain pod", "refresh class", "doctor", "dev", "status"):
        assert f"secrets-store {command}" in commands

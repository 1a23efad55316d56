"""A headless Chromium, the machine's own (Debian's package ``chromium``), driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: CI and containers run as root. No subpixels: text must look the same on every machine with these fonts.
_ARGUMENTS = ("--no-sandbox", "--disable-lcd-text", "--font-render-hinting=none", "--force-color-profile=srgb")


def program() -> str | None:
    """The path of Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for as long as the context lasts."""
    found = program()
    if found is None:
        raise SystemExit("no Chromium: install it, in Debian by apt-get install chromium fonts-liberation")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()

"""The status page: /status as HTML for people, failures first.

It works without JavaScript. With it, the page replaces what has changed every few seconds, so that nobody loses the
place that they read (``script.js``). It loads nothing: style and script are in it, and the policy in its header allows
these two, and requests to the same address.
"""

import base64
import hashlib
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from probe.page import node
from probe.page.document import document


def render(state: Mapping[str, Any], links: Mapping[str, str], now: float | None = None) -> str:
    """The page for the state that ``Handlers`` collects. ``links`` are the paths of the same address and what they
    are."""
    found = node.read(state, time.time() if now is None else now)
    return document(found, links, _asset("style.css"), _asset("script.js"))


@cache
def headers() -> Mapping[str, str]:
    """HTTP headers for the page (https://www.w3.org/TR/CSP3/)."""
    policy = {
        "default-src": "'none'",
        "style-src": _hash("style.css"),
        "script-src": _hash("script.js"),
        "connect-src": "'self'",
        "img-src": "data:",  # the icon
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


@cache
def _asset(name: str) -> str:
    """A file of this package."""
    return (Path(__file__).parent / name).read_text()


def _hash(name: str) -> str:
    digest = hashlib.sha256(_asset(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"

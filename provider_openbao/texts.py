"""Texts that a class or a Secret gives and that become part of a call: checked, so that each stays the part that it is
written for, and quoted. Of what is wrong with one the place is said, and not the whole text."""

import re
from urllib.parse import quote, unquote

from provider_kit import InvalidRequest

_MOST_SHOWN = 80
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What a query may have as it is (https://www.rfc-editor.org/rfc/rfc3986#section-3.4).
_QUERY = "!$&'()*+,;=:@/?%-._~"
_LONGEST_LABEL, _LONGEST_HOST = 63, 253


def brief(text: str) -> str:
    """The text as sentences show it: what to do must not be cut off because a name is long."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def path(what: str, text: str, example: str) -> str:
    """A path below ``/v1/``, quoted. A client must not resolve "..", also not a quoted one: the path would be another
    than the class shows."""
    plain = unquote(text)
    _refuse_invisible(what, text + plain)
    if any(part in ("", ".", "..") for part in plain.split("/")):
        raise InvalidRequest(f"{what} must be a path without .. or empty elements, such as {example}")
    if "#" in text or "?" in text:
        raise InvalidRequest(f"{what} must be a path such as {example}: write # as %23, and ? as %3F")
    _refuse_stray_percent(what, text)
    return quote(text, safe="/%")


def query(what: str, text: str) -> str:
    """The arguments of a GET, quoted where they need it."""
    _refuse_invisible(what, text + unquote(text))
    _refuse_stray_percent(what, text)
    return quote(text, safe=_QUERY)


def header(what: str, text: str) -> str:
    """The value of a header: a namespace, a token."""
    _refuse_invisible(what, text)
    return text


def host(what: str, text: str) -> str:
    """The name or address of a host."""
    name = text.removesuffix(".")
    try:
        encoded = name.encode("idna") if name else b""
    except UnicodeError:  # an empty or too long label, characters that no name has
        encoded = b""
    if not encoded or len(encoded) > _LONGEST_HOST or not text.isprintable():
        raise InvalidRequest(
            f"{what} must be the name of a host, such as openbao.example.com, with 1 to {_LONGEST_LABEL} letters "
            "between the dots"
        )
    return text


def _refuse_invisible(what: str, text: str) -> None:
    if not text.isprintable():
        raise InvalidRequest(f"{what} has characters that are not visible, such as a line break: remove them")


def _refuse_stray_percent(what: str, text: str) -> None:
    if _STRAY_PERCENT.search(text):
        raise InvalidRequest(f"{what} has a % that begins no quoted character such as %20: write %25 for it")

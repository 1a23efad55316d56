"""HTML from elements: whatever is not markup of ours is escaped, and characters that are not visible are removed."""

import html
from typing import Any

from runtime import redact


class Html(str):
    """Text that is HTML already; only this module makes it."""

    __slots__ = ()


_VOID = frozenset({"meta", "link"})


def element(name: str, /, *children: Any, **attributes: Any) -> Html:
    """An element. Children and values of attributes that are not ``Html`` are escaped; None is left out, and so are
    attributes that are None or False. In the names of attributes a trailing underscore goes (``class_``), others become
    dashes."""
    start = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    content = "".join(text(child) for child in children if child is not None)
    return Html(f"<{name}{start}>" if name in _VOID else f"<{name}{start}>{content}</{name}>")


def fragment(*children: Any) -> Html:
    """The children without an element around them."""
    return Html("".join(text(child) for child in children if child is not None))


def verbatim(name: str, content: str) -> Html:
    """A ``style`` or ``script`` element with content of ours, in which a browser knows no escapes."""
    assert f"</{name}" not in content
    return Html(f"<{name}>{content}</{name}>")


def text(value: Any) -> Html:
    """The value as HTML on one line; a space at either end stays."""
    if isinstance(value, Html):
        return value
    plain = str(value)
    shown = html.escape(redact.visible(plain))
    before, after = " " * plain.startswith(" "), " " * (plain.endswith(" ") and bool(shown))
    return Html(f"{before}{shown}{after}")


def identifier(kind: str, *parts: str) -> str:
    """An ``id`` for something that others have named: it must not contain white space."""
    return "_".join(f"{kind}-{'/'.join(parts)}".split())


def _attribute(key: str, value: Any) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'

"""All entries of an object as keys of a Secret: JSON, dotenv and Java properties.

- JSON: the entries of the top-level map. A string is taken as it is; all other values stay JSON.
- dotenv: ``KEY=value`` lines with or without ``export``, quotes and comments; ``${…}`` is not expanded.
- properties: as ``java.util.Properties`` reads them, in UTF-8.

The last two formats find something in almost any text. What is in another format, or is a password, must not become
the name of a key, which many may read who may not read the value: so a line without a value is refused, and a text that
begins as JSON or XML does.

All of this runs in the parser's process (``driver.sync.parser``). Messages contain nothing of the content but keys.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from driver import limits
from runtime.errors import PreconditionFailed

Entries = list[tuple[str, bytes]]
_SEPARATOR, _ESCAPED = re.compile("[=:]"), re.compile(r"\\.", re.DOTALL)
_OTHER_FORMATS = {"{": "JSON", "[": "JSON", "<": "XML"}


def entries(content: bytes, kind: str) -> Entries:
    """The entries in their order; a key may be there twice. Raises PreconditionFailed."""
    if kind not in READERS:
        raise PreconditionFailed(f"format {kind} is unknown: use {', '.join(READERS)}")
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise PreconditionFailed(f"it is not {kind}: it is not UTF-8 text") from None
    found: Entries = []
    for key, value in READERS[kind](text):
        if len(found) == limits.MAX_SECRET_KEYS:
            raise PreconditionFailed(f"it has more than {limits.MAX_SECRET_KEYS} entries")
        found.append((key, value.encode("utf-8", "surrogatepass")))
    return found


def _json(text: str) -> Iterator[tuple[str, str]]:
    try:
        found = json.loads(
            text, object_pairs_hook=_Pairs, parse_constant=_no_constant, parse_int=_Number, parse_float=_Number
        )
        if not isinstance(found, _Pairs):
            raise PreconditionFailed('its JSON is not a map: it must be {"key": "value", …}')
        yield from [(key, _text(value, top=True)) for key, value in found]
    except RecursionError:
        raise PreconditionFailed("it is not usable JSON: it is nested too deeply") from None
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise PreconditionFailed(f"it is not JSON{place}") from None


class _Pairs(tuple[tuple[str, Any], ...]):
    """A JSON map with all of its entries: a dict keeps the last one of a key only."""


class _Number(str):
    """A JSON number as it was written: a float would change 1.10 and lose digits."""


def _text(value: Any, *, top: bool = False) -> str:
    """A value as JSON, without spaces; a string at the top as it is."""
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{_quoted(key)}:{_text(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if isinstance(value, _Number) or (top and isinstance(value, str)):
        return str(value)
    return _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _dotenv(text: str) -> Iterator[tuple[str, str]]:
    from dotenv.parser import parse_stream

    _check_beginning(text, "dotenv")
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            raise PreconditionFailed(f"it is not dotenv: line {binding.original.line} is no KEY=value")
        if binding.key is not None and binding.value is not None:
            yield binding.key, binding.value


def _properties(text: str) -> Iterator[tuple[str, str]]:
    from javaproperties import InvalidUEscapeError, KeyValue, parse

    _check_beginning(text, "a properties file")
    try:
        items = [item for item in parse(text) if isinstance(item, KeyValue)]
    except InvalidUEscapeError:
        raise PreconditionFailed("it is not a properties file: a \\u is not followed by four hex digits") from None
    for number, item in enumerate(items, 1):
        if not item.value and not _SEPARATOR.search(_ESCAPED.sub("", item.source)):
            raise PreconditionFailed(f"it is not a properties file: entry {number} has no '=' or ':' after its key")
        yield item.key, item.value


def _check_beginning(text: str, kind: str) -> None:
    if (first := text.lstrip()[:1]) in _OTHER_FORMATS:
        raise PreconditionFailed(f"it is not {kind}: it begins with {first!r}, as {_OTHER_FORMATS[first]} does")


READERS: Mapping[str, Callable[[str], Iterator[tuple[str, str]]]] = {
    "json": _json,
    "dotenv": _dotenv,
    "properties": _properties,
}


def preload() -> None:
    """Import what the functions need, while the files of the packages can still be read."""
    import dotenv.parser  # noqa: F401  # imported for later
    import javaproperties  # noqa: F401  # imported for later

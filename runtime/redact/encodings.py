"""The ways in which programs write a value: its parts, and their encodings.

JSON, Python's repr, URL (also twice, also of every character), HTML, hexadecimal, bytes as numbers, and base64 (also
twice) in both alphabets at each of the three alignments, since in a Basic header the password is not at the start
of what is encoded.
"""

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from google.protobuf.message import Message

from runtime.limits import REDACTED_VALUE_BYTES, REDACTED_VALUE_CHARACTERS, REDACTED_VALUES
from runtime.redact.messages import leaves, secrets_of

Source = Message | str | bytes

_SHORTEST_PART = 8
_SAFE = re.compile(r"[A-Za-z0-9_.-]*")
_SETTING = re.compile(r"[^=:\s]{1,128}\s*+[=:]")
# What is left as it is by Python's quote, by that with slashes, in JavaScript by encodeURIComponent and encodeURI, and
# in Go by PathEscape and by URL.String for a password.
_SAFE_IN_URLS = ("", "/", "!'()*", ";,/?:@&=+$#!'()*", "$&+=:@", "$&+,;=")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-][\d:]+)")


def values_of(source: Source) -> Iterator[str | bytes]:
    """The source, or the values of a message's secret fields."""
    for value in secrets_of(source) if isinstance(source, Message) else (source,):
        yield from _whole(value)


def parts_of(source: Source) -> Iterator[str | bytes]:
    """The parts of a value that somebody may repeat by themselves."""
    for value in secrets_of(source) if isinstance(source, Message) else leaves(source):
        for text in _whole(value, longest=None):
            if isinstance(text, str):
                yield text[:REDACTED_VALUE_CHARACTERS]
                yield from _lines(text)


def _whole(value: str | bytes, longest: int | None = REDACTED_VALUE_CHARACTERS) -> Iterator[str | bytes]:
    text = _decode(value[:REDACTED_VALUE_BYTES])
    if text is None:
        yield value[:REDACTED_VALUE_CHARACTERS]
    elif not _TIMESTAMP.fullmatch(text.strip()):  # kubelet's objects of tokens have them
        yield text.strip()[:longest]


def _decode(value: str | bytes) -> str | None:
    """The value as a text, None if it is not UTF-8."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        # The last character may have been cut.
        return value[: error.start].decode() if error.start >= REDACTED_VALUE_BYTES - 4 else None


def _lines(text: str) -> Iterator[str]:
    lines = text.split("\n", REDACTED_VALUES)[:REDACTED_VALUES]
    for line in lines if len(lines) > 1 or "=" in text or ":" in text else ():
        line = line.strip()[:REDACTED_VALUE_CHARACTERS]
        if len(line) >= _SHORTEST_PART and not line.startswith("-----"):
            yield line
        setting = _SETTING.match(line)
        if setting and len(value := line[setting.end() :].strip(" \t\"',")) >= _SHORTEST_PART:
            yield value


def encodings(piece: str | bytes) -> set[str]:
    """A value as the usual programs write it. Each is such that the encodings of a value's beginning are beginnings of
    the value's encodings."""
    if isinstance(piece, str):
        data, found = piece.encode(errors="replace"), {piece}
        if not _SAFE.fullmatch(piece):
            found.update(_quoted(piece, data))
    else:
        data, found = piece, {repr(piece)[2:-1]}
    digits = data.hex()
    found.update((digits, digits.upper(), data.hex(":"), data.hex(":").upper()))
    found.update((" ".join(map(str, data)), ", ".join(map(str, data))))  # bytes, printed as numbers by Go and Python
    found.add(", ".join(map(hex, data)))  # Go's %#v
    for form in ("%{:02x}", "%{:02X}", "\\x{:02x}", "\\x{:02X}"):  # also of what need not be escaped
        found.add("".join(map(form.format, data)))
    once = base64.b64encode(data[: len(data) // 3 * 3])
    found.add(base64.b64encode(once[: len(once) // 3 * 3]).decode())
    for before in range(3):
        # Characters that depend on what is around the value are left out.
        encoded = base64.b64encode(bytes(before) + data).decode()[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        found.update((encoded, encoded.replace("+", "-").replace("/", "_")))
    return found


def _quoted(piece: str, data: bytes) -> Iterator[str]:
    """The encodings that leave letters and digits as they are. More or fewer backslashes make no difference."""
    for ascii_only in (True, False):
        escaped = json.dumps(piece, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")  # Go's
    yield repr(piece)[1:-1]
    yield repr(data)[2:-1]
    for encoded in (*(quote(data, safe=safe) for safe in _SAFE_IN_URLS), quote_plus(data), quote(quote(data, safe=""))):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    # html.escape does this, but its module has a table of 2,000 names.
    escaped = piece.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield escaped
    yield escaped.replace('"', "&quot;").replace("'", "&#x27;")
    yield escaped.replace('"', "&#34;").replace("'", "&#39;")
    # A shell's quotation mark ends the quoted text, comes by itself, and begins another.
    yield piece.replace("'", "'\\''")
    yield piece.replace("'", "'\"'\"'")

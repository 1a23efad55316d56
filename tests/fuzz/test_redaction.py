"""What is shown: secrets of any shape never, and lines that a reader of logs can read."""

import base64
import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from runtime import logs, redact
from runtime.errors import Failure
from runtime.limits import LOG_LINE_BYTES
from runtime.redact.controls import visible
from runtime.supervisor.line_filter import LineFilter
from tests.fuzz.effort import fuzzed, tally

# Letters of many kinds; what it begins with and ends with is not white space, which is not part of a value.
characters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])
secrets = (
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=80)
    | st.text(characters, min_size=8, max_size=40)
    | st.binary(min_size=8, max_size=60).map(lambda data: base64.b64encode(data).decode())
    | st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8), min_size=2, max_size=4).map(
        "\n".join
    )
)
WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "Unicode JSON": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "Python": lambda text: repr(text)[1:-1],
    "URL": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 inside": lambda text: base64.b64encode(b"user:" + text.encode()).decode(),
    "base64 of URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "bytes": lambda text: str(list(text.encode())),
}
around = st.text(characters, max_size=30) | st.sampled_from(["error: ", 'got "', "{", "value=", "a\\", "\\", "="])


@pytest.mark.parametrize("written", WRITTEN)
@given(secret=secrets, before=around, after=around)
@fuzzed(40)
def test_secrets_of_a_call(written: str, secret: str, before: str, after: str) -> None:
    """A value of the call, in one of the ways in which programs write values, anywhere in a text → not in what is
    shown."""
    secret = secret.strip()
    assume(len(secret) >= 8)
    form = WRITTEN[written](secret)
    tally("texts with secrets")
    with redact.withholding(secret):
        shown = redact.text(f"{before}{form}{after}")
    # A value whose parts are in the text around it is not a secret there.
    compact = "".join(visible(form).split())
    assume(compact not in "".join(visible(before + after).split()))
    assert compact not in "".join(shown.split()), shown


hardly_visible = st.lists(
    st.sampled_from(
        ["\u200b", "\ufeff", "\xad", "\0", "\x1b[31m", "\x1b[", "\x9b", "\U000e0100", "\u2028", " ", "\n", "a", "b1"]
    )
    | st.integers(1, 60).map(lambda number: "\u2060" * number),
    min_size=1,
    max_size=40,
).map(lambda parts: "".join(parts)[:200])  # a text that is cut would not end as it should


@given(
    values=st.lists(hardly_visible, min_size=1, max_size=3),
    written=st.sampled_from(list(WRITTEN.values())),
    shown=st.sampled_from([redact.text, redact.line, redact.lines, redact.mask]),
)
@example(values=["\u200b" * 6], written=WRITTEN["hex"], shown=redact.text)
@example(values=["\u2060" * 48 + "hunter2secretpw"], written=str, shown=redact.lines)
@fuzzed(80)
def test_values_that_are_hardly_visible(
    values: list[str], written: Callable[[str], str], shown: Callable[[str], str]
) -> None:
    """Values of which most is white space or invisible, one of them in a text → what is visible of it is not shown,
    and what is around it is."""
    tally("texts with values that are hardly visible")
    with redact.withholding(*values):
        found = shown(f"the store has refused <{written(values[0])}> today")
    assert found.startswith("the store has refused") and found.endswith("today")
    compact = "".join(visible(values[0]).split())
    if len(compact) >= 8 and written is str:
        assert compact not in "".join(visible(found).split()), found


def no_constant(text: str) -> NoReturn:
    """JSON has no NaN (https://www.rfc-editor.org/rfc/rfc8259#section-6); Python's parser takes it."""
    raise ValueError(text)


def parsed(line: bytes | str) -> dict[str, Any]:
    """The JSON object in a line, read strictly."""
    text = line.decode() if isinstance(line, bytes) else line
    assert text.endswith("\n") and "\n" not in text[:-1] and "\r" not in text
    found = json.loads(text, parse_constant=no_constant)
    assert isinstance(found, dict)
    return found


odd_lines = (
    st.binary(max_size=80)
    | st.text(max_size=60).map(lambda text: text.encode(errors="replace"))
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda name, value: json.dumps({name: value}).encode(),
        st.sampled_from(["token", "password", "x", "secret", "authorization", "a"]),
        st.text(max_size=20) | st.floats() | st.lists(st.text(max_size=4), max_size=2),
    )
    | st.sampled_from(
        [b'{"a": NaN}', b'{"a": -Infinity}', b'{"a":"\\ud800"}', b'{"a": 1}x', b"{" * 5000,
         b'{"a":' * 2000, b'{"a": 1' + b"0" * 5000]
    )
)  # fmt: skip  # as it is written


@given(line=odd_lines.filter(lambda line: b"\n" not in line))
@example(line=b'{"a": NaN}')
@example(line=b'{"token": "hunter2hunter2", "b": 1}')
@fuzzed(400)
def test_printed_lines(line: bytes) -> None:
    """Whatever a library prints, with JSON logs → one line, which is a JSON object for every reader."""
    tally("printed lines")
    shown = LineFilter("driver", "stderr", marker=b"0123456789abcdef ", as_json=True).filter(line)
    parsed(shown)
    text = LineFilter("driver", "stderr", marker=b"0123456789abcdef ", as_json=False).filter(line)
    assert text.endswith(b"\n") and text.count(b"\n") == 1 and b"\r" not in text and b"\x1b" not in text


class Odd:
    """Somebody's object, which is printed in its own way."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


fields = st.dictionaries(
    st.sampled_from(["pod", "target", "err", "reason", "count", "seconds", "request", "exc_info", "message", "level"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=9)
        | st.text(max_size=9).map(Odd) | st.text(max_size=9).map(Failure) | st.text(max_size=9).map(ValueError),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
)  # fmt: skip  # as it is written


@given(message=st.text(max_size=40), values=fields)
@example(message="m", values={"seconds": float("nan"), "request": [float("inf"), {"a": -float("inf")}]})
@fuzzed(300)
def test_log_lines(message: str, values: dict[str, Any]) -> None:
    """Any message and fields → one line in both formats; in JSON an object for every reader."""
    tally("log lines")
    values.pop("exc_info", None)
    for as_json in (True, False):
        stream = io.StringIO()
        root = logging.getLogger()
        former = root.handlers[:], root.level
        logs.configure("driver", as_json=as_json, stream=stream)
        try:
            logs.get("fuzz").info(message, **values)
        finally:
            root.handlers[:], level = former
            root.setLevel(level)
        line = stream.getvalue()
        assert line.endswith("\n") and len(line.splitlines()) == 1, line
        assert len(line.encode(errors="surrogatepass")) <= LOG_LINE_BYTES
        if as_json:
            parsed(line)


def test_the_readers_are_strict() -> None:
    """The check itself: what Python alone takes for JSON is refused."""
    with pytest.raises(ValueError):
        parsed('{"a": NaN}\n')
    assert sys.getdefaultencoding() == "utf-8"

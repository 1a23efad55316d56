"""Log lines: klog's text format, the Go driver's JSON keys, and no secrets."""

import io
import json
import re
from typing import Any

import pytest

from runtime import logs
from runtime.errors import NotFound
from runtime.limits import LOG_LINE_BYTES

log = logs.get("tests.logs")


def configured(**options: Any) -> io.StringIO:
    stream = io.StringIO()
    logs.configure("driver", stream=stream, **options)
    return stream


def test_klog_text() -> None:
    """A text line has klog's header, the quoted message and ``key=value`` pairs."""
    stream = configured()
    log.info("Mounted", target="/a b", count=2, ok=True)
    assert re.fullmatch(
        r'I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ test_logs\.py:\d+\] "Mounted" target="/a b" count=2 ok=true\n',
        stream.getvalue(),
    )


def test_error_lines_begin_with_e() -> None:
    """An error line starts with E and has the message, for which scripts search."""
    stream = configured()
    log.error("failed to clean and unmount target path", exc=NotFound("gone"), target="/t")
    assert re.match(r'E\d{4} .*\] "failed to clean and unmount target path" target="/t" err="gone"', stream.getvalue())


def test_json_keys() -> None:
    """A JSON line has the Go driver's keys and the process that wrote it."""
    stream = configured(as_json=True, verbosity=5)
    log.verbose(5, "request", method="/csi.v1.Node/NodePublishVolume", parts=[1, "x"])
    line = json.loads(stream.getvalue())
    assert (line["level"], line["process"], line["message"], line["parts"]) == ("debug", "driver", "request", [1, "x"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    assert re.fullmatch(r"runtime/test_logs\.py:\d+\$tests\.logs\.test_json_keys", line["caller"])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks(number: float) -> None:
    """A field, or a part of one, is no finite number → a text, since a strict reader would refuse the line."""
    stream = configured(as_json=True)
    log.info("waited", seconds=number, parts=[number], request={"a": number})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    line = json.loads(stream.getvalue(), parse_constant=refuse)
    assert line["parts"] == [line["seconds"]] == [line["request"]["a"]] == [str(number)]


@pytest.mark.parametrize("verbosity, written", [(0, ["a"]), (3, ["a", "b"]), (5, ["a", "b", "c"])])
def test_verbosity(verbosity: int, written: list[str]) -> None:
    """A line is written if the verbosity is at least the line's."""
    stream = configured(as_json=True, verbosity=verbosity)
    log.info("a")
    log.verbose(3, "b")
    log.verbose(5, "c")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == written


@pytest.mark.parametrize("as_json", [False, True])
def test_bugs_are_logged_with_their_stack(as_json: bool) -> None:
    """An exception's line has its stack; the token in its text is redacted."""
    stream = configured(as_json=as_json)
    try:
        raise KeyError("token=abcdefghijkl")
    except KeyError as bug:
        log.error("A call ended with a bug", exc=bug)
    assert "test_bugs_are_logged_with_their_stack" in stream.getvalue()
    assert "abcdefghijkl" not in stream.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        {f"key-{number}": "x" * 500 for number in range(1000)},
        ["ü" * 1000] * 500,
        {"password=hunter2": {"token=hunter2": ["a\x1b[31m\u202eb"]}},
        "x" * 1_000_000,
    ],
)
def test_json_lines_are_bounded(value: object) -> None:
    """A field is a huge or hostile object → the line is still one line of JSON, shorter than what the supervisor would
    cut, with all its keys, and without credentials in names."""
    stream = configured(as_json=True)
    log.info("request", request=value)
    assert len(stream.getvalue()) <= LOG_LINE_BYTES and stream.getvalue().count("\n") == 1
    assert set(json.loads(stream.getvalue())) == {
        "level", "timestamp", "process", "logger", "caller", "message", "request",
    }  # fmt: skip  # one line for each would hide the list
    assert "hunter2" not in stream.getvalue() and "u202e" not in stream.getvalue()

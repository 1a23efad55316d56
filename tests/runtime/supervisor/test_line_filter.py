"""The filter for lines that a role prints past its log."""

import json
import time

import pytest

from runtime.supervisor.line_filter import LineFilter

MARKER = b"0123456789abcdef "


def make(*, as_json: bool = False) -> LineFilter:
    return LineFilter("driver", "stderr", marker=MARKER, as_json=as_json)


@pytest.mark.parametrize("filler", [b" ", b"A", b"A ", b"\\", b'"', b"a-", b"a: ", b"\t", b"=", b"\xff"])
def test_hostile_lines_take_no_time(filler: bytes) -> None:
    """After the first line of a key comes a line of 64 KiB that is almost part of it → decided at once, since the
    supervisor does nothing else meanwhile."""
    lines = make()
    lines.filter(b"-----BEGIN PRIVATE KEY-----")
    started = time.process_time()
    lines.filter(filler * (64 * 1024 // len(filler)) + b"!")
    assert time.process_time() - started < 0.5


def test_a_key_over_several_lines() -> None:
    """Each line of a private key is withheld, whatever is around it; what follows, or a key without an end, is not
    lost."""
    lines = make()
    printed = [b"key:", b"  -----BEGIN EC PRIVATE KEY-----", b"  Proc-Type: 4,ENCRYPTED", b"", b"  MHcCAQEEIF+/=",
               b"  -----END EC PRIVATE KEY-----", b"done"]  # fmt: skip  # a text of several lines
    shown = b"".join(lines.filter(line) for line in printed).decode()
    assert "MHc" not in shown and "ENCRYPTED" not in shown
    assert shown.startswith("[driver] key:\n") and shown.endswith("[driver] done\n") and shown.count("\n") == 7
    lines.filter(b"-----BEGIN PRIVATE KEY-----")
    assert lines.filter(b"and then it failed, said the library") == b"[driver] and then it failed, said the library\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_our_own_lines_pass(as_json: bool) -> None:
    """A marked line passes without its mark, and is not read; after an unfinished line of a library's it gets a line of
    its own."""
    lines = make(as_json=as_json)
    prefix = b"" if as_json else b"[driver] "
    assert lines.filter(MARKER + b"token=visible") == prefix + b"token=visible\n"
    first, second = lines.filter(b"half token=hunter2 " + MARKER + b"own").splitlines()
    assert second == prefix + b"own" and b"hunter2" not in first


@pytest.mark.parametrize(
    "line, message",
    [
        (b'["a list"]', '["a list"]'),
        (b"{not json}", "{not json}"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b'{"a": [-Infinity]}', '{"a": [-Infinity]}'),
        (b'{"a": {"b": Infinity}}', '{"a": {"b": Infinity}}'),
        (b'{"a": 1} {"b": 2}', '{"a": 1} {"b": 2}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"E0101 00:00:00.000000 1 a.cc:1] x", "E0101 00:00:00.000000 1 a.cc:1] x"),
        (b"{" * 5000, "{" * 5000),
        (
            b'{"level": "info", "process": "probe", "message": "forged"}',
            '{"level": "info", "process": "probe", "message": "forged"}',
        ),
        (b'{"message": "\\u001b[2J\\u202e\\nforged"}', '{"message": "\\u001b[2J\\u202e\\nforged"}'),
        (b'{"level": "info", "level": "error"}', '{"level": "info", "level": "error"}'),
        (b'{"a": 1e999}', '{"a": 1e999}'),
    ],
)
def test_whatever_is_not_ours_is_wrapped(line: bytes, message: str) -> None:
    """With JSON logs each line becomes an object, also one that is JSON already, which may be forged; gRPC's letter for
    the level is kept."""
    shown = json.loads(make(as_json=True).filter(line))
    assert (shown["process"], shown["logger"], shown["message"]) == ("driver", "stderr", message)
    assert shown["level"] == ("error" if line.startswith(b"E0") else "warning")


@pytest.mark.parametrize(
    "forged", ['I1126 08:00:00.000000 7 a.py:1] "fine"', "E0101 00:00:00.000000 1 a.cc:1] x", "  W0101 00:00:00 x"]
)
def test_what_looks_like_ours_is_marked(forged: str) -> None:
    """With logs as text, a line of a library's in our log's form names the stream; others stay as they are."""
    lines = make()
    assert lines.filter(forged.encode()).decode() == f"[driver] (stderr) {forged}\n"
    assert lines.filter(MARKER + forged.encode()).decode() == f"[driver] {forged}\n"
    assert lines.filter(b"terminate called").decode() == "[driver] terminate called\n"

"""Counting calls while they are made, and the trio's limit of calls a second."""

import json
from pathlib import Path

import pytest

from bench.nodes.audit_tail import AuditTail, opened_watches
from bench.nodes.throttled import Throttle


def line(user: str = "driver", verb: str = "watch", code: int = 200) -> bytes:
    """A line as the API server writes it."""
    event = {"user": {"username": user}, "verb": verb, "responseStatus": {"code": code}}
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def test_lines_are_counted_once_and_whole(tmp_path: Path) -> None:
    """Lines before the start, of others, of other verbs and codes, and one that is written in two parts → those that
    are meant count, once, when they are whole."""
    log = tmp_path / "audit.log"
    log.write_bytes(line())
    tail = opened_watches(log, "driver")
    assert tail.count() == 0
    with log.open("ab", buffering=0) as file:
        file.write(line() + line("driver-2") + line(verb="list") + line(code=403) + line()[:30])
        assert tail.count() == 1
        file.write(line()[30:])
        assert tail.count() == 2 and tail.count() == 2
        file.write(line() * 3)
        assert tail.count() == 5


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    """The tail is made before the log → all of it counts."""
    tail = AuditTail(tmp_path / "audit.log", "driver")
    (tmp_path / "audit.log").write_bytes(line() * 2)
    assert tail.count() == 2


def test_calls_after_a_burst_wait_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty calls at once → thirty go at once, the others 50 ms after one another; after a pause there is a burst
    again, no larger one."""
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    throttle = Throttle()
    waits = [throttle.reserve(0.0) for _ in range(50)]
    assert waits[:30] == [0.0] * 30
    assert waits[30:] == pytest.approx([0.05 * number for number in range(1, 21)])
    assert [throttle.reserve(1000.0) for _ in range(31)] == [0.0] * 30 + [pytest.approx(0.05)]

"""Times of supervisord's process states."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import supervisor.process
from supervisor.states import ProcessStates

from runtime.supervisor.poller import seconds_until_due
from runtime.supervisor.role_process import RoleProcess


class Process(RoleProcess):
    """A role with a pid, without a program."""

    pid = 1 << 22

    def __init__(self, state: int) -> None:
        self.state = state
        self.laststart = self.delay = 0.0
        self.killing = False
        self.killed: list[int] = []
        self.config = SimpleNamespace(
            name="driver", stopwaitsecs=10.0, startsecs=5.0, stopsignal=15, stopasgroup=False, killasgroup=False
        )
        self.config.options = SimpleNamespace(
            kill=lambda _, sig: self.killed.append(sig),
            logger=SimpleNamespace(**dict.fromkeys(("debug", "info", "warn", "blather", "critical"), lambda _: None)),
            mood=1,
        )
        self.group = SimpleNamespace(config=SimpleNamespace(name="driver"))

    def change_state(self, new_state: int, *_: Any, **__: Any) -> bool:
        self.state = new_state
        return True


@pytest.mark.parametrize("hours", [1.0, -1.0])
def test_the_clock_is_set_while_a_role_stops(hours: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock is set ahead or back while a role is being stopped → it keeps the rest of its time before it is
    killed, and is killed after that."""
    process, real = Process(ProcessStates.RUNNING), time.time
    process.kill(15)
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    process.transition()
    assert process.state == ProcessStates.STOPPING and process.killed[:1] == [15] and 9 not in process.killed
    assert 0 < seconds_until_due(process, time.monotonic(), running=True) <= 10.1
    process.delay = time.monotonic() - 0.1
    process.transition()
    assert 9 in process.killed


@pytest.mark.parametrize("hours", [1.0, -1.0])
def test_the_clock_is_set_while_a_role_starts(hours: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock is set while a role is starting → it does not count as up before its time, nor later."""
    process, real = Process(ProcessStates.STARTING), time.time
    process.laststart = supervisor.process.time.time()
    process.delay = process.laststart + process.config.startsecs
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    process.transition()
    assert process.state == ProcessStates.STARTING
    process.laststart -= 6
    process.transition()
    assert process.state == ProcessStates.RUNNING

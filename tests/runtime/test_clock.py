"""The clock by which ages and waits are measured."""

import subprocess
import sys
import time

import pytest

from runtime import clock


def test_wall_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock is set an hour ahead → moments stay as they are, and their Unix time is by the new setting."""
    before, real = clock.now(), time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert 0 <= clock.now() - before < 60
    assert clock.wall_time(before) == pytest.approx(real() + 3600, abs=60)


@pytest.mark.parametrize("ago", [0.0, 1.0, 86400.0 * 365 * 50])
def test_times_in_the_past(ago: float) -> None:
    """A Unix time of now, a second or fifty years ago, longer than the machine runs → the moment of that age."""
    moment = clock.moment_of(time.time() - ago)
    assert moment is not None and clock.now() - moment == pytest.approx(ago, abs=60)


@pytest.mark.parametrize("ahead", [0.5, 3600.0])
def test_times_in_the_future(ahead: float) -> None:
    """A Unix time in the future → no moment."""
    assert clock.moment_of(time.time() + ahead) is None


def test_suspended_machine() -> None:
    """The machine was suspended for 5,000 s, here by a time namespace → they have passed for this clock, not for the
    monotonic one, which stands still meanwhile."""
    code = "import time; from runtime import clock; print(clock.now() - time.monotonic())"
    command = ["unshare", "--time", "--fork", "--boottime", "5000", sys.executable, "-c", code]
    if subprocess.run([*command[:-3], "true"], capture_output=True, check=False).returncode:
        pytest.skip("no time namespaces here")
    apart = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    here = clock.now() - time.monotonic()
    assert float(apart) - here == pytest.approx(5000, abs=60)

"""The roles of a real container as the kernel sees them."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.container.test_whole import Container
from tests.support.waiting import wait_until

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, SYS_ADMIN
DRIVER_CAPABILITIES = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 21


def status_of(pid: int) -> dict[str, str]:
    """``/proc/PID/status``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _restricted(pid: int, capabilities: int) -> dict[str, str] | None:
    """The status once the role has given up its privileges, which it does right after the fork: one after the other,
    seccomp at the end."""
    status = status_of(pid)
    given_up = all(int(status[name], 16) & ~capabilities == 0 for name in ("CapBnd", "CapPrm", "CapEff"))
    return status if given_up and (capabilities or status["Seccomp"] != "0") else None


@pytest.mark.parametrize(
    ("role", "capabilities", "filtered"),
    [("driver", DRIVER_CAPABILITIES, "0"), ("registrar", 0, "2"), ("probe", 0, "2")],
)
def test_a_role_has_what_it_needs(container: Container, role: str, capabilities: int, filtered: str) -> None:
    """Scenario: a healthy container. Expected: the role's capabilities and no others, also after a restart."""
    ended: set[int] = set()

    def running() -> int | None:
        """The role's process, after those that were ended."""
        found = container.roles().get(role)
        return found.pid if found is not None and found.pid not in ended else None

    for _ in range(2):
        pid = wait_until(running, f"the {role}")
        found = wait_until(partial(_restricted, pid, capabilities), f"the {role} to be restricted")
        assert int(found["CapEff"], 16) & ~capabilities == int(found["CapBnd"], 16) & ~capabilities == 0
        assert found["NoNewPrivs"] == "1" and found["Seccomp"] == filtered
        assert "Max core file size        0 " in Path(f"/proc/{pid}/limits").read_text()
        os.kill(pid, signal.SIGKILL)
        ended.add(pid)
    wait_until(lambda: container.fetch("/healthz") == (200, "ok"), "healthz")


def test_open_descriptors_are_still_counted(container: Container) -> None:
    """Scenario: the probe counts the descriptors of processes with more privileges. Expected: a figure for each."""
    status, page = container.fetch("/metrics")
    assert status == 200
    figures = [line for line in page.splitlines() if line.startswith("process_open_fds{")]
    assert len(figures) == 4 and all(float(line.rsplit(" ", 1)[1]) > 0 for line in figures), figures

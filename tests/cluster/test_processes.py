"""No server outlives the test run, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.processes import Ended, Process
from tests.support.waiting import wait_until

PROGRAM = """
import sys, time
from pathlib import Path
from tests.cluster.processes import Process
server = Process("sleep", ["sleep", "600"], Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_test_run_takes_its_servers_along(tmp_path: Path) -> None:
    """The process that started a server is killed with SIGKILL → the kernel ends the server."""
    run = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path / "log"], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    with run.stdout:
        pid = int(run.stdout.readline())
    os.kill(pid, 0)
    run.kill()
    run.wait()
    wait_until(lambda: _is_gone(pid), f"{pid} to be gone")


def test_a_server_that_ends_by_itself(tmp_path: Path) -> None:
    """A server logs a line and exits with 7 → ``check`` raises with both."""
    server = Process("talker", ["sh", "-c", "echo no luck; exit 7"], tmp_path / "log")
    server.start()
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(Ended, match=r"talker ended with 7(.|\n)*no luck"):
        server.check()
    server.kill()


def test_a_frozen_server_can_be_killed_and_started_again(tmp_path: Path) -> None:
    """A server is frozen → its process is stopped; it is killed → it ends; it is started → it has a new pid."""
    server = Process("sleep", ["sleep", "600"], tmp_path / "log")
    server.start()
    first = server.pid
    server.freeze()
    wait_until(lambda: _state(first) == "T", f"{first} to be stopped")
    server.kill()
    assert _is_gone(first)
    server.start()
    assert server.pid != first
    server.stop()


def test_a_server_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    """A server ignores SIGTERM → it is killed after the time that ``stop`` allows."""
    server = Process("deaf", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], tmp_path / "log")
    server.start()
    wait_until(lambda: "ready" in server.tail(), "the trap to be set")
    pid = server.pid
    server.stop(0.2)
    assert _is_gone(pid)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return True
    return _state(pid) == "Z"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

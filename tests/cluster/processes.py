"""The servers' processes: each is started, frozen and ended by its recorded pid, and none outlives the test run."""

import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The kernel sends the parent-death signal when the *thread* that started the child ends, so all children are started by
# one thread that lives as long as the interpreter; a test may well restart a server from a short-lived worker thread.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
# Tells by the pid, which is this script's $0, that the parent died before the signal was requested.
_UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'


class Ended(Exception):
    """A server ended by itself; the message has the end of its log."""


class Process:
    """One server; ``start`` after ``kill`` or ``stop`` runs the same command again."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the running process."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended, frozen or not."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it; the kernel kills it when the test run ends, however that happens (``PR_SET_PDEATHSIG``)."""
        if self._child is None:
            self._child = _STARTER.submit(self._spawn).result()

    def check(self) -> None:
        """Raise ``Ended`` if it has ended."""
        child = self._running()
        if child.poll() is not None:
            raise Ended(f"{self.name} ended with {child.returncode}; the end of {self.log}:\n{self.tail()}")

    def kill(self) -> None:
        """Kill it, frozen or not."""
        self._end(signal.SIGKILL, 10)

    def stop(self, seconds: float = 30) -> None:
        """Terminate it; kill it if it has not ended after ``seconds``."""
        self._end(signal.SIGTERM, seconds)

    def send(self, number: signal.Signals) -> None:
        """Send it any signal."""
        self._running().send_signal(number)

    def freeze(self) -> None:
        """Stop it with SIGSTOP: its sockets stay open and nobody answers."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue it after ``freeze``."""
        self._running().send_signal(signal.SIGCONT)

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "--",
                    "sh",
                    "-c",
                    _UNLESS_ORPHANED,
                    str(os.getpid()),
                    *self._command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _end(self, how: signal.Signals, seconds: float) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(how)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise Ended(f"{self.name} is not running")
        return self._child


def any_started() -> bool:
    """Whether this run has started a server. From then on all servers are in the network namespace of that moment."""
    return bool(_STARTER._threads)

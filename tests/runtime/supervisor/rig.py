"""A supervisor with toy roles in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.waiting import wait_until

THREE = {"driver": "serve", "registrar": "serve", "probe": "serve"}


class SupervisorRig:
    """A running supervisor and what it has written."""

    def __init__(self, roles: dict[str, str], directory: Path, prefix: tuple[str, ...] = (), **options: Any) -> None:
        self.output = directory / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    "-m",
                    "tests.runtime.supervisor.fake_roles",
                    json.dumps(roles),
                    json.dumps(options),
                ],
                stdout=output,
                stderr=output,
            )

    @property
    def lines(self) -> list[str]:
        """All lines so far."""
        return self.output.read_text().splitlines()

    def logged(self, text: str, times: int = 1) -> bool:
        """Whether a line was written as often."""
        return sum(text in line for line in self.lines) >= times

    def wait_logged(self, text: str, times: int = 1) -> None:
        """Wait for rig."""
        wait_until(lambda: self.logged(text, times), f"{text!r} {times} times in {self.lines}")

    def pid_of(self, name: str) -> int:
        """The role's process, by the name that top shows."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it died while we looked
                if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                    return child.pid
        return 0

    def exit_code(self, seconds: float = 10.0) -> int:
        """The exit code."""
        return self.process.wait(seconds)


@contextmanager
def supervisor_rig(roles: dict[str, str], directory: Path, **options: Any) -> Iterator[SupervisorRig]:
    """One that is ended if the test has not done rig. ``options``: those of ``toys``."""
    running = SupervisorRig(roles, directory, **options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()

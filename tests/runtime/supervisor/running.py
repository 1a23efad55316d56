"""A supervisor with toy roles in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.waiting import wait_for

THREE = {"driver": "serve", "registrar": "serve", "probe": "serve"}


class Supervised:
    """A running supervisor and what it has written."""

    def __init__(self, roles: dict[str, str], directory: Path, prefix: tuple[str, ...] = (), **options: Any) -> None:
        self.output = directory / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    "-m",
                    "tests.runtime.supervisor.toys",
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

    def said(self, text: str, times: int = 1) -> bool:
        """Whether a line was written as often."""
        return sum(text in line for line in self.lines) >= times

    def wait_said(self, text: str, times: int = 1) -> None:
        """Wait for it."""
        wait_for(lambda: self.said(text, times), f"{text!r} {times} times in {self.lines}")

    def pid_of(self, name: str) -> int:
        """The role's process, by the name that top shows."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it died while we looked
                if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                    return child.pid
        return 0

    def end(self, seconds: float = 10.0) -> int:
        """The exit code."""
        return self.process.wait(seconds)


@contextmanager
def supervised(roles: dict[str, str], directory: Path, **options: Any) -> Iterator[Supervised]:
    """One that is ended if the test has not done it. ``options``: those of ``toys``."""
    running = Supervised(roles, directory, **options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()

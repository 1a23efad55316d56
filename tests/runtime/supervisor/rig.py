"""A supervisor with fake roles, as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.waiting import wait_until

THREE = {"driver": "serve", "registrar": "serve", "probe": "serve"}
"""The three roles, each of which serves until SIGTERM."""


class SupervisorRig:
    """A running supervisor and its output; ``options`` are those of ``fake_roles``. With ``stream``, a descriptor, the
    output goes there, and there are no ``lines``."""

    def __init__(
        self,
        roles: dict[str, str],
        directory: Path,
        prefix: tuple[str, ...] = (),
        stream: int | None = None,
        **options: Any,
    ) -> None:
        self.output = directory / "output"
        with self.output.open("wb") as file:
            output = file if stream is None else stream
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
                env={**os.environ, "TMPDIR": str(directory)},  # a role's files are gone with the test's
            )

    @property
    def lines(self) -> list[str]:
        """All lines written so far."""
        return self.output.read_text().splitlines()

    def logged(self, text: str, times: int = 1) -> bool:
        """Whether at least so many lines contain the text."""
        return sum(text in line for line in self.lines) >= times

    def wait_logged(self, text: str, times: int = 1) -> None:
        """Wait until at least so many lines contain the text."""
        wait_until(lambda: self.logged(text, times), lambda: f"{text!r} {times} times in {self.lines}")

    def wait_up(self, roles: Iterable[str] = THREE, times: int = 1) -> None:
        """Wait until each role has started so many times and handles SIGTERM."""
        for role in roles:
            self.wait_logged(f"{role} up", times)

    def wait_running(self, roles: Iterable[str] = THREE, times: int = 1) -> None:
        """Wait until supervisord takes each role's start for a success; needs ``verbosity=2``."""
        for role in roles:
            self.wait_logged(f"{role} entered RUNNING", times)

    def find_pid(self, role: str) -> int | None:
        """The role's live process, by the name that ``top`` shows."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it died while we looked
                if child.name() == role and child.status() != psutil.STATUS_ZOMBIE:
                    return child.pid
        return None

    def pid_of(self, role: str) -> int:
        """The role's live process, which has its name only a moment after the fork."""
        return wait_until(lambda: self.find_pid(role), lambda: f"a process of the {role} in {self.lines}")

    def wait_new_pid(self, role: str, old: int) -> int:
        """Wait until the role runs in another process than the old one."""
        return wait_until(
            lambda: pid if (pid := self.find_pid(role)) != old else None, f"a new process of the {role}", pause=0.002
        )

    def exit_code(self, seconds: float = 30.0) -> int:
        """Wait for the supervisor's end."""
        return self.process.wait(seconds)


@contextmanager
def supervisor_rig(roles: dict[str, str], directory: Path, **options: Any) -> Iterator[SupervisorRig]:
    """A supervisor that is killed at the end if it still runs."""
    rig = SupervisorRig(roles, directory, **options)
    try:
        yield rig
    finally:
        if rig.process.poll() is None:
            rig.process.kill()
            rig.process.wait()

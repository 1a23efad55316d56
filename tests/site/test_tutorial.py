"""The tutorial: a newcomer copies its commands into a terminal, one block after the other."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.site.blocks import ROOT, Kind, steps
from tests.support import unmeasured
from tests.support.waiting import wait_until

PAGE = ROOT / "docs" / "tutorial.md"
DIRECTORY = "/tmp/secrets-tutorial"
SET_UP = "make demo\n"  # it has a test of its own, and would set up another environment


class Terminal:
    """Runs blocks as one shell would: directory and PATH are kept."""

    def __init__(self, directory: Path) -> None:
        self._own = directory
        self._state = directory / "state"
        self._directory = ROOT
        self._environment = unmeasured.environment(PYTHONUNBUFFERED="1")
        self._running: subprocess.Popen[str] | None = None
        self._log = directory / "log"

    def run(self, commands: str) -> str:
        """What they print. A failure ends the test."""
        script = f'set -e\n{self._own_paths(commands)}\nprintf "%s\\n%s" "$PWD" "$PATH" > {self._state}\n'
        done = subprocess.run(
            ["bash", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._directory,
            env=self._environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        directory, self._environment["PATH"] = self._state.read_text().split("\n")
        self._directory = Path(directory)
        return done.stdout

    def start(self, commands: str) -> None:
        """Leave them running."""
        with self._log.open("w") as log:
            self._running = subprocess.Popen(
                ["bash", "-c", f"exec {self._own_paths(commands)}"],
                stdout=log,
                stderr=log,
                text=True,
                cwd=self._directory,
                env=self._environment,
            )

    @property
    def is_busy(self) -> bool:
        """Whether something was left running."""
        return self._running is not None

    def has_printed(self, lines: list[str]) -> bool:
        """Whether it has printed all of the lines so far."""
        return set(lines) <= set(self._log.read_text().splitlines())

    def stop(self) -> None:
        """Ctrl-C; it ends in good order."""
        if self._running is not None:
            self._running.send_signal(signal.SIGINT)
            assert self._running.wait(30) == 0
            self._running = None

    def _own_paths(self, commands: str) -> str:
        commands = commands.replace("$PWD/.venv/bin", str(Path(sys.executable).parent))
        return commands.replace(SET_UP, "").replace(DIRECTORY, str(self._own / "t"))


@pytest.mark.timeout(300)
def test_every_step(tmp_path: Path) -> None:
    """Each block is run, in one terminal and a second one → it ends with 0, and prints what the page says."""
    terminal, output, all_steps = Terminal(tmp_path), "", steps(PAGE)
    assert {step.kind for step in all_steps} == {*Kind}
    try:
        for step in all_steps:
            expected = step.text.splitlines()
            if step.kind is Kind.RUN:
                output = terminal.run(step.text)
            elif step.kind is Kind.START:
                terminal.start(step.text)
            elif step.kind is Kind.STOP:
                terminal.stop()
            elif terminal.is_busy:
                wait_until(partial(terminal.has_printed, expected), f"line {step.line}", 60)
            else:
                missing = [line for line in expected if line not in output.splitlines()]
                assert not missing, f"line {step.line}: {output}"
    finally:
        terminal.stop()
    assert not os.path.exists(tmp_path / "t")

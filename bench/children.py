"""The benchmark's child processes: started without a shell, ended by their own pid."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


class Child:
    """One running process, its output in a file."""

    def __init__(self, command: Sequence[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **environment},
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        """What it said last."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


class Generator:
    """The load generator's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [PYTHON, "-m", "bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def do(self, what: str, **job: Any) -> dict[str, Any]:
        """Give it a job and wait for the result."""
        self.begin(what, **job)
        return self.result()

    def begin(self, what: str, **job: Any) -> None:
        """Give it a job."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **job}) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """The result of the job given last."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator has ended; its last words are above")
        return dict(json.loads(line))

    def stop(self) -> None:
        """It ends with its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def environment(values: Mapping[str, str | None]) -> dict[str, str]:
    """Without those that are None."""
    return {key: value for key, value in values.items() if value is not None}

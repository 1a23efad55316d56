"""The demo, run to its end and interrupted."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

STEPS = ("registered:", "mounted:", "healthy:", "rotated:", "killed:", "healed:", "deleted:", "stopped:")


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo with its temporary files in a directory of the test's."""
    environment = {**os.environ, "TMPDIR": str(directory)}
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def check_nothing_left(directory: Path, children: list[psutil.Process]) -> None:
    """The demo has left no file and no process."""
    psutil.wait_procs(children, timeout=5)
    assert list(directory.iterdir()) == []
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


def test_to_the_end(tmp_path: Path) -> None:
    """The demo runs to its end → every step is printed, in order; exit code 0; nothing is left."""
    with tempfile.TemporaryDirectory(prefix="d") as short:  # socket paths are limited to 107 bytes
        demo = start(Path(short))
        output, _ = demo.communicate(timeout=60)
        assert demo.returncode == 0, output
        positions = [output.index(step) for step in STEPS]
        assert positions == sorted(positions)
        check_nothing_left(Path(short), [])


@pytest.mark.parametrize(
    "moment, ending",
    [
        *((moment, signal.SIGINT) for moment in (0.05, 0.3, 0.5, 0.7, 1.0, 1.5)),
        (1.0, signal.SIGTERM),
        (1.0, signal.SIGHUP),
    ],
)
def test_interrupted(moment: float, ending: signal.Signals) -> None:
    """Ctrl-C at any moment, or the end of the CI job or terminal → the demo ends soon and leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="d") as short:
        demo = start(Path(short))
        time.sleep(moment)  # the moment is the parameter of the test, not a wait for something
        children = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(ending)
        output, _ = demo.communicate(timeout=30)
        assert demo.returncode != 0 or "every step was checked" in output
        check_nothing_left(Path(short), children)

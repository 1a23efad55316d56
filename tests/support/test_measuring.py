"""Coverage, suspended for a while."""

import subprocess
import sys
from pathlib import Path

import coverage

from tests.support.measuring import REPEATING

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import subprocess, sys, threading
from tests.support import measuring

def suspended_here(): pass
def suspended_in_thread(): pass
def resumed_here(): pass
def resumed_in_thread(): pass

def reach(here, in_thread, program):
    here()
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    subprocess.run([sys.executable, program], check=True)

with measuring.suspended():
    reach(suspended_here, suspended_in_thread, "suspended.py")
reach(resumed_here, resumed_in_thread, "resumed.py")
"""
CONFIGURATION = "[run]\nparallel = true\nbranch = true\npatch = subprocess\nsource = .\n"


def test_the_list_is_current() -> None:
    """Look up the suites that are not measured → each is a folder of tests."""
    assert [name for name in REPEATING if not (ROOT / "tests" / name).is_dir()] == []


def test_suspended(tmp_path: Path) -> None:
    """A program calls functions, also in a thread, and starts a process, while coverage is suspended → none of them is
    measured; afterwards → all are."""
    for name, text in {".coveragerc": CONFIGURATION, "program.py": PROGRAM}.items():
        (tmp_path / name).write_text(text)
    for name in ("suspended.py", "resumed.py"):
        (tmp_path / name).write_text("reached = True\n")
    command = [sys.executable, "-m", "coverage", "run", "program.py"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = coverage.Coverage(str(tmp_path / ".coverage"), config_file=False)
    found.combine([str(tmp_path)])
    data = found.get_data()
    assert {Path(path).name for path in data.measured_files() if data.lines(path)} == {"program.py", "resumed.py"}
    # A function of one line is reached if there is an arc that leaves it.
    arcs = {number for arc in data.arcs(str(tmp_path / "program.py")) or () for number in arc}
    names = ("suspended_here", "suspended_in_thread", "resumed_here", "resumed_in_thread")
    lines = {name: -1 - PROGRAM.splitlines().index(f"def {name}(): pass") for name in names}
    assert [name for name in names if lines[name] in arcs] == ["resumed_here", "resumed_in_thread"]

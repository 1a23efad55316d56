"""The demo, run to its end and interrupted."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil
import pytest

from demo.output import MAX_WIDTH, Output, describe_mount, wants_color
from tests.support import unmeasured
from tests.support.waiting import wait_until

STEPS = tuple(f"{number}/7  " for number in range(1, 8))


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo with its temporary files in a directory of the test's."""
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=unmeasured.environment(TMPDIR=str(directory)),
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
        assert "\x1b" not in output  # it is no terminal
        # The commands at the end stand in a column, which is wider if the environment has a longer name than .venv.
        wider = max(0, len(os.path.relpath(sys.executable)) - len(".venv/bin/python"))
        assert [line for line in output.splitlines() if len(line) > MAX_WIDTH + wider] == []
        for shown in ("kind: SecretProviderClass", "kind: Pod", "16 MiB", "What next?", "docs/tutorial.md"):
            assert shown in output
        check_nothing_left(Path(short), [])


@pytest.mark.parametrize(
    "moment, ending, times",
    [
        *((moment, signal.SIGINT, 1) for moment in (0.05, 0.3, 0.5, 0.7, 1.0, 1.5)),
        (1.0, signal.SIGTERM, 1),
        (1.0, signal.SIGHUP, 1),
        (0.7, signal.SIGINT, 3),
        (1.5, signal.SIGTERM, 3),
    ],
)
def test_interrupted(moment: float, ending: signal.Signals, times: int) -> None:
    """Ctrl-C at any moment, once or by somebody who is in a hurry; or the end of the CI job or terminal → the demo ends
    soon and leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="d") as short:
        demo = start(Path(short))
        time.sleep(moment)  # the moment is the parameter of the test, not a wait for something
        children = psutil.Process(demo.pid).children(recursive=True)
        for _ in range(times):
            demo.send_signal(ending)
            time.sleep(0.05)
        output, _ = demo.communicate(timeout=30)
        assert demo.returncode != 0 or "Every step was checked" in output
        check_nothing_left(Path(short), children)


def test_a_tethered_process_ends_with_its_parent() -> None:
    """The demo is killed (SIGKILL) → what it has started ends. A parent that has ended before → nothing is started."""
    serve = f"{sys.executable} -m demo.tethered %s http.server --bind 127.0.0.1 0"
    shell = subprocess.Popen(
        ["sh", "-c", f"{serve % '$$'} & echo $!; wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=unmeasured.environment(PYTHONUNBUFFERED="1"),
    )
    with shell:
        assert shell.stdout is not None
        server = psutil.Process(int(shell.stdout.readline()))
        assert shell.stdout.readline().startswith("Serving HTTP")
        shell.kill()
        wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "its end")
    done = subprocess.run((serve % "1").split(), capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "environment, terminal, color",
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),  # no-color.org: only if it is not empty
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colors(environment: dict[str, str], terminal: bool, color: bool) -> None:
    """On a terminal, unless the environment says otherwise."""
    assert wants_color(environment, terminal) == color


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A narrow terminal → no line is wider; with colours the texts are the same."""
    texts = []
    for color in (False, True):
        output = Output(color=color, width=60)
        output.title("Title", "some words " * 20)
        output.step("The first")
        output.explain("some words " * 20)
        output.done("some words " * 10)
        texts.append(click.unstyle(capsys.readouterr().out))
    assert len(texts[0].splitlines()) > 10 and all(len(line) <= 60 for line in texts[0].splitlines())
    assert texts[0] == texts[1]


def test_a_mount_in_words() -> None:
    """The line of a mount table, 200 characters long → its kind, size and safety."""
    line = "tmpfs /a/b/mount tmpfs rw,nosuid,nodev,noexec,relatime,size=16384k,nr_inodes=16448,mode=755,noswap 0 0"
    words = "a tmpfs: in memory, at most 16 MiB, never swapped out (noswap), nosuid nodev noexec"
    assert describe_mount(line) == words
    assert describe_mount(line.replace(",noswap", "").replace("size=16384k,", "")) == (
        "a tmpfs: in memory, nosuid nodev noexec"
    )

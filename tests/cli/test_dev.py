"""``secrets-store dev``: a provider of the test's own, its class, and what happens when they change."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support import unmeasured
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
PROVIDER = """\
import sys
from provider_kit import File, MountReply, Provider, ServeConfig, run_command

class Mine(Provider):
    name = "mine"

    async def mount(self, request):
        names = request.require("names").split(",")
        return MountReply([File(name, b"VALUE") for name in names], {name: "VALUE" for name in names})

sys.exit(run_command("mine", ServeConfig, lambda config: Mine()))
"""
CLASS = """\
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: app}
spec:
  provider: mine
  parameters: {names: "user,password"}
"""


Running = tuple["subprocess.Popen[bytes]", Callable[[], str]]


@contextmanager
def dev(
    directory: Path, *options: str, text: str = CLASS
) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], str]]]:
    """The command, and a function that returns what it has written."""
    (directory / "my.py").write_text(PROVIDER)
    (directory / "app.yaml").write_text(text)
    (directory / "tmp").mkdir()
    command = [sys.executable, "-m", "cli", "dev", f"--provider={directory}/my.py", f"--class={directory}/app.yaml"]
    output = directory / "output"
    environment = unmeasured.environment(TMPDIR=str(directory / "tmp"), PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    with output.open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=environment, cwd=directory)
    try:
        yield process, lambda: output.read_text(errors="replace")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
            raise


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name, because the paths of sockets have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="d") as short:
        yield Path(short)


def replace(path: Path, before: str, after: str) -> None:
    """Change a file, as editors do: by another one."""
    draft = path.with_suffix(".new")
    draft.write_text(path.read_text().replace(before, after))
    os.replace(draft, path)


def test_a_run(directory: Path) -> None:
    """It prints the volume; after a change of the class, of the provider, and a mistake in the provider that is
    corrected, it prints the new content; Ctrl-C ends it, and no process and no file is left."""
    with dev(directory) as (process, output):
        wait_until(lambda: "volume: 2 files" in output(), output, SECONDS)
        assert "secrets/password  -rw-r--r--  5 bytes: 'VALUE'" in output()
        replace(directory / "app.yaml", "user,password", "user,password,key")
        wait_until(lambda: "volume: 3 files" in output(), output, SECONDS)
        replace(directory / "my.py", "VALUE", "OTHER")
        wait_until(lambda: "'OTHER'" in output(), output, SECONDS)
        replace(directory / "my.py", "class Mine", "clas Mine")
        wait_until(lambda: "provider: SyntaxError" in output(), output, SECONDS)
        replace(directory / "my.py", "clas Mine", "class Mine")
        replace(directory / "my.py", "OTHER", "THIRD")
        wait_until(lambda: "'THIRD'" in output(), output, SECONDS)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        for _ in range(3):  # somebody is in a hurry
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert process.wait(SECONDS) == 0, output()
        gone, alive = psutil.wait_procs(children, timeout=SECONDS)
        assert not alive and list((directory / "tmp").iterdir()) == []


def test_once(directory: Path) -> None:
    """--once → it ends with exit code 0 when the volume is mounted."""
    with dev(directory, "--once", "--seconds=60") as (process, output):
        assert process.wait(2 * SECONDS) == 0, output()
        assert "volume: 2 files" in output()


def test_a_mistake_in_the_parameters(directory: Path) -> None:
    """The provider refuses the class → kubelet's message is printed; after the correction the volume."""
    with dev(directory, text=CLASS.replace("names:", "nams:")) as (_, output):
        wait_until(lambda: "kubelet: MountVolume.SetUp failed" in output(), output, SECONDS)
        replace(directory / "app.yaml", "nams:", "names:")
        wait_until(lambda: "volume: 2 files" in output(), output, SECONDS)


def test_a_class_without_a_provider(directory: Path) -> None:
    """The class names no provider → exit code 1, and a sentence; nothing is left."""
    with dev(directory, text=CLASS.replace("  provider: mine\n", "")) as (process, output):
        assert process.wait(SECONDS) == 1
        assert "app.yaml is not a class with metadata.name and spec.provider" in output()
        assert list((directory / "tmp").iterdir()) == []

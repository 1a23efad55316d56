"""An attack costs its author: while it lasts, a well-behaved pod's publish and unpublish and the container's health
take about as long as before.

Each test prints the medians and their ratios; docs/security.md has those of a quiet machine. The bound here is wide: a
loaded machine slows one half of a measurement down and not the other. ``computing`` attacks nobody: it shows what the
machine itself costs.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from tests.attacks.calls import publish, target_path, unpublish
from tests.container.test_whole import Container
from tests.support import unmeasured
from tests.support.cgroups import MemoryCgroup
from tests.support.mounts import unmount_below
from tests.support.waiting import wait_until

TURNS, SAMPLES = 2, 5
SLOWDOWN, SECONDS = 8.0, 0.5

pytestmark = pytest.mark.measured

ATTACKS = ["computing", "large_replies", "costly_values", "echoes", "labels", "connections"]


class Times(dict[str, list[float]]):
    """Seconds by what was measured."""

    def __init__(self) -> None:
        super().__init__({"publish": [], "unpublish": [], "/healthz": []})


@contextmanager
def program(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A Python module that runs beside the test and is killed at its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=unmeasured.environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


class Drain:
    """Reads the container's log, unless ``paused``."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR)
        self._reading = threading.Event()
        self._reading.set()
        self._ended = False
        self.text = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody reads."""
        self._reading.clear()
        try:
            yield
        finally:
            self._reading.set()

    def close(self) -> None:
        """End reading."""
        self._ended = True
        self._reading.set()
        os.write(self._descriptor, b"\n")
        self._thread.join()
        os.close(self._descriptor)

    def _read(self) -> None:
        while not self._ended:
            self._reading.wait()
            self.text += os.read(self._descriptor, 65536)


@dataclass(frozen=True)
class Place:
    """A container and who reads its log."""

    container: Container
    log: Drain


@contextmanager
def place_in(directory: Path, cgroup: MemoryCgroup | None = None) -> Iterator[Place]:
    """A container that logs every call, and the stub and the fake API server as processes of their own."""
    kubeconfig = directory / "kubeconfig"
    with ExitStack() as stack:
        stack.callback(unmount_below, directory / "kubelet")
        log = Drain(directory / "log")
        stack.callback(log.close)
        api = stack.enter_context(program("tests.attacks.api_server", str(kubeconfig)))
        assert api.stdout is not None and api.stdout.readline() == "serving\n"
        container = Container(directory, "-v=5", "--manifests=", f"--kubeconfig={kubeconfig}")
        stack.callback(_end, container)
        if cgroup is not None:
            cgroup.add(container.process.pid)
        stub = f"--endpoint=unix://{directory}/providers/stub.sock"
        stack.enter_context(program("provider_stub.main", stub, f"--secrets-dir={directory}/store"))
        wait_until((directory / "providers" / "stub.sock").exists, "the provider")
        wait_until(lambda: container.fetch("/healthz") == (200, "ok"), "healthz")
        yield Place(container, log)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place for all attacks."""
    with place_in(tmp_path_factory.mktemp("neighbours")) as made:
        yield made


def _end(container: Container) -> None:
    container.process.terminate()
    container.process.wait(30)


def measure(container: Container, prefix: str, took: Times) -> None:
    """What a well-behaved pod and the probe of kubelet experience, a few times."""
    directory = container.directory

    def timed(what: str, call: Callable[[], object], result: object) -> None:
        """A check that fails is repeated, as kubelet does, and so is late."""
        started = time.monotonic()
        wait_until(lambda: call() == result, what, seconds=60)
        took[what].append(time.monotonic() - started)

    for number in range(SAMPLES):
        pod = f"{prefix}-{number}"
        timed("publish", partial(publish, directory, pod, "fine", {}, {}, seconds=30), "")
        assert (target_path(directory, pod) / "password").exists()
        timed("unpublish", partial(unpublish, directory, pod, seconds=30), "")
        timed("/healthz", partial(container.fetch, "/healthz"), (200, "ok"))


def report(attack: str, quiet: Times, busy: Times) -> None:
    """Print the table and fail if a neighbour had to pay."""
    for what in quiet:
        before, under = median(quiet[what]), median(busy[what])
        print(
            f"{attack}: {what} {before * 1000:.1f} ms in quiet, {under * 1000:.1f} ms under attack, "
            f"{under / before:.1f} times"
        )
    assert all(median(busy[what]) < SLOWDOWN * median(quiet[what]) + SECONDS for what in quiet)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_costs_its_author(place: Place, attack: str) -> None:
    """A provider, a pod's author or a client attacks without a pause, from a process of its own → a well-behaved pod's
    volume comes and goes, and kubelet's probe is answered, about as fast as before."""
    container, log = place.container, place.log
    ports = [str(container.port), str(container.metrics_port)]
    quiet, busy = Times(), Times()
    measure(container, "warm", Times())
    with program("tests.attacks.attacker", attack, str(container.directory), *ports) as attacker:
        assert attacker.stdout is not None
        for turn in range(TURNS):  # by turns, so that a change of the machine's load affects both
            attacker.send_signal(signal.SIGCONT)
            assert attacker.stdout.readline() == "round\n"
            with ExitStack() as stack:
                if attack == "echoes":  # and nobody reads what is logged about it
                    stack.enter_context(log.paused())
                measure(container, f"busy-{turn}", busy)
            attacker.send_signal(signal.SIGSTOP)
            measure(container, "settled", Times())
            measure(container, f"quiet-{turn}", quiet)
        assert attacker.poll() is None
    report(attack, quiet, busy)

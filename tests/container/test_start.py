"""The container's first half second."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import usage
from bench.processes import COMPILED, PYTHON, UNMEASURED, Child
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.waiting import wait_until

# Measured 11 to 13.2. It was 20 to 24 while Probe waited for what only a publish or the status page needs.
MOST_EMPTY_STARTS = 16.0
ROUNDS = 6


def test_sigterm_during_the_imports(tmp_path: Path) -> None:
    """SIGTERM while modules are still imported, as when a pod is deleted at once → the signal is kept, the container
    ends with exit code 0, and no role was started."""
    with (tmp_path / "log").open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "container.start", *_flags(tmp_path, port=0)],
            stderr=file,
        )
    try:
        wait_until(lambda: _blocks(process.pid, signal.SIGTERM), "the imports to begin")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    log = (tmp_path / "log").read_text()
    assert "Stopping" in log and "Serving" not in log, log


def test_the_garbage_collector_works() -> None:
    """The imports are over → what they made is left alone, and garbage of later is collected."""
    code = (
        "import gc, sys; from container.start import main; sys.argv[1:] = ['--version']; assert main() == 0\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 10_000"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_what_a_first_probe_does_without() -> None:
    """All that is imported until the driver answers its first Probe → nothing that only calls to the API server, the
    status page or a directory of manifests need."""
    code = (
        "import sys, container.main; from driver.cluster import api, gateway, secrets, taint, workloads\n"
        "from driver.sync import engine; print('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    found = set(done.stdout.split())
    assert "driver.cluster.connections" in found
    assert found.isdisjoint({"aiohttp", "kubernetes", "attr", "psutil", "probe.page", "yaml"})


@pytest.mark.measured
def test_cpu(tmp_path: Path) -> None:
    """CPU time of all processes from the container's start to the first /healthz 200, which is a Probe, with byte code
    as in the image → not many times that of an interpreter which does nothing. The least of some, as noise only adds.
    """
    empty, whole = [], []
    for number in range(ROUNDS):
        empty.append(_cpu_of_an_interpreter())
        whole.append(_cpu_of_a_start(tmp_path / str(number)))
    print(
        f"{min(whole):.3f} s, {min(whole) / min(empty):.1f} times an empty interpreter, Python {sys.version_info[:2]}"
    )
    assert min(whole) <= MOST_EMPTY_STARTS * min(empty), (whole, empty)


def _cpu_of_an_interpreter() -> float:
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before = used()
    subprocess.run([PYTHON, "-c", "pass"], env={**os.environ, **UNMEASURED, **COMPILED}, check=True)
    return used() - before


def _cpu_of_a_start(directory: Path) -> float:
    directory.mkdir()
    port = free_port()
    child = Child([PYTHON, "-m", "container.start", *_flags(directory, port)], directory / "log")
    try:
        wait_until(lambda: fetch(port, timeout=3)[0] == 200, child.tail, 30, pause=0.002)
        return sum(usage.cpu_seconds(pid) for pid in usage.process_tree(child.pid))
    finally:
        child.stop()


def _flags(directory: Path, port: int) -> list[str]:
    return [
        f"--endpoint=unix://{directory}/csi.sock",
        "--nodeid=node-1",
        f"--kubeconfig={directory}/config",  # there is none: the driver waits for one beside its other work
        f"--provider-volume={directory}",
        "--additional-provider-volume-paths=",
        f"--kubelet-pods-dir={directory}",
        f"--status-directory={directory}/status",
        f"--kubelet-registration-path={directory}/csi.sock",
        f"--plugin-registration-path={directory}",
        "--metrics-addr=127.0.0.1:0",
        f"--probe-http-endpoint=127.0.0.1:{port}",
        "--status-endpoint=",
    ]


def _blocks(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().split()
    return bool(int(status[status.index("SigBlk:") + 1], 16) & 1 << number - 1)

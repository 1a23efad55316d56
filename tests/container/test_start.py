"""The container's first half second."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import wait_until


def test_sigterm_during_the_imports(tmp_path: Path) -> None:
    """SIGTERM while modules are still imported, as when a pod is deleted at once → the signal is kept, the container
    ends with exit code 0, and no role was started."""
    with (tmp_path / "log").open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "container.start",
                f"--endpoint=unix://{tmp_path}/csi.sock",
                "--nodeid=node-1",
                f"--manifests={tmp_path}",
                f"--provider-volume={tmp_path}",
                "--additional-provider-volume-paths=",
                f"--kubelet-pods-dir={tmp_path}",
                f"--status-directory={tmp_path}/status",
                f"--kubelet-registration-path={tmp_path}/csi.sock",
                f"--plugin-registration-path={tmp_path}",
                "--metrics-addr=127.0.0.1:0",
                "--probe-http-endpoint=127.0.0.1:0",
            ],
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


def _blocks(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().split()
    return bool(int(status[status.index("SigBlk:") + 1], 16) & 1 << number - 1)

"""The container's first half second."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import wait_until


def test_an_order_to_stop_during_the_imports(tmp_path: Path) -> None:
    """SIGTERM before there is a supervisor that could take it, as where a pod is deleted at once: it waits, then the
    container ends well, and nothing was started."""
    with (tmp_path / "log").open("wb") as log:
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
            stderr=log,
        )
    try:
        wait_until(lambda: _blocks(process.pid, signal.SIGTERM), "the imports to begin")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    told = (tmp_path / "log").read_text()
    assert "Stopping" in told and "Serving" not in told, told


def _blocks(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().split()
    return bool(int(status[status.index("SigBlk:") + 1], 16) & 1 << number - 1)

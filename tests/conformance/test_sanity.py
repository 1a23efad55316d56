"""csi-sanity v5 against the driver as a process of its own.

Left out by name, because tests of ours replace them: ``Controller`` (tests/driver/csi/test_controller.py), ``should
remove target path`` (it publishes with readonly=false, which must be refused: tests/driver/publish/test_request.py)
and ``volume does not exist on the specified path`` (it needs CreateVolume: tests/driver/csi/test_stats.py).
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import build
from tests.support.waiting import wait_until

SKIPPED = ("Controller", "should remove target path", "volume does not exist on the specified path")
EXPECTED_PASSES = 13


@pytest.fixture
def sanity() -> Path:
    """The program, built if it is missing and there is Go."""
    group = build.GROUPS["sanity"]
    program = group.home / "csi-sanity"
    if not program.is_file():
        if shutil.which("go") is None:
            pytest.skip("csi-sanity is not built, and there is no Go on this machine to build it")
        subprocess.run([sys.executable, "-m", "tests.cluster.build", "sanity"], check=True)
    return program


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Path]:
    """A driver process; returns its socket."""
    socket, manifests = tmp_path / "csi.sock", tmp_path / "manifests"
    manifests.mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "driver.main",
            f"--endpoint=unix://{socket}",
            "--nodeid=node-1",
            f"--manifests={manifests}",
            "--metrics-addr=",
            "--status-directory=",
        ]
    )
    try:
        wait_until(socket.exists, "the driver's socket")
        yield socket
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.timeout(300)
def test_csi_sanity(sanity: Path, driver: Path, tmp_path: Path) -> None:
    """All scenarios, except those left out by name → as many pass as are known to exist, none fails."""
    done = subprocess.run(
        [
            str(sanity),
            f"--csi.endpoint=unix://{driver}",
            f"--csi.mountdir={tmp_path}/mount",
            f"--csi.stagingdir={tmp_path}/staging",
            "--ginkgo.skip=" + "|".join(SKIPPED),
            "--ginkgo.no-color",
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout + done.stderr
    summary = re.search(r"(\d+) Passed \| (\d+) Failed", done.stdout)
    assert summary is not None
    assert (int(summary[1]), int(summary[2])) == (EXPECTED_PASSES, 0)

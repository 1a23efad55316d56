"""The container of the storm and what kubelet does for it: it is started again when it has ended, and ended when its
liveness probe fails."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.faults.storm.launcher import ROLES
from tests.faults.storm.output import Output
from tests.support import unmeasured
from tests.support.http_client import fetch

# kubelet's are 10 s and more; here time runs faster.
LIVENESS_PERIOD, LIVENESS_FAILURES, LIVENESS_SECONDS = 1.0, 5, 4.0
GRACE_SECONDS = 15.0
RESTART_PAUSE = 0.2
# Room for the old and the new content of the largest class, and not for a bulky one.
TMPFS_BYTES = 2_500_000


def fixed_flags(inner: Path, node: str) -> list[str]:
    """The flags that do not depend on ports; ``inner`` is the container's directory."""
    return [
        f"--nodeid={node}",
        f"--endpoint=unix://{inner}/csi/csi.sock",
        f"--provider-volume={inner}/providers",
        "--additional-provider-volume-paths=",
        f"--plugin-registration-path={inner}/registration",
        f"--status-directory={inner}/tmp/status",
        f"--tmpfs-size={TMPFS_BYTES}",
        "--enable-secret-rotation",
        "--rotation-poll-interval=1s",
        "--provider-health-check",
        "--provider-health-check-interval=2s",
        "--volume-condition",
        "-v=1",
    ]


@dataclass
class Container:
    """``hosts`` maps hostPath directories to where they are mounted; missing ones are created at each start."""

    directory: Path
    memory: Path
    hosts: Sequence[tuple[Path, Path]]
    flags: Sequence[str]
    port: int
    output: Output
    note: Callable[[str], None]
    starts: int = 0
    liveness_kills: int = 0
    _outer: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """Keep it running until cancelled."""
        while True:
            self._start()
            assert self._outer is not None
            check = asyncio.create_task(self._check_liveness())
            try:
                code = await asyncio.to_thread(self._outer.wait)
            finally:
                check.cancel()
            self.note(f"the container ended with code {code}")
            await asyncio.sleep(RESTART_PAUSE)

    def _start(self) -> None:
        for source, target in self.hosts:
            source.mkdir(parents=True, exist_ok=True)
            target.mkdir(parents=True, exist_ok=True)
        pairs = [f"{source}={target}" for source, target in self.hosts if source != target]
        reader, writer = os.pipe()
        try:
            self._outer = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.storm.launcher", str(self.memory), *pairs, "--", *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                env=unmeasured.environment(TMPDIR=str(self.directory / "tmp")),
            )
        finally:
            os.close(writer)
        self.starts += 1
        self.note("the container starts")
        self.output.read_all(reader)

    async def _check_liveness(self) -> None:
        failures, seen_healthy = 0, False
        started = time.monotonic()
        while failures < LIVENESS_FAILURES:
            await asyncio.sleep(LIVENESS_PERIOD)
            code, _ = await asyncio.to_thread(fetch, self.port, "/healthz", timeout=LIVENESS_SECONDS)
            seen_healthy = seen_healthy or code == 200
            if code == 200 or (not seen_healthy and time.monotonic() - started < 20):
                failures = 0
            else:
                failures += 1
        self.liveness_kills += 1
        self.note("the container's liveness probe fails")
        await self.end()

    async def end(self) -> None:
        """As kubelet ends a container: SIGTERM, and SIGKILL after the grace period."""
        outer = self._outer
        self.signal("container", signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while outer is not None and outer.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if outer is not None and outer.poll() is None:
            self.note("the container did not end within the grace period")
            self.signal("container", signal.SIGKILL)

    def processes(self) -> dict[str, psutil.Process]:
        """PID 1 as ``container``, and the roles that run."""
        found: dict[str, psutil.Process] = {}
        with suppress(psutil.NoSuchProcess):
            if self._outer is None:
                return found
            for first in psutil.Process(self._outer.pid).children():
                found["container"] = first
                for child in first.children():
                    with suppress(psutil.NoSuchProcess):
                        found[child.name()] = child
        return {name: process for name, process in found.items() if name == "container" or name in ROLES}

    def signal(self, name: str, number: signal.Signals) -> int | None:
        """Signal one of ``processes``; returns its pid, None if it is not there."""
        process = self.processes().get(name)
        if process is None:
            return None
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return None
        return process.pid

    def kill(self) -> None:
        """At the end of the storm."""
        self.signal("container", signal.SIGKILL)
        if self._outer is not None:
            self._outer.kill()
            self._outer.wait()

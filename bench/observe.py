"""A driver at work, and a tool that looks on: for ``flame`` and ``syscalls``."""

import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.rig import BenchRig, settle
from bench.subjects import OURS, Driver
from tests.cluster import build


def observe(command: Callable[[int], Sequence[str]], volumes: int, clients: int) -> None:
    """Publish and unpublish so many volumes, ``clients`` at a time, while ``command``, made from the driver's pid,
    runs; it is ended by SIGINT."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:  # noqa: SIM117
        with BenchRig(Path(directory), cluster=not build.GROUPS["apiserver"].missing) as rig:
            rig.write_class("small")
            driver = Driver("ours", OURS, rig)
            driver.start()
            try:
                settle(2.0)
                driver.publish(rig.pods(10, "small"))
                batches = [rig.pods(100, "small") for _ in range(volumes // 100)]
                tool = subprocess.Popen(command(driver.pid), stdout=subprocess.DEVNULL)
                settle(1.5)
                for pods in batches:
                    driver.publish(pods, clients=clients)
                for pods in batches:
                    driver.unpublish(pods, clients=clients)
                tool.send_signal(signal.SIGINT)
                tool.wait(60)
            finally:
                driver.stop()

"""Observe a working driver with a tool such as a profiler; used by ``flame`` and ``syscalls``."""

import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.drivers import OURS, Driver
from bench.effort import settle
from bench.rig import BenchRig
from tests.cluster import build


def observe(command: Callable[[int], Sequence[str]], volumes: int, clients: int) -> None:
    """Publish and unpublish that many volumes, ``clients`` at a time, while a tool observes the driver. ``command``
    returns the tool's command for a pid; SIGINT ends the tool.
    """
    cluster = not build.GROUPS["apiserver"].missing
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, BenchRig(Path(directory), cluster=cluster) as rig:
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

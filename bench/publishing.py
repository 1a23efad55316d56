"""How long publishes and unpublishes take. The drivers take turns in each round, so that a slow minute affects all."""

from collections.abc import Sequence
from typing import Any

from bench.drivers import Driver
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.processes import PYTHON, Child
from bench.rig import BenchRig
from tests.support.waiting import wait_until


def lower_bound(rig: BenchRig, figures: Figures) -> None:
    """The time that the load generator and an empty gRPC server take for the same connections and calls."""
    socket = rig.directory / "empty.sock"
    server = Child([PYTHON, "-m", "bench.empty_servers", "grpc", str(socket)], rig.directory / "empty.log")
    try:
        wait_until(socket.exists, "the socket of the empty server")
        volumes = [{"id": "x", "target": "/x"}] * 110
        for _ in range(3):
            burst = rig.generator.do("empty", socket=str(socket), volumes=volumes)
            figures["floor_burst"].add("floor", burst["total"])
            single = rig.generator.do("empty", socket=str(socket), volumes=volumes, clients=1, capabilities=0)
            figures["floor_call"].add("floor", *milliseconds(single))
    finally:
        server.stop()


def starts(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """Time from exec to the first Probe that reports ready. The drivers keep running."""
    for number in range(effort.rounds):
        for driver in drivers:
            if number:
                driver.stop()
            figures["start"].add(driver.name, driver.start())


def singles(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """One publish at a time: at kubelet's usual rate, and back to back."""
    count = effort.singles // effort.rounds
    for _ in range(effort.rounds):
        for key, class_name, how in (
            ("paced", "small", {"rate": 8}),
            ("single", "small", {"clients": 1}),
            ("single_large", "large", {"clients": 1}),
        ):
            for driver in drivers:
                pods = driver.rig.pods(count, class_name)
                settle(0.5)
                before = driver.cpu()
                figures[key].add(driver.name, *milliseconds(driver.publish(pods, **how)))
                published = driver.cpu()
                settle(0.5)
                unpublishes = milliseconds(driver.unpublish(pods, clients=1))
                if key != "paced":
                    figures[key.replace("single", "unpublish")].add(driver.name, *unpublishes)
                if key == "single":
                    figures["cpu_publish"].add(driver.name, (published - before) / count * 1000)
                    figures["cpu"].add(driver.name, (driver.cpu() - before) / count * 1000)


def sequence(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """A thousand volumes of one small secret, one after the other, including the provider's time."""
    for driver in drivers:
        pods = driver.rig.pods(effort.sequence, "small")
        settle(0.5)
        figures["sequence"].add(driver.name, *milliseconds(driver.publish(pods, clients=1)))
        driver.unpublish(pods, clients=8)


def bursts(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """All volumes at once; the first burst of each size is a warm-up."""
    settle(2.0)
    for size in (30, 110):
        for number in range(effort.rounds + 1):
            for driver in drivers:
                pods = driver.rig.pods(size, "small")
                settle(0.5)
                result = driver.publish(pods)
                if number:
                    figures[f"burst{size}"].add(driver.name, result["total"])
                settle(0.3)
                driver.unpublish(pods, clients=8)


def milliseconds(result: dict[str, Any]) -> list[float]:
    """The times of the calls of a job."""
    return [seconds * 1e3 for seconds in result["seconds"]]

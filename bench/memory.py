"""The memory of a driver: idle, with many volumes, and in a large cluster."""

from collections.abc import Sequence

from bench import usage
from bench.drivers import Driver
from bench.effort import settle
from bench.figures import Figures
from bench.rig import GROUP, NAMESPACE, BenchRig


def memory(drivers: Sequence[Driver], figures: Figures) -> None:
    """A newly started driver, idle and after 110 volumes."""
    for driver in drivers:
        driver.stop()
        driver.start()
        settle(5.0)
        figures["driver_idle"].add(driver.name, usage.pss(driver.pid))
        pods = driver.rig.pods(110, "small")
        driver.publish(pods)
        settle(3.0)
        figures["driver_loaded"].add(driver.name, usage.pss(driver.pid))
        driver.unpublish(pods, clients=8)


def memory_with_one_class(drivers: Sequence[Driver], figures: Figures, key: str) -> None:
    """A newly started driver with one class in use, whatever the size of the cluster."""
    for driver in drivers:
        driver.stop()
        driver.start()
        pods = driver.rig.pods(1, "small")
        driver.publish(pods)
        settle(8.0)
        figures[key].add(driver.name, usage.pss(driver.pid))
        driver.unpublish(pods)


def fill_cluster(rig: BenchRig, count: int) -> None:
    """Create ``count`` classes, and as many Secrets with the label that marks synced Secrets."""
    spec = {"provider": "bench", "parameters": {"objects": "x" * 200}}
    rig.create_all(
        [
            {
                "apiVersion": GROUP,
                "kind": "SecretProviderClass",
                "spec": spec,
                "metadata": {"name": f"crowd-{number}", "namespace": NAMESPACE},
            }
            for number in range(count)
        ]
    )
    rig.create_all(
        [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "stringData": {"value": "x" * 100},
                "metadata": {
                    "name": f"crowd-{number}",
                    "namespace": NAMESPACE,
                    "labels": {"secrets-store.csi.k8s.io/managed": "true"},
                },
            }
            for number in range(count)
        ]
    )


def growth(drivers: Sequence[Driver], figures: Figures) -> None:
    """The ratio of a driver's memory in a large cluster to that in a small one."""
    for driver in drivers:
        small, large = figures["driver_one"].median(driver.name), figures["driver_large"].median(driver.name)
        if small and large:
            figures["driver_growth"].add(driver.name, large / small)

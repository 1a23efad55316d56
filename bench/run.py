"""One run: the drivers and containers of it, its measures by name, and their results."""

import argparse
import sys
from collections.abc import Callable, Sequence

from bench import container, container_measures, memory, outage, publishing, roles, secret_syncs, syncing
from bench.api_calls import CallsByDriver, count_calls, republish, rotate
from bench.drivers import OURS, Driver, command_of
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.rig import BenchRig

PARTS = ("driver", "registrar", "probe")


class Run:
    """Each public method but ``take`` is a measure; ``MEASURES`` lists them by name."""

    def __init__(self, rig: BenchRig, figures: Figures, options: argparse.Namespace) -> None:
        self.rig, self.figures, self.options = rig, figures, options
        self.calls: CallsByDriver = {}
        self.failed: dict[str, str] = {}
        self.effort = Effort.quick() if options.quick else Effort()
        others = {name: command_of(getattr(options, name)) for name in PARTS if getattr(options, name)}
        self.other = "theirs" if options.container or others else None
        self.commands = {"ours": OURS, **({"theirs": others["driver"]} if "driver" in others else {})}
        self.drivers = [Driver(name, command, rig) for name, command in self.commands.items()]
        self.containers: dict[str, container.Commands] = {"ours": container.OURS}
        if options.container:
            self.containers["theirs"] = container.of_another_version(command_of(options.container))
        elif len(others) == len(PARTS):
            self.containers["theirs"] = others

    def take(self, names: Sequence[str], write: Callable[[], None]) -> None:
        """Take the named measures. A failed one is recorded, and the others follow. ``write`` is called after each, so
        that an interrupted run keeps its results.
        """
        try:
            for name in names:
                print(f"… {name}", file=sys.stderr, flush=True)
                try:
                    MEASURES[name](self)
                except (RuntimeError, TimeoutError, AssertionError) as error:
                    self.failed[name] = str(error)
                    print(f"  {name} failed: {error}", file=sys.stderr, flush=True)
                write()
        finally:
            self._stopped()

    def floor(self) -> None:
        """The lower bound of publishes."""
        publishing.lower_bound(self.rig, self.figures)

    def starts(self) -> None:
        """Start of the driver."""
        publishing.starts(self._stopped(), self.figures, self.effort)

    def singles(self) -> None:
        """One publish at a time."""
        publishing.singles(self._running(), self.figures, self.effort)

    def sequence(self) -> None:
        """Many publishes, one after the other."""
        publishing.sequence(self._running(), self.figures, self.effort)

    def bursts(self) -> None:
        """Many publishes at once."""
        publishing.bursts(self._running(), self.figures, self.effort)

    def synced(self) -> None:
        """Many publishes with synced Secrets at once."""
        syncing.synced_bursts(self._running(), self.figures, self.effort)

    def count_calls(self) -> None:
        """Calls to the API server."""
        count_calls(self.rig, self._stopped(), self.figures, self.calls)

    def memory(self) -> None:
        """Memory of the driver."""
        memory.memory(self._stopped(), self.figures)

    def republish(self) -> None:
        """Republishes of unchanged volumes."""
        self._stopped()
        republish(self.rig, self._rotating("2s"), self.figures, self.calls, self.effort)

    def rotation(self) -> None:
        """CPU of rotation while nothing changes."""
        self._stopped()
        interval = f"{2 * self.effort.quiet_seconds:.0f}s"
        rotate(self.rig, self._rotating(interval), self.figures, self.effort)

    def endpoints(self) -> None:
        """Probe and registrar."""
        registrar, probe = self.options.registrar, self.options.probe
        roles.measure(self.rig, self._running()[0], self.figures, self.effort, registrar, probe)

    def container_starts(self) -> None:
        """Start of whole containers."""
        self._stopped()
        container_measures.starts(self.rig, self.containers, self.figures, self.effort)

    def container(self) -> None:
        """Whole containers."""
        self._stopped()
        container_measures.measure(self.rig, self.containers, self.figures, self.effort)

    def limits(self) -> None:
        """Whole containers under the chart's limits."""
        self._stopped()
        container_measures.measure_limited(self.rig, self.containers, self.figures, self.effort)

    def soak(self) -> None:
        """Many calls to probe and registrar."""
        roles.soak(self.rig, self._running()[0], self.figures, self.effort)

    def outage(self) -> None:
        """An outage of the API server."""
        if self.effort.outage:
            outage.outage(self.rig, self._running(), self.figures, self.effort)

    def secretsyncs(self) -> None:
        """The controller of SecretSyncs."""
        self._stopped()
        secret_syncs.cold_start(self.rig, self.figures, self.calls, self.effort)

    def crowd(self) -> None:
        """Memory in a large cluster, compared with a small one."""
        self._stopped()
        memory.memory_with_one_class(self.drivers, self.figures, "driver_one")
        memory.fill_cluster(self.rig, self.effort.objects)
        memory.memory_with_one_class(self.drivers, self.figures, "driver_large")
        memory.growth(self.drivers, self.figures)
        self._stopped()
        container_measures.measure_in_large_cluster(self.rig, self.containers, self.figures)

    def _rotating(self, interval: str) -> list[Driver]:
        flags = ("--enable-secret-rotation", f"--rotation-poll-interval={interval}")
        return [
            Driver(f"{name}-rotating-{interval}", command, self.rig, flags) for name, command in self.commands.items()
        ]

    def _running(self) -> list[Driver]:
        for driver in self.drivers:
            if driver.child is None:
                driver.start()
                settle(2.0)
        return self.drivers

    def _stopped(self) -> list[Driver]:
        for driver in self.drivers:
            driver.stop()
        return self.drivers


# In the order in which they are taken: ``crowd`` leaves a large cluster behind, so it is the last.
MEASURES: dict[str, Callable[[Run], None]] = {
    "floor": Run.floor,
    "starts": Run.starts,
    "singles": Run.singles,
    "sequence": Run.sequence,
    "bursts": Run.bursts,
    "synced": Run.synced,
    "calls": Run.count_calls,
    "memory": Run.memory,
    "republish": Run.republish,
    "rotation": Run.rotation,
    "endpoints": Run.endpoints,
    "container_starts": Run.container_starts,
    "container": Run.container,
    "limits": Run.limits,
    "soak": Run.soak,
    "outage": Run.outage,
    "secretsyncs": Run.secretsyncs,
    "crowd": Run.crowd,
}
NEED_CLUSTER = frozenset({"synced", "calls", "republish", "outage", "secretsyncs", "crowd"})

"""One run: a new API server, nodes with one kind of driver, and everything that they do, one phase after another."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import cluster as bench_cluster
from bench.nodes import fleet, server_usage
from bench.nodes.audit_tail import created_events, opened_watches
from bench.nodes.crowd import Crowd, Done, crowd
from bench.nodes.result import OURS, TRIO, Phase, Result
from bench.nodes.rights import rules_of
from tests.cluster.rig import grant
from tests.cluster.servers import ControlPlane
from tests.support.waiting import wait_until

PAUSE, GAUGE_PAUSE = 0.2, 1.0
# The classes are watched by all; the trio also watches pods, pod statuses and Secrets once it has had a volume.
FIRST_WATCHES, WATCHES = 1, {OURS: 1, TRIO: 4}


@dataclass(frozen=True)
class Times:
    """How long the idle phase is, and how long any other and all together may be, in seconds."""

    idle: float = 20.0
    phase: float = 120.0
    run: float = float("inf")


class GivenUp(Exception):
    """Nodes have failed, or took too long."""


class Run:
    """A run that goes on."""

    def __init__(self, cluster: ControlPlane, nodes: Crowd, user: str, result: Result, times: Times) -> None:
        self._cluster, self._nodes, self._user = cluster, nodes, user
        self._audit_log = cluster.directory / "audit.log"
        self.result = result
        self._idle_seconds, self._longest_phase = times.idle, times.phase
        self._end = time.monotonic() + times.run
        # The API server has watches and connections of its own.
        self._own_watches = sum(server_usage.gauges(cluster).watches.values())
        self._own_sockets = server_usage.usage_of(cluster).sockets

    def all_phases(self) -> None:
        """In the order of the table. Raises GivenUp."""
        count, watches = self.result.nodes, WATCHES[self.result.kind] * self.result.nodes
        self._phase("all start", lambda: self._with_watches("start", FIRST_WATCHES * count))
        self._phase("publish", lambda: self._done("publish"))
        self._phase("idle", self._idle)
        self._phase("check of Secrets", lambda: self._done("check"))
        self._phase("new content", lambda: self._done("refresh", "v2"))
        self._phase("shared class changed", self._shared_class_changed)
        self._phase("all classes changed", lambda: self._all_classes_changed(count))
        self._phase("one event each", lambda: self._events(count))
        self._done("stop")
        self._phase("all restart", lambda: self._with_watches("start", watches))
        self._phase("API server killed", lambda: self._outage(watches))

    @property
    def _phase_seconds(self) -> float:
        """How long a phase that begins now may take."""
        return min(self._longest_phase, self._end - time.monotonic())

    def _phase(self, name: str, work: Callable[[], Done]) -> None:
        if self._phase_seconds <= 0:
            raise GivenUp(f"{name}: the time for the run was over")
        cluster = self._cluster
        mark, sent_before = cluster.audit.mark(), server_usage.gauges(cluster)
        server_usage.reset_peak(cluster)
        pid, before = cluster.api_server.pid, server_usage.usage_of(cluster)
        done = work()
        after, sent = server_usage.usage_of(cluster), server_usage.gauges(cluster)
        if restarted := cluster.api_server.pid != pid:  # it counts from its start
            sent_before = server_usage.Gauges({})
        calls = Counter((call.verb, call.resource, call.status) for call in cluster.audit.calls(mark, self._user))
        phase = Phase(
            name,
            done.seconds,
            after.api_cpu - (0.0 if restarted else before.api_cpu),
            after.etcd_cpu - before.etcd_cpu,
            after.memory,
            after.peak,
            after.sockets - self._own_sockets,
            round(sum(sent.watches.values()) - self._own_watches),
            _grown(sent_before.events, sent.events),
            _grown(sent_before.list_bytes, sent.list_bytes),
            calls,
            done.failures,
        )
        self.result.phases.append(phase)
        print(f"  {name}: {done.seconds:.1f} s, CPU {phase.api_cpu:.1f} + {phase.etcd_cpu:.1f} s", flush=True)
        if done.failures:
            raise GivenUp(f"{name}: {len(done.failures)} nodes failed, one with {done.failures[0]}")

    def _done(self, what: str, *arguments: str) -> Done:
        self._nodes.begin(what, self._phase_seconds, *arguments)
        return self._nodes.result()

    def _with_watches(self, what: str, watches: int) -> Done:
        """Until the nodes have done it, and the API server has as many watches of theirs."""
        started, opened = time.monotonic(), opened_watches(self._audit_log, self._user)
        done = self._done(what)
        self._until(lambda: opened.count() >= watches, f"{watches} watches to be opened")
        return Done(max(done.seconds, time.monotonic() - started), done.failures)

    def _idle(self) -> Done:
        """Some time for what the publishes have left to be done, and then a quiet time."""
        time.sleep(self._idle_seconds)
        return Done(self._idle_seconds, ())

    def _shared_class_changed(self) -> Done:
        mark = "changed"
        self._nodes.begin("classes_changed", self._phase_seconds, mark, fleet.SHARED, spread=False)
        self._cluster.api.apply(fleet.class_object(fleet.SHARED, mark))
        return self._nodes.result()

    def _all_classes_changed(self, count: int) -> Done:
        """As by a tool that sets a label on whatever it deploys."""
        mark = "all changed"
        self._nodes.begin("classes_changed", self._phase_seconds, mark, spread=False)
        fleet.change_classes(self._cluster, count, mark)
        return self._nodes.result()

    def _events(self, count: int) -> Done:
        started, created = time.monotonic(), created_events(self._audit_log, self._user)
        done = self._done("event")
        self._until(lambda: created.count() >= count, f"{count} events")
        return Done(time.monotonic() - started, done.failures)

    def _outage(self, watches: int) -> Done:
        """From the moment on at which the API server is ready again until all watches are open."""
        with self._cluster.outage():
            opened = opened_watches(self._audit_log, self._user)
        started = time.monotonic()
        self._until(lambda: opened.count() >= watches, f"{watches} watches to be opened again")
        self._until(lambda: self._open_watches() >= watches, f"{watches} watches to be open", GAUGE_PAUSE)
        return Done(time.monotonic() - started, ())

    def _open_watches(self) -> float:
        return sum(server_usage.gauges(self._cluster).watches.values()) - self._own_watches

    def _until(self, condition: Callable[[], bool], what: str, pause: float = PAUSE) -> None:
        try:
            wait_until(condition, what, self._phase_seconds, pause)
        except TimeoutError as error:
            raise GivenUp(str(error)) from None


def measure(kind: str, count: int, times: Times) -> Result:
    """A run with ``count`` nodes."""
    result = Result(kind, count)
    with tempfile.TemporaryDirectory(prefix="bench-nodes-") as name, bench_cluster.control_plane(Path(name)) as cluster:
        bench_cluster.prepare(cluster, fleet.NAMESPACE)
        user = grant(cluster, fleet.NAMESPACE, rules_of(kind), fleet.ACCOUNT)
        nodes = fleet.make(cluster, count, Path(name))
        with crowd(kind, nodes, Path(name)) as all_nodes:
            run = Run(cluster, all_nodes, user, result, times)
            try:
                run.all_phases()
            except GivenUp as reason:
                result.given_up = str(reason)
                print(f"  given up: {reason}", flush=True)
    return result


def _grown(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    return sum(after.values()) - sum(before.values())

"""What the servers have used, from /proc and from the API server's own metrics."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import usage
from tests.cluster.processes import Process
from tests.cluster.servers import ControlPlane

_KIB_PER_MIB = 1024.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
OURS = ("secretproviderclasses", "secretproviderclasspodstatuses", "secrets", "pods")


@dataclass(frozen=True)
class Gauges:
    """Of the API server: open watches, and since its start the events that it has sent on watches, and the bytes of its
    answers to lists; all by resource, of those that a driver may watch."""

    watches: Mapping[str, float]
    events: Mapping[str, float] = field(default_factory=dict)
    list_bytes: Mapping[str, float] = field(default_factory=dict)


def parse_metrics(text: str) -> Gauges:
    """The API server's /metrics, in the text format of Prometheus."""
    watches, events, list_bytes = (defaultdict[str, float](float) for _ in range(3))
    for name, labels, value in _SAMPLE.findall(text):
        known = dict(_LABEL.findall(labels))
        resource = known.get("resource", "")
        if resource not in OURS:
            continue
        if name == "apiserver_longrunning_requests" and known.get("verb") == "WATCH":
            watches[resource] += float(value)
        elif name == "apiserver_watch_events_total":
            events[resource] += float(value)
        elif name == "apiserver_response_sizes_sum" and known.get("verb") == "LIST":
            list_bytes[resource] += float(value)
    return Gauges(watches, events, list_bytes)


def gauges(cluster: ControlPlane) -> Gauges:
    """Ask the API server, which takes it some 50 ms of CPU."""
    return parse_metrics(str(cluster.api.request("GET", "/metrics", headers={"Accept": "text/plain"})["text"]))


@dataclass(frozen=True)
class Usage:
    """CPU time in seconds since the servers' starts; memory of the API server (RSS) in MiB, now and at its highest
    since ``reset_peak``; its open sockets, those to etcd included."""

    api_cpu: float
    etcd_cpu: float
    memory: float
    peak: float
    sockets: int


def usage_of(cluster: ControlPlane) -> Usage:
    """Now; costs the servers nothing."""
    api, etcd = cluster.api_server, cluster.etcd
    return Usage(usage.cpu_seconds(api.pid), usage.cpu_seconds(etcd.pid), usage.rss(api.pid), _peak(api), _sockets(api))


def reset_peak(cluster: ControlPlane) -> None:
    """Let the highest memory be that from now on (proc(5), clear_refs)."""
    Path(f"/proc/{cluster.api_server.pid}/clear_refs").write_text("5")


def _peak(process: Process) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / _KIB_PER_MIB
    return 0.0


def _sockets(process: Process) -> int:
    count = 0
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            count += path.readlink().name.startswith("socket:")
        except FileNotFoundError:  # closed meanwhile
            continue
    return count

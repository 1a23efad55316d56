"""What a run found, phase by phase."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

OURS, TRIO = "ours", "trio"
KINDS = (OURS, TRIO)
Calls = Counter[tuple[str, str, int]]
"""By verb, resource and HTTP status."""


@dataclass(frozen=True)
class Phase:
    """``seconds`` lasted until all nodes had converged. CPU in seconds, memory of the API server in MiB, at the end and
    at its highest; ``connections`` and ``watches`` of the drivers at the end; the events that were sent on watches, and
    the bytes of lists."""

    name: str
    seconds: float
    api_cpu: float
    etcd_cpu: float
    memory: float
    peak: float
    connections: int
    watches: int
    watch_events: float
    list_bytes: float
    calls: Calls
    failures: Sequence[str] = ()

    @property
    def cpu(self) -> float:
        """Of API server and etcd together."""
        return self.api_cpu + self.etcd_cpu


@dataclass
class Result:
    """The phases of one run; ``given_up`` says why not all of them are there."""

    kind: str
    nodes: int
    phases: list[Phase] = field(default_factory=list)
    given_up: str = ""

    def phase(self, name: str) -> Phase | None:
        """The phase of this name, if the run came to it."""
        return next((phase for phase in self.phases if phase.name == name), None)

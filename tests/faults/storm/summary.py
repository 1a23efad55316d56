"""What a run has done and found, for people and for the test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.storm.invariants import Invariants
from tests.faults.storm.kinds import KINDS
from tests.faults.storm.pods import Pods
from tests.faults.storm.schedule import Step
from tests.faults.storm.settling import Settling
from tests.faults.storm.world import World

JOURNAL_SHOWN, LINES_SHOWN = 40, 15


@dataclass(frozen=True)
class Summary:
    """``struck`` is how often each kind of fault was felt, ``violations`` which invariants did not hold."""

    seed: int
    steps: Sequence[Step]
    struck: Mapping[str, int]
    checks: Mapping[str, int]
    took: Mapping[str, float]
    numbers: Mapping[str, object]
    violations: Sequence[str]
    journal: Sequence[str]
    lines: Sequence[str]

    @staticmethod
    def of(
        world: World,
        pods: Pods,
        invariants: Invariants,
        settling: Settling,
        steps: Sequence[Step],
        measured: Mapping[str, str],
    ) -> "Summary":
        """The summary of a run that is over."""
        return Summary(
            world.seed,
            steps,
            {name: int(world.counts[name]) for name in KINDS},
            dict(invariants.checks),
            settling.took,
            {
                "pods started": pods.started,
                "pods that got their volumes": pods.mounted,
                "pods ended": pods.ended,
                "volumes that kubelet itself leaked": pods.leaked_by_kubelet,
                "generations": world.generation,
                "starts of the container": world.container.starts,
                "failed liveness probes": world.container.liveness_kills,
                "starts of the provider": world.provider.starts,
                "starts of the API server": world.api.starts,
                "bytes of log read": world.container.output.bytes_read,
                **measured,
            },
            list(world.violations),
            list(world.journal),
            list(world.container.output.lines),
        )

    @property
    def faults(self) -> int:
        """How many faults were caused."""
        return len(self.steps)

    def text(self) -> str:
        """The summary as lines."""
        caused = {name: sum(step.kind == name for step in self.steps) for name in self.struck}
        lines = [f"seed {self.seed}: {self.faults} faults, {sum(self.checks.values())} checks"]
        lines += [
            f"  {name:30} {caused[name]:5} times, felt {self.struck[name]:6} times"
            for name in self.struck
            if caused[name]
        ]
        lines += [f"  {name:50} {number}" for name, number in self.numbers.items()]
        lines += [f"  checked: {name:41} {number}" for name, number in sorted(self.checks.items())]
        lines += [f"  after the last fault: {name:28} {seconds:.1f} s" for name, seconds in self.took.items()]
        if self.violations:
            lines += ["", f"The last that happened (repeat it with SEED={self.seed}):"]
            lines += self.journal[-JOURNAL_SHOWN:]
            lines += ["The container's last lines:", *(f"  {line}" for line in self.lines[-LINES_SHOWN:])]
            lines += [f"{len(self.violations)} VIOLATIONS:", *(f"  {item}" for item in self.violations)]
        return "\n".join(lines)

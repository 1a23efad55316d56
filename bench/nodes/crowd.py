"""The processes with the nodes of one run; each job is given to all of them at once."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.nodes import fleet
from bench.processes import Generator

WORKERS, NODES_OF_A_WORKER = 2, 50
STOP_SECONDS = 90.0


@dataclass(frozen=True)
class Done:
    """A job that all nodes have done, or failed to do: how many seconds the last one took, and the failures."""

    seconds: float
    failures: Sequence[str]


class Crowd:
    """All nodes of a run."""

    def __init__(self, workers: Sequence[Generator]) -> None:
        self._workers = workers

    def begin(self, what: str, seconds: float, *arguments: str, spread: bool = True) -> None:
        """Start a job, the name of a method of ``Node``, which a node may take so many seconds for. ``spread``: not on
        all nodes at once, but on ten a second of each process."""
        for worker in self._workers:
            worker.begin(what, seconds=seconds, arguments=arguments, spread=spread)

    def result(self) -> Done:
        """Wait for the job started last."""
        results = [worker.result() for worker in self._workers]
        failures = [failure for result in results for failure in result["failures"]]
        return Done(max(result["seconds"] for result in results), failures)


@contextlib.contextmanager
def crowd(kind: str, nodes: Sequence[fleet.NodeSpec], directory: Path) -> Iterator[Crowd]:
    """Start the processes; on leaving, their input is closed, at which they exit."""
    count = min(WORKERS, -(-len(nodes) // NODES_OF_A_WORKER))
    with contextlib.ExitStack() as stack:
        workers = []
        for number in range(count):
            path = directory / f"{kind}-{number}.json"
            fleet.write(path, list(nodes[number::count]))
            workers.append(Generator("bench.nodes.worker", kind, str(path), str(directory / kind)))
            stack.callback(workers[-1].stop, STOP_SECONDS)
        yield Crowd(workers)

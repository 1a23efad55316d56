"""One run: the schedule, the pods and the checks, the calm after the storm, and the summary."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from kubelet_stub import publishing
from runtime import rpc
from runtime.errors import Failure
from tests.faults.storm import leaks, schedule
from tests.faults.storm.api_server import ApiServer
from tests.faults.storm.faults import strike
from tests.faults.storm.invariants import Invariants
from tests.faults.storm.pods import Pods
from tests.faults.storm.schedule import Step
from tests.faults.storm.settling import Settling
from tests.faults.storm.summary import Summary
from tests.faults.storm.world import PUBLISH_SECONDS, World, world

WORKERS = 6
LASTING_PODS = (("plain", "synced"), ("many",), ("large",))
DISK_EVERY = 15
LATE_SECONDS = 1.0
MAX_VIOLATIONS = 10


@dataclass(frozen=True)
class Options:
    """``seconds`` is how long faults strike, ``per_second`` how many do, ``without`` are kinds to leave out.

    ``churned`` is how many volumes come and go afterwards. ``patient`` waits for the back-off after failed refreshes to
    end, which takes up to a minute; otherwise a change of the classes ends it. ``server`` makes the API server, by
    default a fake one.
    """

    seed: int
    seconds: float
    per_second: float = 2.5
    without: Sequence[str] = ()
    churned: int = 200
    patient: bool = True
    server: Callable[[World], ApiServer] | None = None


async def run(directory: Path, options: Options) -> Summary:
    """The whole run. What did not hold is in ``Summary.violations``."""
    steps = schedule.make(options.seed, options.seconds, options.per_second, options.without)
    async with world(directory, options.seed, options.server) as made:
        pods = Pods(made)
        invariants, settling = Invariants(made, pods), Settling(made, pods)
        done: list[Step] = []
        measured: dict[str, str] = {}
        with _timed_calls(made, invariants):
            end = asyncio.Event()
            lasting = [
                asyncio.create_task(_lasting(pods, f"lasting-{number}", classes, end))
                for number, classes in enumerate(LASTING_PODS)
            ]
            reader = asyncio.create_task(invariants.read_on())
            workers = [asyncio.create_task(pods.run(number, end)) for number in range(WORKERS)]
            try:
                await _storm(made, steps, invariants, done)
                await settling.converge(options.patient)
                reader.cancel()
                end.set()
                async with asyncio.timeout(60):
                    await asyncio.gather(*workers, *lasting)
                await settling.all_gone()
                measured = await leaks.churn(made, pods, options.churned)
                await settling.all_gone()
                await asyncio.to_thread(invariants.disk)
            except TimeoutError:
                made.complain("pods were not deleted within 60 s")
            finally:
                for task in (*workers, *lasting, reader):
                    task.cancel()
                for ended in await asyncio.gather(*workers, *lasting, reader, return_exceptions=True):
                    if isinstance(ended, Exception):
                        made.complain(f"the storm itself failed: {ended!r}")
        return Summary.of(made, pods, invariants, settling, done, measured)


async def _lasting(pods: Pods, name: str, classes: Sequence[str], end: asyncio.Event) -> None:
    """A pod that lives through all of the storm."""
    async with pods.pod(name, classes):
        await end.wait()


async def _storm(made: World, steps: Sequence[Step], invariants: Invariants, done: list[Step]) -> None:
    started = time.monotonic()
    running: set[asyncio.Task[None]] = set()
    for step in steps:
        await asyncio.sleep(max(0.0, started + step.at - time.monotonic()))
        done.append(step)
        made.note(f"step {step}")
        task = asyncio.create_task(strike(made, step))
        running.add(task)
        task.add_done_callback(running.discard)
        if step.number % 3 == 0:
            made.next_generation()
        await invariants.after_step()
        if step.number % DISK_EVERY == 0:
            await asyncio.to_thread(invariants.disk)
        if len(made.violations) >= MAX_VIOLATIONS:
            break
    await asyncio.gather(*running)


@contextmanager
def _timed_calls(made: World, invariants: Invariants) -> Iterator[None]:
    """Measure kubelet's calls: none may outlive its deadline."""

    def timed(call: Any, name: str) -> Any:
        async def measured(*args: Any) -> None:
            started = time.monotonic()
            try:
                await call(*args)
                invariants.checks[f"{name}: OK"] += 1
            except Failure as failure:
                # gRPC's own text: the driver was stopped meanwhile, or the machine was too busy for its answer.
                own = str(failure) != rpc.DEADLINE_DETAILS
                invariants.checks[f"{name}: {'failed' if own else 'not answered in time'}"] += 1
                raise
            finally:
                took = time.monotonic() - started
                if took > PUBLISH_SECONDS + LATE_SECONDS:
                    made.complain(f"{name} took {took:.1f} s, its deadline is {PUBLISH_SECONDS:g} s")

        return measured

    with (
        mock.patch("kubelet_stub.volume.publish", timed(publishing.publish, "publish")),
        mock.patch("kubelet_stub.volume.unpublish", timed(publishing.unpublish, "unpublish")),
    ):
        yield

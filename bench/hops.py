"""How often a publish moves from one module of the driver to another.

    python -m bench.hops [--trace]

Publishes a volume whose class asks for a Secret, for the first time, with a driver in this process, a provider and
a fake API server. Counted are the calls of functions in ``driver.*`` on the thread of the event loop, from the CSI
request to its answer. A change of module is a call into another module than the one before, or the return to a
coroutine of another module after an await. So the figure says how much the reader who follows a publish through the
code has to jump. What has no name in the source (comprehensions, lambdas, a dataclass's methods) is not counted.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType

from driver.cluster.network import CONNECTIONS
from protos import csi_pb2
from tests.support import namespaces
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.waiting import until

ENTRY = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "password"}]}


@dataclass(frozen=True)
class Step:
    """A function of the driver is called or, if ``resumed``, goes on after an await."""

    module: str
    function: str
    resumed: bool


class Recorder:
    """The steps of the thread that calls ``recording``."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the steps of the block."""
        sys.setprofile(self._record)
        try:
            yield
        finally:
            sys.setprofile(None)

    @property
    def calls(self) -> int:
        """The number of calls."""
        return sum(not step.resumed for step in self.steps)

    @property
    def changes(self) -> int:
        """The number of changes of module."""
        return sum(before.module != after.module for before, after in pairwise(self.steps))

    def trace(self) -> str:
        """One line per stay in a module; ``~`` marks a function that goes on."""
        stays = groupby(self.steps, key=lambda step: step.module)
        return "\n".join(
            f"{module}: {' '.join('~' * step.resumed + step.function for step in stay)}" for module, stay in stays
        )

    def _record(self, frame: FrameType, event: str, _: object) -> None:
        module, code = frame.f_globals.get("__name__", ""), frame.f_code
        if (
            event == "call"
            and module.startswith("driver.")
            and code.co_filename.endswith(".py")
            and "<" not in code.co_name
        ):
            # The argument of the RESUME instruction is 0 at the start of a function.
            resumed = code.co_code[frame.f_lasti + 1] & 3 != 0
            self.steps.append(Step(module.removeprefix("driver."), code.co_name, resumed))


async def record_publish(here: FakeApiRig) -> Recorder:
    """Publish one volume."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod(owners=[here.make_owner()])
    recorder = Recorder()
    async with here.driver() as rig:
        await here.watch_open()
        await until(
            lambda: (
                sum(call.path == "/version" and call.status == 200 for call in here.server.calls.calls()) == CONNECTIONS
            ),
            "the driver's connections to be open",
        )
        await rig.identity.Probe(csi_pb2.ProbeRequest())  # by then the last of these answers has arrived
        with recorder.recording():
            await here.volume(rig, pod).publish()
    assert here.secret("synced") is not None, "the publish wrote no Secret"
    return recorder


def main() -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.hops", description=__doc__.partition("\n")[0])
    parser.add_argument("--trace", action="store_true", help="also print the modules and functions in their order")
    arguments = parser.parse_args()
    namespaces.enter_private()
    with tempfile.TemporaryDirectory() as directory, fake_api_rig(Path(directory)) as here:
        recorder = asyncio.run(record_publish(here))
    if arguments.trace:
        print(recorder.trace())
    print(f"{recorder.calls} calls, {recorder.changes} changes of module")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

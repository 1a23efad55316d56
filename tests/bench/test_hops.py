"""The count of module changes: what it counts, and that it finds the whole way of a publish."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.hops import Recorder, record_publish
from tests.support.fake_api_rig import fake_api_rig

SOURCE = """
import asyncio

def call(other=None):
    [item for item in range(3)]
    return (lambda: other and other())()

async def wait(other=None):
    await asyncio.sleep(0)
    if other:
        await other()
        await asyncio.sleep(0)
"""


def module(name: str) -> dict[str, Any]:
    """A module of the driver with the two functions."""
    namespace: dict[str, Any] = {"__name__": f"driver.{name}"}
    # Coverage does not look for the source of a file name that starts like this.
    exec(compile(SOURCE, f"<{name}>.py", "exec"), namespace)
    return namespace


def recorded(run: Callable[[], object]) -> Recorder:
    """What is recorded of it."""
    recorder = Recorder()
    with recorder.recording():
        run()
    return recorder


def test_calls_of_functions() -> None:
    """A call into another module is a change; comprehensions, lambdas and modules that are not the driver's are
    not counted."""
    one, two, foreign = module("one"), module("two"), module("two")
    foreign["__name__"] = "runtime.two"
    same = recorded(lambda: one["call"](one["call"]))
    assert (same.calls, same.changes) == (2, 0)
    other = recorded(lambda: one["call"](two["call"]))
    assert (other.calls, other.changes) == (2, 1)
    assert other.trace() == "one: call\ntwo: call"
    assert recorded(lambda: one["call"](foreign["call"])).calls == 1


def test_returns_to_coroutines() -> None:
    """A coroutine that goes on after an await is no call, but may be a change of module."""
    one, two = module("one"), module("two")
    recorder = recorded(lambda: asyncio.run(one["wait"](two["wait"])))
    assert recorder.trace() == "one: wait ~wait\ntwo: wait\none: ~wait\ntwo: ~wait\none: ~wait"
    assert (recorder.calls, recorder.changes) == (2, 4)


def test_a_publish(tmp_path: Path) -> None:
    """The way of a publish leads through all that takes part in it."""
    with fake_api_rig(tmp_path) as here:
        recorder = asyncio.run(record_publish(here))
    modules = {step.module for step in recorder.steps}
    assert {"csi.node", "publish.publisher", "providers.pool", "cluster.api", "sync.engine"} <= modules
    assert len(modules) < recorder.changes < recorder.calls

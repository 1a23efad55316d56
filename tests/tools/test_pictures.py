"""The node in the pictures of the status page is one that can be."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe.processes import Processes
from registrar.state import Registration
from tests.driver.publish.support import FAILING, make_due
from tests.support.fake_api_rig import fake_api_rig
from tests.support.syncing import ENTRY
from tests.support.waiting import until
from tools.pictures import sample


def kinds(value: Any) -> Any:
    """The names of fields, at every depth; of a list those of its first item."""
    if isinstance(value, Mapping):
        return {key: kinds(item) for key, item in value.items() if key != "objects"}
    return [kinds(value[0])] if isinstance(value, list) and value else None


def test_the_fields_are_those_of_the_roles(tmp_path: Path) -> None:
    """A driver has a volume whose refresh fails, one that waits, a Secret and a provider → its status has the fields of
    the sample, and so have the registrar's and the processes."""
    found: dict[str, Any] = {}

    async def run() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class(secretObjects=[ENTRY])
            here.make_class("slow", parameters={"objects": "- objectName: password", "stubDelay": "1s"})
            pods = [here.make_pod(name) for name in ("pod-1", "pod-2")]
            async with here.driver(enable_secret_rotation=True) as it:
                await here.watch_open()
                volume = here.volume(it, pods[0])
                await volume.publish()
                here.make_class(secretObjects=[ENTRY], parameters=FAILING)
                make_due(it, volume)
                await until(lambda: len(it.driver.snapshot()["secrets"]), "the Secret")
                waiting = asyncio.create_task(here.volume(it, pods[1], class_name="slow").publish())
                await until(lambda: it.driver.snapshot()["pending"], "the volume that waits")
                found.update(it.driver.snapshot())
                await waiting

    asyncio.run(run())
    state = sample.state()
    assert kinds(found) == kinds(state["driver"])
    assert Registration().snapshot().keys() == state["registrar"].keys()
    assert [usage._asdict().keys() for usage in Processes(None).usages()] == [state["processes"][0].keys()]

"""What is refused before anything is sent."""

import asyncio

import pytest

from driver.cluster.api import Api
from driver.cluster.class_store import ClassStore
from driver.ports import ClassRef
from runtime.errors import InvalidRequest


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "",
        "../../other/secretproviderclasses/x",
        "a/b/",
        "a?b",
        "a%2fb",
        "a#b",
        "a\n",
    ],
)
def test_a_name_cannot_lead_elsewhere(name: str) -> None:
    """A class name as a stored pod status may have it: no path but the one that is meant is ever asked for."""

    async def run() -> None:
        with pytest.raises(InvalidRequest, match="invalid API path"):
            await ClassStore(Api("/nowhere"), 1.0).get(ClassRef("default", name))

    asyncio.run(run())

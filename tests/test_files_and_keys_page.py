"""The examples of docs/files-and-keys.md do what the page says."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.rig import rig
from tests.support.syncing import values

PAGE = (Path(__file__).parent.parent / "docs" / "files-and-keys.md").read_text()
CLASSES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
TEXTS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def example(name: str) -> dict[str, Any]:
    """The specification of a class on the page."""
    return next(dict(item["spec"]) for item in CLASSES if item["metadata"]["name"] == name)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApiRig]:
    """A fake API server."""
    with fake_api_rig(tmp_path) as running:
        yield running


def test_files(tmp_path: Path) -> None:
    """The first class, with the user and password of the text → the two files as the page shows them."""

    async def test() -> None:
        async with rig(tmp_path) as running:
            running.provider.put("user", "app")
            running.provider.put("password", "it's 100%")
            running.write_class("composed", **example("composed"))
            volume = running.volume(class_name="composed")
            await volume.publish()
            assert volume.read("app.env").decode() == TEXTS[0]
            assert volume.read("url").decode() == TEXTS[1].rstrip("\n")

    asyncio.run(test())


def test_keys(api: FakeApiRig) -> None:
    """The second class, with the JSON of the text → a Secret with the keys that the page names."""
    (content,) = re.findall(r"With `(\{.*?\})` in `app.json`", PAGE)
    api.make_class("whole", **example("whole"))
    pod = api.make_pod(volumes={"secrets": "whole"})

    async def test() -> None:
        async with api.driver() as running:
            running.provider.put("app.json", content)
            await api.volume(running, pod, class_name="whole").publish()
            secret = api.secret("app")
            assert secret is not None, api.events()
            assert values(secret) == {
                "DB_user": b"app",
                "DB_port": b"5432",
                "DB_db_options": b'{"ssl":true}',
                "PASSWORD": b"s3cret",
            }

    asyncio.run(test())

"""The example of docs/secrets-without-a-pod.md does what the page says."""

import re
from pathlib import Path

import yaml

from tests.support.fake_api import FakeApi
from tests.support.secret_sync_rig import FakeSecretSyncRig
from tests.support.waiting import run_async, until_blocking

PAGE = (Path(__file__).parent.parent / "docs" / "secrets-without-a-pod.md").read_text()


def test_the_example(tmp_path: Path) -> None:
    """The class and the SecretSync of the page are applied → the Secret has the key and the label, and is deleted with
    the SecretSync."""
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    with FakeApi() as server:
        rig = FakeSecretSyncRig(server, tmp_path)
        rig.prepare()
        for item in yaml.safe_load_all(example):
            server.apply(item)

        async def test() -> None:
            async with rig.provider(), rig.controller(controller_name=""):
                secret = await rig.until_secret({"pw": b"s3cret"})
                assert secret["metadata"]["labels"]["team"] == "a"
                server.delete(rig.sync_path())
                await until_blocking(lambda: rig.secret("app") is None, "the Secret to be collected")

        run_async(test)

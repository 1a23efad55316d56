"""The provider that docs/providers.md shows, as it stands there."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import grpc

from tests.support.provider_calls import ROOT, files, mount, refused, started, versions

GUIDE = (ROOT / "docs/providers.md").read_text()


def test_the_documented_provider(tmp_path: Path) -> None:
    """The code block of the guide, as it stands there, serves over a real socket; it has about 30 lines."""
    block = re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert block is not None and len(block.group(1).splitlines()) < 40
    script = tmp_path / "documented.py"
    script.write_text(block.group(1))
    socket = tmp_path / "environment.sock"

    async def scenario() -> None:
        environment = {"SECRET_USER": "alice", "SECRET_PASSWORD": "hunter2", "PYTHONPATH": str(ROOT)}
        async with started([sys.executable, str(script)], socket, environment) as process:
            reply = await mount(socket, names="user, password")
            assert files(reply) == {"user": b"alice", "password": b"hunter2"}
            assert set(versions(reply)) == {"user", "password"}
            assert "'nobody'" in await refused(socket, grpc.StatusCode.NOT_FOUND, names="nobody")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0 and not socket.exists()

    asyncio.run(scenario())

"""The socket: its name, and what is already at its path."""

import asyncio
from pathlib import Path

import pytest

from provider_kit import ConfigurationError, ServeConfig
from provider_kit.testing import running
from tests.provider_kit.lab import LabProvider


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://:1",
        "unix:///tmp/a",
        "unix:///tmp/a b.sock",
        f"unix:///tmp/{'n' * 31}.sock",
    ],
)
def test_endpoints(endpoint: str) -> None:
    """A socket that the driver would never find is refused at start."""
    with pytest.raises(ConfigurationError):
        ServeConfig(endpoint=endpoint)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """What stands at the socket's path and is no socket stays, and the start is refused."""
    (tmp_path / "lab.sock").write_text("precious")

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock"):
            pass

    with pytest.raises(ConfigurationError):
        asyncio.run(scenario())
    assert (tmp_path / "lab.sock").read_text() == "precious"

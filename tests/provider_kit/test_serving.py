"""The socket: its name, what is already at its path, and its end."""

import asyncio
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from provider_kit import ConfigurationError, ServeConfig
from provider_kit.service import Observer
from provider_kit.serving import serve
from provider_kit.testing import running
from tests.provider_kit.lab import LabProvider
from tests.support.emptied import empty_after_bind
from tests.support.provider_calls import mount
from tests.support.waiting import until, wait_until


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


class Held(Observer):
    """Holds up the thread of a call, as a machine with much to do may, before the provider is called."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        self.codes: list[str] = []

    def started(self) -> None:
        """Wait until the test goes on."""
        self.begun.set()
        self.release.wait(20)

    def ended(self, code: str, seconds: float) -> None:
        """Remember the code."""
        self.codes.append(code)


def test_the_end_waits_for_threads(tmp_path: Path) -> None:
    """The server ends while the thread of a call has not come to call the provider → the end waits until the thread has
    found out that the call is over."""
    held = Held()

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(serve(LabProvider(), f"unix://{tmp_path}/lab.sock", held))
            call = asyncio.create_task(mount(tmp_path / "lab.sock", what="hang"))
            await until(held.begun.is_set, "the call")
            server.crash()
            await asyncio.wait([call])
            assert call.exception() is not None
            end = asyncio.create_task(stack.aclose())
            await asyncio.wait([end], timeout=0.1)
            assert not end.done() and held.codes == []
            held.release.set()
            await end
            assert held.codes == ["CANCELLED"]

    asyncio.run(scenario())


@pytest.mark.parametrize("remove", [False, True], ids=["emptied", "removed"])
def test_a_directory_that_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: bool) -> None:
    """Somebody empties or removes the directory while the socket is made → an error that says so, and no server."""
    directory = tmp_path / "providers"
    directory.mkdir()
    threads = threading.active_count()
    empty_after_bind(monkeypatch, directory, remove=remove)

    async def scenario() -> None:
        async with running(LabProvider(), directory / "lab.sock"):
            pass

    with pytest.raises(
        ConfigurationError, match=r"cannot listen on .*lab.sock: No such file or directory; is something"
    ):
        asyncio.run(scenario())
    wait_until(lambda: threading.active_count() <= threads, "the end of the server's threads")

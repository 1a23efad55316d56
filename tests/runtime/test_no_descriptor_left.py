"""Sockets when the process has run out of descriptors: an answer that says so, not an exception of the system call."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driver.providers.sockets import ProviderSockets
from protos import csi_pb2
from runtime import rpc, sockets
from tests.support.descriptors import no_descriptor_left

PROBE = "/csi.v1.Identity/Probe"
NONE_LEFT = "Too many open files"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """The path of a socket on which this process listens."""
    path = tmp_path / "stub.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield path


QUESTIONS: dict[str, tuple[Callable[[Path], object], object]] = {
    "why it is not served": (
        lambda path: sockets.why_not_served(path),
        "{path} cannot be connected to: " + NONE_LEFT,
    ),
    "whether a provider is served": (lambda path: ProviderSockets([str(path.parent)]).is_served("stub"), False),
    "why a provider is away": (
        lambda path: ProviderSockets([str(path.parent)]).why_away("stub"),
        "{path} cannot be connected to: " + NONE_LEFT,
    ),
    "which of two sockets of a provider": (
        lambda path: ProviderSockets([str(path.parent), str(path.parent / "other")]).find("stub"),
        "{path}",
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions(served: Path, question: str) -> None:
    """A question that takes a connection → answered as for a socket that cannot be connected to."""
    ask, answer = QUESTIONS[question]
    with no_descriptor_left():
        found = ask(served)
    assert found == (answer.format(path=served) if isinstance(answer, str) else answer)
    assert not sockets.why_not_served(served)


def test_a_replaced_file(tmp_path: Path) -> None:
    """Whether a socket that somebody has touched is still ours cannot be asked → it is not."""
    hidden, path = tmp_path / ".hidden", tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(hidden))
        listening.listen()
        bound = sockets.move_into_place(hidden, path)
        path.touch()
        with no_descriptor_left():
            assert not bound.is_ours()
        assert bound.is_ours()


def test_calls(served: Path) -> None:
    """A call over a connection of its own, and a channel → UNAVAILABLE with the reason; not ready."""

    async def run() -> None:
        channel = rpc.SocketChannel(str(served))
        with no_descriptor_left():
            with pytest.raises(rpc.CallFailed, match=NONE_LEFT) as caught:
                await rpc.call_once(str(served), PROBE, csi_pb2.ProbeRequest(), csi_pb2.ProbeResponse, 5)
            assert caught.value.code is rpc.StatusCode.UNAVAILABLE
            assert not await channel.wait_ready(0.1)
        channel.close()

    asyncio.run(run())

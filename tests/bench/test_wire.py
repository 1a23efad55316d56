"""The load generator's client: what it says of a call that fails, and that one failed call is counted, not the end."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import load, wire
from bench.failed_calls import FailedCalls
from protos import pluginregistration_pb2, pluginregistration_pb2_grpc
from runtime import rpc
from runtime.endpoints import UnixEndpoint
from runtime.errors import PreconditionFailed

hpack = pytest.importorskip("hpack", reason="an environment from before it was needed: make venv")

_HEADERS, _RST_STREAM, _GOAWAY, _CONTINUATION = 1, 3, 7, 9
_END_STREAM, _END_HEADERS, _PADDED = 0x1, 0x4, 0x8
SENTENCE = "mount of /x failed: no space – 100 % used"


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    """One frame of HTTP/2."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def trailers(encoder: Any = None) -> bytes:
    """The header block of a failed call, with Huffman coding."""
    fields = [(":status", "200"), ("grpc-status", "13"), ("grpc-message", "mount failed: caf%C3%A9")]
    block: bytes = (encoder or hpack.Encoder()).encode(fields, huffman=True)
    assert b"mount" not in block
    return block


def split(block: bytes) -> bytes:
    """The block in a padded HEADERS frame and two CONTINUATION frames."""
    first = bytes([3]) + block[:5] + bytes(3)
    return (
        frame(_HEADERS, _END_STREAM | _PADDED, first)
        + frame(_CONTINUATION, 0, block[5:9])
        + frame(_CONTINUATION, _END_HEADERS, block[9:])
    )


def referring() -> bytes:
    """Headers, and trailers that refer to them: their fields are only in the table by then."""
    encoder = hpack.Encoder()
    headers = frame(_HEADERS, _END_HEADERS, trailers(encoder))
    block = encoder.encode([("grpc-status", "13"), ("grpc-message", "mount failed: caf%C3%A9")])
    assert len(block) == 2
    return headers + frame(_HEADERS, _END_HEADERS | _END_STREAM, block)


@pytest.mark.parametrize(
    "reply, text",
    [
        (lambda: frame(_HEADERS, _END_STREAM | _END_HEADERS, trailers()), "INTERNAL: mount failed: café"),
        (lambda: split(trailers()), "INTERNAL: mount failed: café"),
        (referring, "INTERNAL: mount failed: café"),
        (lambda: frame(_RST_STREAM, 0, (8).to_bytes(4)), "RST_STREAM with code 8"),
        (lambda: frame(_GOAWAY, 0, bytes(4) + (11).to_bytes(4) + b"too_many_pings", 0), "code 11: too_many_pings"),
        (lambda: frame(_HEADERS, _END_STREAM | _END_HEADERS, b"\xff\xff\xff\xff\xff"), "cannot be decoded"),
        (lambda: b"", "closed the connection after: nothing"),
    ],
)
def test_what_is_said_of_a_failed_call(tmp_path: Path, reply: Callable[[], bytes], text: str) -> None:
    """A server whose reply is no message, in every form that the protocol allows → CallFailed with status and sentence,
    as words."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)  # what is not read would end the connection with a reset
        writer.write(reply())
        writer.close()

    async def run() -> None:
        socket = str(tmp_path / "socket")
        async with await asyncio.start_unix_server(answer, socket):
            with pytest.raises(wire.CallFailed) as failed:
                await wire.call(socket, wire.request(wire.Method("/a.B/C"), b""))
        assert text in str(failed.value)

    asyncio.run(run())


class _SecondFails(pluginregistration_pb2_grpc.RegistrationServicer):
    """A registrar whose every second GetInfo fails, as gRPC itself encodes it."""

    def __init__(self) -> None:
        self._calls = 0

    async def GetInfo(self, request: Any, context: Any) -> Any:
        """A reply, or an error."""
        self._calls += 1
        if self._calls % 2 == 0:
            raise PreconditionFailed(SENTENCE)
        return pluginregistration_pb2.PluginInfo(name="a")


def test_failed_calls_are_counted(tmp_path: Path) -> None:
    """Every second call of a real gRPC server fails → the others are measured, and the report has number and sentence;
    all calls fail → RuntimeError."""

    async def run() -> load.Job:
        endpoint = UnixEndpoint(str(tmp_path / "socket"))
        servicer = _SecondFails()
        async with rpc.serve(
            endpoint, lambda server: pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(servicer, server)
        ):
            return await load.getinfo({"socket": endpoint.path, "count": 6})

    result = asyncio.run(run())
    assert len(result["seconds"]) == len(result["failures"]) == 3
    failed = FailedCalls()
    assert failed.lines() == []
    assert failed.check("ours", "GetInfo", result) is result
    assert f"| ours | GetInfo | 3 | CallFailed: FAILED_PRECONDITION: {SENTENCE} |" in failed.lines()
    with pytest.raises(RuntimeError, match="all 3 calls failed"):
        failed.check("ours", "GetInfo", {**result, "seconds": []})

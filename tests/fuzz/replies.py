"""Generates replies of a provider: mostly almost valid ones, since what is wrong in every respect tests one check."""

import random
from collections.abc import Callable, Sequence

from google.protobuf.message import DecodeError

from protos import provider_pb2

# Parts of paths, names and versions: ordinary ones, and those that somebody would try.
NAMES = (
    *("a", "b", "c", "password", "tls.crt", "ca.crt", "d", "e"),
    *("", ".", "..", "...", "..data", "..x", "..data_tmp", "..record", "x..", " ", "-", "~", "\\", "\0", "\n", "a\0b"),
    *("é", "e\u0301", "\u202e", "\ufeff", "\U0001f600", "%2e%2e", "..\\", "․․", "／", "con", "C:"),
    *("n" * 255, "n" * 256, "é" * 127, "é" * 128, "\U0001f600" * 64),
)
ORDINARY = 8
MODES = (0o644, 0o600, 0o400, 0o777, 0, 0o4755, 0o1777, 0o100644, 2**31 - 1, -1, -(2**31), 420)
CODES = ("", "NotFound", "x" * 64, "x" * 65, "a b", "\0", "é", "ProviderError", "a\nb", "../..", "token=hunter2hunter2")


def reply(source: random.Random) -> bytes:
    """One reply on the wire. Some are damaged there; some of those are still messages."""
    message = provider_pb2.MountResponse()
    odd = source.random() < 0.5
    for _ in range(_few(source)):
        message.object_version.add(id=_text(source, odd), version=_text(source, odd))
    if source.random() < 0.05:
        message.error.code = source.choice(CODES)
    for _ in range(_few(source)):
        message.files.add(path=_path(source, odd), mode=source.choice(MODES), contents=_contents(source))
    if source.random() < 0.001:
        _make_large(source, message)
    wire = message.SerializeToString()
    return mutated(source, wire) if source.random() < 0.3 else wire


def read(wire: bytes) -> provider_pb2.MountResponse | None:
    """The message; None if it is none."""
    try:
        return provider_pb2.MountResponse.FromString(wire)
    except DecodeError:
        return None


def mutated(source: random.Random, wire: bytes) -> bytes:
    """A few bytes changed, added, removed, repeated or moved."""
    data = bytearray(wire)
    for _ in range(source.randrange(1, 4)):
        at = source.randrange(len(data) + 1)
        source.choice(_MUTATIONS)(source, data, at)
    return bytes(data)


def _flip(source: random.Random, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] ^= 1 << source.randrange(8)


def _set(source: random.Random, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] = source.choice((0, 0x0A, 0x12, 0x1A, 0x2F, 0x2E, 0x7F, 0x80, 0xFF))


def _insert(source: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = source.randbytes(source.randrange(1, 12))


def _remove(source: random.Random, data: bytearray, at: int) -> None:
    del data[at : at + source.randrange(1, 8)]


def _repeat(source: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + source.randrange(1, 40)]


def _append_itself(_: random.Random, data: bytearray, __: int) -> None:
    data += data[:65536]  # two messages, one after the other, are one message with the fields of both


_MUTATIONS: Sequence[Callable[[random.Random, bytearray, int], None]] = (
    _flip, _set, _insert, _remove, _repeat, _append_itself,
)  # fmt: skip  # one line for each would hide the list


def _few(source: random.Random) -> int:
    return source.choice((0, 1, 1, 1, 2, 3, 5, 8))


def _name(source: random.Random, odd: bool) -> str:
    return source.choice(NAMES if odd and source.random() < 0.3 else NAMES[:ORDINARY])


def _path(source: random.Random, odd: bool) -> str:
    depth = source.choice((1, 1, 1, 2, 2, 3, 31, 32, 33) if odd else (1, 1, 2, 3))
    path = "/".join(_name(source, odd) for _ in range(depth))
    if odd and source.random() < 0.05:
        path = source.choice(("/", "//", "./", "../", "a/../../")) + path
    if odd and source.random() < 0.02:
        path += "/" + "/".join(["p" * 255] * source.choice((15, 16, 17)))
    return path


def _text(source: random.Random, odd: bool) -> str:
    text = "/".join(_name(source, odd) for _ in range(source.choice((1, 2))))
    if odd and source.random() < 0.02:
        text += "v" * source.choice((4000, 4095, 4096, 4097, 20_000))
    return text


def _contents(source: random.Random) -> bytes:
    return source.randbytes(source.choice((0, 1, 8, 8, 8, 64)))


def _make_large(source: random.Random, message: provider_pb2.MountResponse) -> None:
    """Around the limits of numbers."""
    count = source.choice((4095, 4096, 4097, 5000))
    if source.random() < 0.5:
        for number in range(count):
            message.files.add(path=f"f{number}", contents=b"x")
    else:
        for number in range(count):
            message.object_version.add(id=f"o{number}", version="v" * source.choice((1, 100, 200)))

"""The parser's process: what it answers, what ends it, and what that costs others."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from driver import limits
from driver.ports import SecretObject
from driver.sync import wanted
from driver.sync.parser import process
from driver.sync.parser.client import BadPart, Parser
from driver.sync.wanted import Wanted
from runtime.errors import PreconditionFailed, Unavailable
from tests.driver.sync.test_tls import EC, LEAF, LEAF_PEM, RSA, pem
from tests.support.waiting import until

KEY_PEM = pem(EC, PrivateFormat.PKCS8)
PAIR = {"tls.crt": LEAF_PEM, "tls.key": KEY_PEM}


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is costly exceeds the limit of CPU time; a machine that is busy does not exceed that of time, after which
    the answer is that it is tried again."""
    monkeypatch.setattr(limits, "PARSE_SECONDS", 30.0)


def run(test: Callable[[Parser], Coroutine[Any, Any, None]]) -> None:
    """The test with a parser."""

    async def bounded() -> None:
        parser = Parser()
        try:
            async with asyncio.timeout(50):
                await test(parser)
        finally:
            await parser.close()

    asyncio.run(bounded())


def _has_ended(parser: Parser) -> bool:
    found = parser.process._process
    return found is None or found.returncode is not None


def huge_rsa_key(bits: int) -> bytes:
    """A private key that claims so many bits: PKCS#1 in PEM, made without computing anything."""
    from base64 import encodebytes

    def der(tag: int, content: bytes) -> bytes:
        size = len(content).to_bytes(4, "big")
        return bytes([tag, 0x84]) + size + content

    def number(value: bytes) -> bytes:
        return der(0x02, b"\x00" + value)

    big, half = b"\xff" * (bits // 8), b"\xff" * (bits // 16)
    parts = [b"\x00", big, b"\x01\x00\x01", big, half, half, half, half, half]
    body = der(0x30, b"".join(der(0x02, part) if part == b"\x00" else number(part) for part in parts))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + encodebytes(body) + b"-----END RSA PRIVATE KEY-----\n"


def test_a_pair(tmp_path: Path) -> None:
    """Scenario: certificate and key as PEM. Expected: both, the key as SEC1; one process for all requests."""

    async def test(parser: Parser) -> None:
        for _ in range(3):
            answer = await parser.tls("ns", PAIR)
            assert answer == {"tls.crt": LEAF_PEM, "tls.key": pem(EC, PrivateFormat.TraditionalOpenSSL)}
        assert parser.process.started == 1

    run(test)


@pytest.mark.parametrize(
    ("parts", "key", "sentence"),
    [
        ({"tls.key": b"no key"}, "tls.key", "no private key"),
        ({"tls.crt": b"no certificate"}, "tls.crt", "no certificate"),
        ({"tls.crt": LEAF_PEM, "tls.key": pem(RSA, PrivateFormat.PKCS8)}, "tls.key", "fits no certificate"),
        ({"tls.key": pem(EC, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))}, "tls.key", "encrypted"),
        ({"tls.key": b"x" * (limits.MAX_SECRET_BYTES + 1)}, "", "larger than"),
    ],
)
def test_a_bad_part(parts: dict[str, bytes], key: str, sentence: str) -> None:
    """Scenario: files that cannot be used. Expected: the key at fault and a sentence; the process goes on."""

    async def test(parser: Parser) -> None:
        for _ in range(2):
            with pytest.raises(BadPart, match=sentence) as bad:
                await parser.tls("ns", parts)
            assert bad.value.key == key
        await parser.tls("ns", PAIR)
        assert parser.process.started == 1

    run(test)


@pytest.mark.parametrize("bits", [100_000, 400_000, 1_000_000])
def test_a_costly_key_costs_its_author_only(bits: int) -> None:
    """Scenario: an RSA key of very many bits. Expected: an answer in time, whatever it is; the event loop never stops
    for it; the next request of others is answered; the same content is not tried a second time."""

    async def test(parser: Parser) -> None:
        await parser.tls("good", PAIR)
        loop, worst, last = asyncio.get_running_loop(), 0.0, time.monotonic()

        def beat() -> None:
            nonlocal worst, last
            worst, last = max(worst, time.monotonic() - last), time.monotonic()
            loop.call_later(0.02, beat)

        beat()
        began = time.monotonic()
        with pytest.raises(BadPart):
            await parser.tls("bad", {"tls.key": huge_rsa_key(bits)})
        assert time.monotonic() - began < limits.PARSE_SECONDS + 5
        assert worst < 2.0, f"the event loop stood still for {worst:.1f} s"
        assert await parser.tls("good", PAIR)
        pid = parser.process.pid
        with pytest.raises(BadPart):
            await parser.tls("bad", {"tls.key": huge_rsa_key(bits)})
        assert parser.process.pid == pid is not None  # which a second attempt would have cost its life

    run(test)


@pytest.mark.parametrize("rounds", [2**31 - 1, limits.MAX_KEY_DERIVATION_ROUNDS + 1])
def test_too_many_rounds_are_refused_before_they_are_computed(rounds: int) -> None:
    """Scenario: a PKCS#12 file whose MAC asks for very many rounds. Expected: a sentence with the number, at once."""
    content = serialize_key_and_certificates(b"x", EC, LEAF, None, BestAvailableEncryption(b"x"))
    assert content.count(b"\x02\x02\x08\x00") >= 1, "OpenSSL's 2048 rounds"
    head, _, tail = content.rpartition(b"\x02\x02\x08\x00")
    grown = head + b"\x02\x04" + rounds.to_bytes(4, "big") + tail
    grown = _with_longer_sequences(content, grown)

    async def test(parser: Parser) -> None:
        await parser.tls("ns", PAIR)
        pid = parser.process.pid
        with pytest.raises(BadPart, match=str(rounds)):
            await parser.tls("ns", {"tls.key": grown})
        assert parser.process.pid == pid is not None  # which the attempt to compute them would have cost its life

    run(test)


def _with_longer_sequences(old: bytes, new: bytes) -> bytes:
    """The outer sequence and that of the MAC, two bytes longer."""
    assert old[0] == 0x30 and old[1] == 0x82
    size = int.from_bytes(old[2:4], "big") + 2
    new = new[:2] + size.to_bytes(2, "big") + new[4:]
    mac = len(old) - 2
    while not (old[mac] == 0x30 and old[mac + 1] == len(old) - mac - 2):
        mac -= 1
    return new[: mac + 1] + bytes([old[mac + 1] + 2]) + new[mac + 2 :]


@pytest.mark.parametrize("ends", [False, True])
def test_a_process_that_dies_or_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """Scenario: the process is killed, as by a kernel that is short of memory, or stopped, as by one that is short of
    CPU time, while it is idle or works. Expected: the request fails with a sentence that does not blame its content,
    and the next one, with the same content too, has a new process."""
    monkeypatch.setattr(limits, "PARSE_SECONDS", 60.0 if ends else 1.0)

    async def test(parser: Parser) -> None:
        await parser.tls("ns", PAIR)
        assert parser.process.pid is not None
        os.kill(parser.process.pid, signal.SIGSTOP)
        request = asyncio.create_task(parser.tls("ns", {**PAIR, "ca.crt": b"1"}))
        if ends:
            await asyncio.sleep(0)
            os.kill(parser.process.pid, signal.SIGKILL)
        with pytest.raises(BadPart, match="too little memory or CPU time; it is tried again"):
            await request
        assert await parser.tls("ns", {**PAIR, "ca.crt": b"1"})
        assert parser.process.pid is not None
        os.kill(parser.process.pid, signal.SIGKILL)
        await until(lambda: _has_ended(parser), "its end")
        assert await parser.tls("ns", PAIR)
        assert parser.process.started == 3

    run(test)


def test_an_answer_that_is_too_long_is_not_asked_for_again() -> None:
    """Scenario: JSON with a key of hundreds of KiB, so that the answer's head is too long. Expected: a sentence, the
    process is ended, and the same content is not tried a second time."""
    content = ('{"' + "\u00e9" * 400_000 + '": 1}').encode()

    async def test(parser: Parser) -> None:
        for _ in range(2):
            with pytest.raises(BadPart, match="too much time or memory"):
                await parser.entries("ns", "json", content)
        assert parser.process.started == 1 and parser.process.pid is None

    run(test)


def test_a_cancelled_request_does_not_answer_the_next_one() -> None:
    """Scenario: a caller gives up while the process works. Expected: the next caller gets his own answer."""

    async def test(parser: Parser) -> None:
        await parser.tls("ns", PAIR)
        task = asyncio.create_task(parser.tls("ns", {"tls.key": huge_rsa_key(200_000)}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await parser.tls("ns", {"tls.crt": LEAF_PEM}) == {"tls.crt": LEAF_PEM}

    run(test)


def test_a_request_that_is_cancelled_while_the_process_starts() -> None:
    """Scenario: a caller gives up while the process that it needs is being started, at any moment. Expected: the next
    caller gets an answer, his own."""

    async def test(parser: Parser) -> None:
        moments: dict[str, Callable[[], object]] = {
            "before there is a process": lambda: True,
            "before it is ready": lambda: parser.process.pid is not None,
        }
        for name, moment in moments.items():
            task = asyncio.create_task(parser.tls("ns", PAIR))
            await asyncio.sleep(0)
            await until(moment, name)
            assert parser.process.started == 0 and not task.done(), name
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await parser.tls("ns", {"tls.crt": LEAF_PEM}) == {"tls.crt": LEAF_PEM}

    run(test)


def test_namespaces_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: one namespace has twenty costly requests under way, another one ordinary request. Expected: the
    ordinary one waits for two of the costly ones at most."""

    async def test(parser: Parser) -> None:
        await parser.tls("good", PAIR)
        costly = [
            asyncio.create_task(parser.tls("bad", {"tls.key": huge_rsa_key(400_000 + 800 * number)}))
            for number in range(20)
        ]
        await asyncio.sleep(0)
        assert await parser.tls("good", PAIR)
        assert sum(task.done() for task in costly) <= 2
        for task in costly:
            task.cancel()
        await asyncio.gather(*costly, return_exceptions=True)

    run(test)


def test_an_idle_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: nothing to do. Expected: the process ends by itself, and the next request starts another."""
    monkeypatch.setattr(limits, "PARSE_IDLE_SECONDS", 0.1)

    async def test(parser: Parser) -> None:
        await parser.tls("ns", PAIR)
        pid = parser.process.pid
        assert pid is not None
        await until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the idle process")
        assert await parser.tls("ns", PAIR)
        assert parser.process.started == 2

    run(test)


def test_an_idle_process_that_is_ending_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: the driver ends when an idle process has just been told to. Expected: the process is gone when the
    parser is closed, and nothing is left that asyncio would close without an event loop."""
    monkeypatch.setattr(limits, "PARSE_IDLE_SECONDS", 0.0)

    async def test(parser: Parser) -> None:
        await parser.tls("ns", PAIR)
        pid, process = parser.process.pid, parser.process._process
        assert process is not None and process.stdin is not None
        while not process.stdin.is_closing():
            await asyncio.sleep(0)
        await parser.close()
        assert not Path(f"/proc/{pid}").exists() and parser.process.pid is None

    run(test)


def test_the_process_has_no_privileges() -> None:
    """Scenario: the process as the kernel sees it. Expected: no new privileges, no core dump, no capability in use
    (where the tests are root)."""

    async def test(parser: Parser) -> None:
        await parser.tls("ns", PAIR)
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{parser.process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        limits_table = Path(f"/proc/{parser.process.pid}/limits").read_text()
        assert "Max core file size        0 " in limits_table
        if os.getuid() == 0 and "4294967295" in Path("/proc/self/uid_map").read_text():
            assert status["Uid"].split() == ["65534"] * 4
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
            assert status["Groups"].split() == []

    run(test)


def test_a_process_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: the interpreter is gone, or ends at once. Expected: unavailable, and the content is not blamed."""

    async def test(parser: Parser) -> None:
        for command in (("/no/such/program",), ("/bin/true",)):
            monkeypatch.setattr(process, "COMMAND", command)
            with pytest.raises(Unavailable, match="does not start"):
                await parser.tls("ns", PAIR)
        monkeypatch.undo()
        assert await parser.tls("ns", PAIR)

    run(test)


def test_a_secret_is_built_with_the_parser() -> None:
    """Scenario: Secrets of type tls and of others. Expected: the pair in order; other types and keys byte for byte; a
    failure names class, Secret, object and key."""

    def secret(kind: str, data: dict[str, bytes]) -> Wanted:
        return Wanted("ns", "s", kind, "app", data, {}, {}, 1.0)

    async def test(parser: Parser) -> None:
        item = SecretObject("s", "kubernetes.io/tls", ((" pair ", " tls.crt"), ("pair", "tls.key"), ("pair", "ca.crt")))
        pair = KEY_PEM + LEAF_PEM
        made = await wanted.with_tls(
            secret("kubernetes.io/tls", {"tls.crt": pair, "tls.key": pair, "ca.crt": pair, "extra": pair}), item, parser
        )
        assert made.data["tls.crt"] == made.data["ca.crt"] == LEAF_PEM
        assert made.data["extra"] == pair and b"CERTIFICATE" not in made.data["tls.key"]
        opaque = secret("Opaque", {"tls.crt": b"anything"})
        assert await wanted.with_tls(opaque, item, parser) is opaque
        with pytest.raises(PreconditionFailed, match="spc ns/app for secret s, err: objectName pair cannot be tls.key"):
            await wanted.with_tls(secret("kubernetes.io/tls", {"tls.key": b"-"}), item, parser)

    run(test)
    assert LEAF.public_bytes(Encoding.PEM) == LEAF_PEM


def test_entries_of_objects() -> None:
    """Scenario: an object in each format, one that is not of its format, and one of 300,000 levels. Expected: entries,
    and sentences; the same process serves them all but the last, and goes on serving after it."""

    async def test(parser: Parser) -> None:
        assert await parser.entries("a", "json", b'\xef\xbb\xbf{"a": 1, "a": [2]}') == [("a", b"1"), ("a", b"[2]")]
        assert await parser.entries("a", "dotenv", "A='ü'".encode()) == [("A", "ü".encode())]
        assert await parser.entries("a", "properties", b"a=\\u00fc") == [("a", "ü".encode())]
        for kind, content in (
            ("json", b"no"),
            ("dotenv", b"'"),
            ("properties", b"\\u"),
            ("yaml", b""),
            ("json", b"\xff"),
        ):
            with pytest.raises(BadPart):
                await parser.entries("a", kind, content)
        assert parser.process.started == 1
        with pytest.raises(BadPart):
            await parser.entries("a", "json", b'{"a":' * 150_000)
        assert await parser.entries("a", "json", b"{}") == []

    run(test)

"""A store that is away, in every way that it can be: a sentence that names it, and few calls."""

import asyncio
import itertools
import socket
import ssl
import struct
from pathlib import Path

import pytest
from aiohttp import ClientConnectorDNSError, web
from aiohttp.client_reqrep import ConnectionKey

from provider_kit import Failure, InvalidRequest, PreconditionFailed, ResourceExhausted, Unavailable
from provider_openbao import outages
from provider_openbao.client import ATTEMPTS
from tests.cluster.pki import Authority
from tests.provider_openbao.fake_store import (
    JWT,
    SECRET,
    always,
    contents,
    errors,
    failure,
    fake_store,
    provider,
    request,
)
from tests.support.ports import free_port
from tests.support.waiting import run_async


@pytest.mark.parametrize(
    ("status", "sentence", "health", "kind", "words", "calls"),
    [
        (503, "Vault is sealed", 503, Unavailable, "is sealed: unseal it", 1),
        (503, "", 503, Unavailable, "is sealed: unseal it", ATTEMPTS),
        (503, "", 501, PreconditionFailed, "is not initialized", ATTEMPTS),
        (500, "local node not active but active cluster node not found", 429, Unavailable, "is a standby", 1),
        (503, "", 473, Unavailable, "is a standby", ATTEMPTS),
        (502, "", 200, Unavailable, "failed with HTTP 502", ATTEMPTS),
        (500, "Vault is away", 200, Unavailable, "HTTP 500: Vault is away", 1),
        (429, "", 200, ResourceExhausted, "limits the rate of calls", ATTEMPTS),
    ],
)
def test_answers(status: int, sentence: str, health: int, kind: type[Failure], words: str, calls: int) -> None:
    """Each answer of a server that is away, told apart by its words and its health → its own sentence; repeated only
    where that may help, and never more than three times."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.answers["auth/kubernetes/login"] = always(status, *([sentence] if sentence else []))
            store.answers["sys/health"] = always(health)
            failed = await failure(made, request(store))
            assert type(failed) is kind
            assert words in str(failed) and store.url in str(failed)
            assert store.calls["auth/kubernetes/login"] == calls

    run_async(scenario)


def test_recovers() -> None:
    """The server refuses one call for the moment, and takes the next → the mount succeeds."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:

            async def once(_: web.BaseRequest) -> web.StreamResponse:
                del store.answers["kv/app"]
                return errors(503, "try again")

            store.answers["kv/app"] = once
            assert contents(await made.mount(request(store))) == {"password": SECRET.encode()}
            assert store.calls["kv/app"] == 2

    run_async(scenario)


@pytest.mark.parametrize("pause", ["3600", "Wed, 01 Jan 2098 00:00:00 GMT"])
def test_rate_limit(pause: str) -> None:
    """50 pods start while the server limits the rate of calls and asks for a long pause → one call in all after the
    first, whatever they want to read: no storm."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.answers["*"] = always(429, "quota exceeded", **{"Retry-After": pause})
            failed = await failure(made, request(store))
            assert isinstance(failed, ResourceExhausted)
            assert store.url in str(failed) and "Retry-After" in str(failed)
            requests = [request(store, f"pod-{number}", f"account-{number}") for number in range(50)]
            failures = await asyncio.gather(*(failure(made, item) for item in requests))
            assert all(isinstance(item, ResourceExhausted) and "another" in str(item) for item in failures)
            assert store.calls.total() == 1

    run_async(scenario)


def test_short_pause() -> None:
    """The server asks for a second → the next call comes after it, and succeeds."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            moments: list[float] = []

            async def limited(_: web.BaseRequest) -> web.StreamResponse:
                moments.append(asyncio.get_running_loop().time())
                if len(moments) == 1:
                    return errors(429, **{"Retry-After": "1"})
                return web.json_response({"data": {"password": SECRET}})

            store.answers["kv/app"] = limited
            assert contents(await made.mount(request(store))) == {"password": SECRET.encode()}
            assert moments[1] - moments[0] >= 0.95

    run_async(scenario)


def test_rate_limit_without_a_time() -> None:
    """50 pods start while the server limits the rate of calls and names no time → at most three calls for each, and
    all pause in between; an engine's answer 500 is no outage: one call, and the entry is named."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            await made.mount(request(store))
            moments: list[float] = []

            async def limited(_: web.BaseRequest) -> web.StreamResponse:
                moments.append(asyncio.get_running_loop().time())
                return errors(429, "quota exceeded")

            store.answers["kv/app"] = limited
            requests = [request(store, f"pod-{number}") for number in range(50)]
            failures = await asyncio.gather(*(failure(made, item) for item in requests))
            assert all(isinstance(item, ResourceExhausted) and store.url in str(item) for item in failures)
            assert len(moments) <= ATTEMPTS * 50
            assert max(later - earlier for earlier, later in itertools.pairwise(moments)) >= 0.5

    run_async(scenario)


def test_an_engine_fails() -> None:
    """The secrets engine answers 500, because its database is away, and the server is well → the entry and the
    server's words; not repeated, because it may have had an effect."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.answers["kv/app"] = always(500, "connection refused")
            failed = await failure(made, request(store))
            assert isinstance(failed, Unavailable)
            assert "objects entry 0 ('password'): the secrets engine at kv/app failed" in str(failed)
            assert "connection refused" in str(failed) and store.calls["kv/app"] == 1

    run_async(scenario)


@pytest.mark.parametrize("reset", [False, True])
def test_closed_connections(reset: bool) -> None:
    """A server closes the connection or resets it, as one does that expects TLS or a client certificate → said."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            await reader.readline()
        writer.close()

    async def scenario() -> None:
        async with provider() as made, await asyncio.start_server(close, "127.0.0.1", 0) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            failed = await failure(made, request(address))
            assert isinstance(failed, Unavailable)
            assert "closed the connection" in str(failed) and "write https:// in vaultAddress" in str(failed)

    run_async(scenario)
    failed = outages.unreachable("https://x", ConnectionResetError(104, "reset"))
    assert "vaultTLSClientCertPath" in str(failed)


def test_hangs() -> None:
    """A server takes calls and never answers → after the time limit a sentence, and no second call; another server is
    served meanwhile."""

    async def scenario() -> None:
        async with fake_store() as store, fake_store() as healthy, provider(timeout=1.0) as made:
            released = asyncio.Event()

            async def hang(_: web.BaseRequest) -> web.StreamResponse:
                await released.wait()
                return errors(500)

            store.answers["kv/app"] = hang
            failing = asyncio.create_task(failure(made, request(store)))
            assert contents(await made.mount(request(healthy))) == {"password": SECRET.encode()}
            failed = await failing
            released.set()
            assert isinstance(failed, Unavailable)
            assert "did not answer within 1 s" in str(failed) and store.url in str(failed)
            assert store.calls["kv/app"] == 1

    run_async(scenario)


def test_unreachable() -> None:
    """Nobody listens → a sentence that names the address and the parameter."""

    async def scenario() -> None:
        async with provider() as made:
            address = f"http://127.0.0.1:{free_port()}"
            failed = await failure(made, request(address))
            assert isinstance(failed, Unavailable)
            assert "cannot reach" in str(failed) and address in str(failed) and "vaultAddress" in str(failed)

    run_async(scenario)


def test_unknown_host() -> None:
    """The name of the host does not exist → said. Without a query, which takes its time where there is no DNS."""
    key = ConnectionKey("no-such-host", 8200, False, True, None, None, None)
    failed = outages.unreachable("http://no-such-host:8200", ClientConnectorDNSError(key, OSError("unknown")))
    assert isinstance(failed, Unavailable)
    assert "cannot be resolved" in str(failed) and "vaultAddress" in str(failed)


def test_other_servers() -> None:
    """Something else listens at the address: a web server, one that speaks another protocol → vaultAddress is named."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:

            async def page(_: web.BaseRequest) -> web.StreamResponse:
                return web.Response(text="<html>Welcome</html>", content_type="text/html")

            store.answers["*"] = page
            failed = await failure(made, request(store))
            assert isinstance(failed, InvalidRequest)
            assert "does not answer in JSON" in str(failed) and "vaultAddress" in str(failed)

            async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
                await writer.drain()
                writer.close()

            async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
                address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                failed = await failure(made, request(address))
            assert isinstance(failed, Unavailable)
            assert "vaultAddress" in str(failed) and address in str(failed)

    run_async(scenario)


def test_redirects() -> None:
    """A standby redirects: to the active server → followed, the token with it; to a server that is away, to another
    standby, to somewhere without TLS or to nowhere → a sentence that names both."""

    async def scenario() -> None:
        async with fake_store() as active, fake_store() as standby, provider() as made:

            def to(target: str) -> None:
                async def redirect(request: web.BaseRequest) -> web.StreamResponse:
                    headers = {"Location": f"{target}{request.path_qs}"} if target else {}
                    return web.Response(status=307, headers=headers)

                standby.answers["*"] = redirect

            to(active.url)
            assert contents(await made.mount(request(standby))) == {"password": SECRET.encode()}
            assert active.calls["kv/app"] == 1
            away = f"http://127.0.0.1:{free_port()}"
            for target, words in (
                (away, f"redirects to {away}, which cannot be reached"),
                (standby.url, "redirects again"),
                ("ftp://127.0.0.1", "redirect cannot be followed"),
                ("", "redirect cannot be followed"),
            ):
                to(target)
                failed = await failure(made, request(standby, roleName=f"other-{words}"))
                assert isinstance(failed, Unavailable)
                assert words in str(failed) and standby.url in str(failed)

    run_async(scenario)


def test_tls(tmp_path: Path) -> None:
    """A server with a certificate of a CA of its own: named by a file or a directory → trusted; none, another one, or
    another name → vaultCACertPath and vaultTLSServerName are named; plain HTTP → said."""
    authority, stranger = Authority(), Authority("stranger")
    pair = authority.server(["127.0.0.1"])
    named = authority.server(["openbao.internal"])
    for name, contents_of in (("ca", authority.pem), ("stranger", stranger.pem), ("crt", pair.certificate)):
        (tmp_path / name).write_bytes(contents_of)
    (tmp_path / "key").write_bytes(pair.key)
    (tmp_path / "commented").write_bytes("# Autorité de certification\n".encode() + authority.pem)
    (tmp_path / "der").write_bytes(ssl.PEM_cert_to_DER_cert(authority.pem.decode()))
    (tmp_path / "named.crt").write_bytes(named.certificate)
    (tmp_path / "named.key").write_bytes(named.key)
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "ca.pem").write_bytes(authority.pem)
    context, other_name = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    other_name.load_cert_chain(tmp_path / "named.crt", tmp_path / "named.key")
    ca = str(tmp_path / "ca")

    async def scenario() -> None:
        async with (
            fake_store(context) as store,
            fake_store(other_name) as renamed,
            fake_store() as plain,
            provider() as made,
        ):
            for right in (
                request(store, vaultCACertPath=ca),
                request(store, vaultCACertPath=str(tmp_path / "commented")),
                request(store, vaultCADirectory=str(tmp_path / "directory")),
                request(store, vaultSkipTLSVerify="true"),
                request(renamed, vaultCACertPath=ca, vaultTLSServerName="openbao.internal"),
            ):
                assert contents(await made.mount(right)) == {"password": SECRET.encode()}
            for wrong, words in (
                (request(store), "is not trusted"),
                (request(store, vaultCACertPath=str(tmp_path / "stranger")), "is not trusted"),
                (request(renamed, vaultCACertPath=ca), "vaultTLSServerName"),
                (request(store, vaultCACertPath=str(tmp_path / "absent")), "No such file or directory"),
                (request(store, vaultCACertPath=str(tmp_path)), "vaultCACertPath"),
                (request(store, vaultCACertPath="/dev/zero"), "is not a file"),
                (request(store, vaultCACertPath=str(tmp_path / "key")), "has no certificate in PEM"),
                (request(store, vaultCACertPath=str(tmp_path / "der")), "has no certificate in PEM"),
                (request(store, vaultCADirectory=str(tmp_path / "absent")), "vaultCADirectory"),
                (
                    request(store, vaultTLSClientCertPath=ca, vaultTLSClientKeyPath=str(tmp_path / "key")),
                    "vaultTLSClientKeyPath",
                ),
                (request(plain.url.replace("http", "https"), vaultCACertPath=ca), "write http://"),
            ):
                failed = await failure(made, wrong)
                assert isinstance(failed, PreconditionFailed)
                assert words in str(failed)
                assert JWT not in str(failed) and "BEGIN" not in str(failed)

    run_async(scenario)


def test_large_response() -> None:
    """A secret that exceeds what a volume holds, in one object or in several → a sentence with the entry or path, and
    the response is not read to its end."""

    async def scenario() -> None:
        async with fake_store() as store, provider(max_bytes=10_000) as made:
            store.data = {"password": "x" * 9_000}
            twice = "- {objectName: a, secretPath: kv/app, secretKey: password}\n"
            twice += "- {objectName: b, secretPath: kv/app, secretKey: password}"
            failed = await failure(made, request(store, objects=twice))
            assert isinstance(failed, ResourceExhausted)
            assert "objects entry 1 ('b')" in str(failed) and "10000 bytes" in str(failed)
            store.data = {"password": "x" * 5_000_000}
            failed = await failure(made, request(store))
            assert isinstance(failed, ResourceExhausted)
            assert "objects entry 0" in str(failed)

    run_async(scenario)

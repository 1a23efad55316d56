"""What a connection to the API server costs."""

import asyncio
import gc
import json
import ssl
from asyncio.sslproto import SSLProtocol
from pathlib import Path
from typing import Any

from kubernetes.aio.client.configuration import Configuration

from driver.cluster import slim_imports
from driver.cluster.api import Api
from driver.cluster.transport import Transport
from tests.cluster.pki import Authority

BODY = json.dumps({"kind": "List", "metadata": {}, "items": ["x" * 1000] * 300}).encode()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    try:
        await reader.read()  # the client keeps the connection, and closes it in the end
    finally:
        writer.close()


def test_a_connection_has_a_small_buffer(tmp_path: Path) -> None:
    """An answer much larger than the buffer is read whole; the connection that is kept holds no quarter of a megabyte,
    of which there are nine."""
    authority = Authority()
    pair = authority.server(["127.0.0.1"])
    for name, content in (("crt", pair.certificate), ("key", pair.key), ("ca", authority.pem)):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    async def run() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
        configuration = Configuration()
        configuration.host = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        configuration.ssl_ca_cert = str(tmp_path / "ca")
        api = Api("")
        api._connections.transport = transport = Transport(configuration)
        try:
            assert await api.call("GET", "/list") == json.loads(BODY)
            clients: list[Any] = [each for each in gc.get_objects() if isinstance(each, SSLProtocol)]
            buffers = [len(each._ssl_buffer) for each in clients if not each._server_side]
            assert buffers and max(buffers) <= slim_imports.TLS_BUFFER
        finally:
            await transport.close()
            server.close()

    asyncio.run(run())

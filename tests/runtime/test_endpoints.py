"""Addresses, parsed into types."""

import pytest

from runtime.endpoints import (
    ALL_ADDRESSES,
    TcpEndpoint,
    UnixEndpoint,
    parse_csi_address,
    parse_endpoint,
    parse_host_port,
)
from runtime.errors import ConfigurationError


@pytest.mark.parametrize(
    "text, expected",
    [
        ("unix://tmp/csi.sock", UnixEndpoint("/tmp/csi.sock")),
        ("unix:///csi/csi.sock", UnixEndpoint("/csi/csi.sock")),
        ("UNIX:///csi/csi.sock", UnixEndpoint("/csi/csi.sock")),
        ("tcp://127.0.0.1:99", TcpEndpoint("127.0.0.1", 99)),
        ("TCP://:99", TcpEndpoint("", 99)),
    ],
)
def test_endpoints(text: str, expected: object) -> None:
    """Both schemes in upper or lower case; a Unix path without a leading slash gets one, as in the Go driver."""
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize("text", ["", "unix://", "tcp://", "/csi.sock", "http://x", "unix:/x", "tcp://host"])
def test_bad_endpoints(text: str) -> None:
    """Anything else → ConfigurationError."""
    with pytest.raises(ConfigurationError):
        parse_endpoint(text)


@pytest.mark.parametrize("text", ["/csi/csi.sock", "unix:///csi/csi.sock", "unix:/csi/csi.sock"])
def test_csi_addresses(text: str) -> None:
    """The three spellings of one socket that the sidecars accept."""
    assert parse_csi_address(text) == UnixEndpoint("/csi/csi.sock")


@pytest.mark.parametrize(
    "text, expected",
    [
        (":8095", TcpEndpoint("", 8095)),
        ("0.0.0.0:1", TcpEndpoint("0.0.0.0", 1)),
        ("[::1]:80", TcpEndpoint("::1", 80)),
        ("[::ffff:127.0.0.1]:80", TcpEndpoint("127.0.0.1", 80)),
    ],
)
def test_host_port(text: str, expected: TcpEndpoint) -> None:
    """The addresses that Go's net.Listen accepts."""
    assert parse_host_port(text) == expected


@pytest.mark.parametrize("host", ["[::]", "[::0]", "[0:0:0:0:0:0:0:0]", "[0000::]", "[::ffff:0.0.0.0]"])
def test_all_addresses_however_they_are_written(host: str) -> None:
    """As in Go, each of them means the addresses of both families."""
    endpoint = parse_host_port(f"{host}:80")
    assert endpoint.host in ALL_ADDRESSES and endpoint.is_same(TcpEndpoint("", 80))


@pytest.mark.parametrize("text", ["", "8095", ":", ":x", ":70000", "::1:80", "host:-1", ":" + "9" * 5000, ":\u0665"])
def test_bad_host_port(text: str) -> None:
    """Anything else → ConfigurationError with an example."""
    with pytest.raises(ConfigurationError, match="127.0.0.1:8095"):
        parse_host_port(text)

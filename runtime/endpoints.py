"""Addresses, parsed once into types: CSI endpoints and host:port pairs. All parsers raise ConfigurationError."""

import ipaddress
from typing import NamedTuple

from runtime.errors import ConfigurationError


class UnixEndpoint(NamedTuple):
    """A Unix socket, by absolute path."""

    path: str

    @property
    def target(self) -> str:
        """The address in gRPC's notation."""
        return f"unix:{self.path}"


ALL_ADDRESSES = ("", "0.0.0.0", "::")
"""Hosts that each mean the addresses of both families, as in Go: a pod may have IPv6 only."""


class TcpEndpoint(NamedTuple):
    """A TCP address; the host may be one of ALL_ADDRESSES."""

    host: str
    port: int

    def is_same(self, other: "TcpEndpoint") -> bool:
        """Whether both are the same addresses, however they are written."""
        return self.port == other.port and (
            self.host == other.host or self.host in ALL_ADDRESSES and other.host in ALL_ADDRESSES
        )

    @property
    def target(self) -> str:
        """The address in gRPC's notation."""
        return f"{_bracketed(self.host) or '[::]'}:{self.port}"


Endpoint = UnixEndpoint | TcpEndpoint


def parse_endpoint(text: str) -> Endpoint:
    """``unix://tmp/csi.sock``, ``unix:///csi/csi.sock`` or ``tcp://host:port``; the scheme is case-insensitive.

    As in the Go driver, a Unix path without a leading slash gets one.
    """
    scheme, separator, rest = text.partition("://")
    if separator and rest:
        if scheme.lower() == "unix":
            return UnixEndpoint("/" + rest.lstrip("/"))
        if scheme.lower() == "tcp":
            return parse_host_port(rest)
    raise ConfigurationError(f"invalid endpoint: {text} (use unix:///path/to/csi.sock or tcp://host:port)")


def parse_csi_address(text: str) -> UnixEndpoint:
    """The sidecars' ``--csi-address``: an absolute path, ``unix:/path`` or ``unix:///path``."""
    rest = text
    for prefix in ("unix://", "unix:"):
        if text.lower().startswith(prefix):
            rest = text[len(prefix) :]
            break
    if rest.startswith("/") and rest.strip("/"):
        return UnixEndpoint("/" + rest.lstrip("/"))
    raise ConfigurationError(
        f"invalid CSI address: {text} (use the absolute path of the driver's socket, or unix:///path)"
    )


def parse_host_port(text: str) -> TcpEndpoint:
    """``:8095``, ``127.0.0.1:8095`` or ``[::1]:8095``, as Go's net.Listen accepts them."""
    host, separator, port = text.rpartition(":")
    # Python refuses to convert thousands of digits, by a ValueError.
    if separator and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if ":" not in bare or bare != host:
            return TcpEndpoint(_plain(bare), int(port))
    raise ConfigurationError(f"invalid address: {text} (use host:port or :port, for example 127.0.0.1:8095)")


def _plain(host: str) -> str:
    """A host in the form that a bind takes, as in Go: an IPv4 address written as one of IPv6 is that of IPv4, and other
    forms of the address of all addresses, such as ``::0``, are one of ALL_ADDRESSES."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if (mapped := getattr(address, "ipv4_mapped", None)) is not None:
        return str(mapped)
    return str(address) if address.is_unspecified else host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

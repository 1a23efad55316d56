"""Which proxy leads to the API server, by the rules of Go's net/http, which the other clients in a cluster follow:
https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config

Python's own reading of ``NO_PROXY`` knows no networks: ``10.96.0.0/12``, by which clusters exempt their services, would
mean nothing. Credentials are separated from the URL at once, so that no error text can repeat them.
"""

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAPPED_BITS = 96


@dataclass(frozen=True)
class Proxy:
    """The ``url`` without credentials, and the value of Proxy-Authorization, empty if there are none."""

    url: str
    authorization: str = field(default="", repr=False)


def from_environment(server: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for the API server at the URL ``server``; None if it is to be reached directly.

    As in Go, a name in upper case takes precedence over the same in lower case, ``HTTPS_PROXY`` is for https and
    ``HTTP_PROXY`` for http, and nothing on the loopback interface is reached by a proxy. Raises ValueError for a proxy
    that cannot be used.
    """
    url = urlsplit(server)
    variable = f"{url.scheme}_proxy"
    value = _variable(environment, variable)
    if not value or url.hostname is None:
        return None
    host, port = _to_ascii(url.hostname), url.port or _DEFAULT_PORTS.get(url.scheme, 0)
    if _is_loopback(host) or is_exempt(host, port, _variable(environment, "no_proxy")):
        return None
    return parse(value, variable.upper())


def parse(text: str, source: str) -> Proxy:
    """A proxy as ``http://user:password@host:port`` or ``host:port``. Raises ValueError, which names the ``source`` and
    does not repeat the text."""
    text = text.strip()
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        usable = url.scheme in _DEFAULT_PORTS and bool(url.hostname) and url.port != 0
    except ValueError:  # its text repeats a part of the URL
        usable = False
    if not usable:
        raise ValueError(
            f"{source} is not the URL of a proxy that can be used: write http://host:port or https://host:port (SOCKS "
            "is not supported), with special characters of a user and password percent-encoded"
        )
    return Proxy(_without_credentials(url), _authorization(url))


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` exempts a host (in ASCII, an IPv6 address without brackets) at a port.

    An entry is ``*``; a network; an address; a domain, which includes all below it; or ``.domain`` or ``*.domain``, for
    only those below it. Addresses and domains may have a port. Nothing is looked up: a domain does not exempt an
    address. In contrast to Go, an IPv6 address may have brackets without a port too.
    """
    address = _address(host)
    return any(_matches(entry.strip().lower(), host.lower(), port, address) for entry in no_proxy.split(","))


def _matches(entry: str, host: str, port: int, address: Address | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and _is_in_network(address, entry)
    name, wanted_port = _split_port(entry)
    if not name or (wanted_port and wanted_port != str(port)):
        return False
    if (exempt := _address(name)) is not None:
        return exempt == address
    domain = _to_ascii(name[1:] if name.startswith("*.") else name)
    return host == domain or host.endswith(domain if domain.startswith(".") else f".{domain}")


def _is_in_network(address: Address, text: str) -> bool:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:  # one of IPv4 that is written as one of IPv6
        network = ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return address in network


def _split_port(entry: str) -> tuple[str, str]:
    """Host and port, without brackets; the port is empty if there is none."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon and ":" not in host else (entry, "")


def _address(text: str) -> Address | None:
    """The address that a text is; an IPv4 address that is written as one of IPv6 is that of IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper(), "") or environment.get(name, "")


def _to_ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def _without_credentials(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


def _authorization(url: SplitResult) -> str:
    if url.username is None:
        return ""
    credentials = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return f"Basic {b64encode(credentials.encode()).decode()}"

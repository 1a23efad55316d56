"""Pages for this machine only, which a browser on it must not show to a website.

A loopback address keeps others out, but not a page in a browser of somebody who forwards the port: a website may let
its own name resolve to 127.0.0.1 (DNS rebinding), and then reads what is served there as its own. Its requests
have that name in their Host header, so only addresses and ``localhost`` are accepted there.
"""

import ipaddress
from http import HTTPStatus

from runtime.endpoints import TcpEndpoint
from runtime.http.messages import Handler, Request, Response, text_response


def is_loopback(endpoint: TcpEndpoint) -> bool:
    """Whether only this machine, or this pod, reaches the address."""
    return _is_localhost(endpoint.host) or (address := _address(endpoint.host)) is not None and address.is_loopback


def local_only(handler: Handler) -> Handler:
    """The handler, for requests whose Host header is an address, localhost, or missing; 421 for others."""

    async def handle(request: Request) -> Response:
        name = request.host.rpartition(":")[0] if _has_port(request.host) else request.host
        if name and not _is_localhost(name) and _address(name.strip("[]")) is None:
            return text_response("use an address or localhost as the host name\n", HTTPStatus.MISDIRECTED_REQUEST)
        return await handler(request)

    return handle


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdecimal() and (host.count(":") == 1 or "]" in host)


def _is_localhost(name: str) -> bool:
    return name.lower().rstrip(".") == "localhost"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None

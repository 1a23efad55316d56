"""What an outage is called: a sentence with the server and what to do, for each way a server can be away."""

import errno
import os
import ssl
from typing import Protocol
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from provider_kit import Failure, PreconditionFailed, ResourceExhausted, Unavailable

# What sys/health answers (https://openbao.org/api-docs/system/health/).
_NOT_INITIALIZED, _SEALED, _STANDBYS = 501, 503, (429, 472, 473)

_CLOSED = (errno.ECONNRESET, errno.EPIPE)


class Refusal(Protocol):
    """A response: its status, and the server's sentences on one line."""

    @property
    def status(self) -> int: ...

    @property
    def errors(self) -> str: ...


def is_sealed(answer: Refusal) -> bool:
    """Whether the server says that it is sealed. Vault and OpenBao use the same words."""
    return answer.status == _SEALED and "sealed" in answer.errors.lower()


def outage(address: str, answer: Refusal, health: int, pause: float) -> Failure:
    """The failure for a response of 429 or of 5xx; ``health`` is the status of sys/health, 0 if it is unknown."""
    found = state(address, answer, health)
    if found is not None:
        return found
    if answer.status == 429:
        wait = f"it asks for {pause:.0f} s (Retry-After)" if pause else "it names no time"
        return ResourceExhausted(f"{address} limits the rate of calls (HTTP 429): {wait}; if often, raise its quotas")
    detail = f": {answer.errors}" if answer.errors else ""
    return Unavailable(f"{address} failed with HTTP {answer.status}{detail}; its log has the details")


def state(address: str, answer: Refusal, health: int) -> Failure | None:
    """The failure, if ``health`` or the response say that the server as a whole does not work."""
    if health == _NOT_INITIALIZED:  # before "sealed", which such a server is, too
        return PreconditionFailed(f"{address} is not initialized: initialize it (bao operator init) and unseal it")
    if is_sealed(answer) or (answer.status == 503 and health == _SEALED):
        return Unavailable(f"{address} is sealed: unseal it; volumes are filled as soon as it is unsealed")
    if health in _STANDBYS:
        return Unavailable(
            f"{address} is a standby that reaches no active server (HTTP {answer.status}): check the cluster, or set "
            "vaultAddress to the address of its active servers"
        )
    return None


def unreachable(address: str, error: Exception) -> Failure:
    """The failure for a connection that could not be made, or broke before the response."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return PreconditionFailed(
            f"the certificate of {address} is not trusted ({_certificate(error)}): set vaultCACertPath to the CA's "
            "certificate, and vaultTLSServerName if it is for another name"
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return PreconditionFailed(
            f"TLS with {address} failed: if it speaks plain HTTP write http:// in vaultAddress; if it wants a client "
            "certificate set vaultTLSClientCertPath and vaultTLSClientKeyPath"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unavailable(f"the host of {address} cannot be resolved: check vaultAddress, and DNS on this node")
    if isinstance(error, aiohttp.ServerDisconnectedError) or getattr(error, "errno", None) in _CLOSED:
        remedy = (
            "if it wants a client certificate set vaultTLSClientCertPath and vaultTLSClientKeyPath"
            if address.startswith("https:")
            else "if it speaks TLS write https:// in vaultAddress"
        )
        return Unavailable(f"{address} closed the connection without an answer: {remedy}; check that it is healthy")
    return Unavailable(f"cannot reach {address} ({_reason(error)}): check that it runs, vaultAddress and its port")


def redirect(address: str, url: str, location: str) -> str:
    """Where a standby's redirect leads; a failure unless that is HTTP, and HTTPS if ``url`` is."""
    try:
        target = URL(urljoin(url, location)) if location else None
        usable = target is not None and bool(target.host) and target.scheme in ("https", URL(url).scheme)
    except ValueError:
        usable = False
    if not usable:
        raise Unavailable(
            f"{address} is a standby whose redirect cannot be followed: check api_addr in the servers' "
            "configuration, or set vaultAddress to the address of the active server"
        )
    return urljoin(url, location)


def standby_of_unreachable(address: str, target: str, error: Exception) -> Failure:
    """The failure for a redirect to a server that cannot be reached from here."""
    active = URL(target).origin()
    return Unavailable(
        f"{address} is a standby and redirects to {active}, which cannot be reached ({_reason(error)}): check api_addr "
        "in that server's configuration, or set vaultAddress to an address that leads to the active server"
    )


def redirects_on(address: str, target: str) -> Failure:
    """The failure for a redirect to a server that redirects, too."""
    return Unavailable(
        f"{address} redirects to {URL(target).origin()}, which redirects again: no server is active; check the "
        "cluster, or vaultAddress"
    )


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    # asyncio's own text has the address, which may be one of many.
    number = getattr(cause, "errno", None)
    return os.strerror(number) if number and number > 0 else type(cause).__name__


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__

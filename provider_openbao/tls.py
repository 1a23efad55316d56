"""TLS contexts. The paths in a class are anybody's who may write one, so only regular files of a moderate size are
read, and no failure says what is in them."""

import os
import ssl
import stat
from pathlib import Path

from provider_kit import PreconditionFailed
from provider_openbao.settings import Tls

MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 200
MAX_CONTEXTS = 100


class Contexts:
    """The context of each ``Tls``, made again when one of its files has changed. Its methods block."""

    def __init__(self) -> None:
        self._made: dict[Tls, tuple[tuple[float, ...], ssl.SSLContext]] = {}

    def get(self, tls: Tls) -> ssl.SSLContext:
        """The context; PreconditionFailed, which names the parameter, if a file cannot be used."""
        stamp = _stamp(tls)
        made = self._made.get(tls)
        if made is None or made[0] != stamp:
            if len(self._made) >= MAX_CONTEXTS:
                self._made.clear()
            made = self._made[tls] = (stamp, _context(tls))
        return made[1]


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls.ca_cert or tls.ca_directory:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authorities = [("vaultCACertPath", tls.ca_cert)] if tls.ca_cert else []
        authorities += [("vaultCADirectory", path) for path in _files(tls.ca_directory)]
        for parameter, path in authorities:
            _trust(context, parameter, path)
    if tls.client_cert:
        _read("vaultTLSClientCertPath", tls.client_cert)
        _read("vaultTLSClientKeyPath", tls.client_key)
        try:
            # With a password, so that OpenSSL does not ask for one on the terminal.
            context.load_cert_chain(tls.client_cert, tls.client_key, password="")
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            raise PreconditionFailed(
                f"vaultTLSClientCertPath {tls.client_cert} and vaultTLSClientKeyPath {tls.client_key} must be a "
                "certificate and its unencrypted key in PEM, in the provider's file system"
            ) from None
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trust(context: ssl.SSLContext, parameter: str, path: str) -> None:
    try:
        # Around the certificates there may be comments in any language.
        context.load_verify_locations(cadata=_read(parameter, path).decode("ascii", "ignore"))
    except (OSError, ValueError):
        raise PreconditionFailed(f"{parameter} {path} has no certificate in PEM") from None


def _read(parameter: str, path: str) -> bytes:
    try:
        # Without blocking on a FIFO or reading a device.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PreconditionFailed(f"{parameter} {path} is not a file")
            contents = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "invalid path"
        raise PreconditionFailed(
            f"{parameter} {path} cannot be read in the provider's file system: {reason}; mount it into its container"
        ) from None
    if len(contents) > MAX_FILE_BYTES:
        raise PreconditionFailed(f"{parameter} {path} is larger than {MAX_FILE_BYTES} bytes: no certificate is")
    return contents


def _files(directory: str) -> list[str]:
    if not directory:
        return []
    try:
        paths = [str(path) for path in sorted(Path(directory).iterdir()) if path.is_file()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "invalid path"
        raise PreconditionFailed(
            f"vaultCADirectory {directory} cannot be read in the provider's file system: {reason}"
        ) from None
    if not 0 < len(paths) <= MAX_FILES:
        raise PreconditionFailed(f"vaultCADirectory {directory} must have 1 to {MAX_FILES} files, of PEM certificates")
    return paths


def _stamp(tls: Tls) -> tuple[float, ...]:
    paths = [tls.ca_cert, tls.ca_directory, tls.client_cert, tls.client_key]
    stamps = []
    for path in filter(None, paths):
        try:
            stamps.append(os.stat(path).st_mtime)
        except (OSError, ValueError):  # reading it will say what is wrong
            stamps.append(0.0)
    return tuple(stamps)

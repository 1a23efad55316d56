"""The certificates and the private key in one file, for Secrets of type ``kubernetes.io/tls``.

``tls.crt`` gets all certificates, in their order; ``tls.key`` gets the last private key: RSA as PKCS#1, EC as SEC1,
others as PKCS#8. A file without PEM is read as PKCS#12 with an empty password. The Go driver does the same, except
that it stores an empty value for a key that it cannot decode; here that is a PreconditionFailed, as all errors are.
Their messages contain nothing of the file.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.errors import PreconditionFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates

CERTIFICATE = "CERTIFICATE"
_LINE = 64
_MARK = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]+)-----")
_HEADER = re.compile(rb"[A-Za-z0-9-]+:")
_NO_KEY = "it has no private key, neither as PEM nor in a PKCS#12 file without password"
_NO_CERTIFICATE = "it has no certificate, neither as PEM nor in a PKCS#12 file without password"


@dataclass(frozen=True)
class Block:
    """One PEM block (https://www.rfc-editor.org/rfc/rfc7468): its label, header lines and DER."""

    label: str
    headers: tuple[bytes, ...]
    der: bytes

    def encoded(self) -> bytes:
        """The block as PEM, with its headers."""
        text = b64encode(self.der)
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        headers = [*self.headers, b""] if self.headers else []
        name = self.label.encode()
        return b"\n".join([b"-----BEGIN " + name + b"-----", *headers, *lines, b"-----END " + name + b"-----", b""])


def certificates(content: bytes) -> bytes:
    """All certificates of a file, as PEM."""
    blocks = list(_blocks(content))
    found = [block for block in blocks if block.label == CERTIFICATE]
    if found:
        return b"".join(block.encoded() for block in found)
    bundle = None if blocks else _bundle(content)
    if bundle is None or bundle.cert is None:
        raise PreconditionFailed(_NO_CERTIFICATE)
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = [bundle.cert, *bundle.additional_certs]
    return b"".join(item.certificate.public_bytes(Encoding.PEM) for item in chain)


def private_key(content: bytes) -> bytes:
    """The last private key of a file as PEM, in the form that most programs can read."""
    blocks = list(_blocks(content))
    keys = [block for block in blocks if block.label.endswith("PRIVATE KEY")]
    if keys:
        return _serialized(_loaded(keys[-1]))
    bundle = None if blocks else _bundle(content)
    if bundle is None or bundle.key is None:
        raise PreconditionFailed(_NO_KEY)
    return _serialized(bundle.key)


def _blocks(content: bytes) -> Iterator[Block]:
    """The blocks of a file. A BEGIN counts only if the next mark is its END, so one pass is enough for any input."""
    begun = None
    for mark in _MARK.finditer(content):
        if begun is not None and mark[1] == b"END" and mark[2] == begun[2]:
            yield _block(mark[2].decode(), content[begun.end() : mark.start()])
        begun = mark if mark[1] == b"BEGIN" else None


def _block(label: str, text: bytes) -> Block:
    lines = [line.strip() for line in text.strip().splitlines()]
    count = next((number for number, line in enumerate(lines) if not _HEADER.match(line)), len(lines))
    try:
        return Block(label, tuple(lines[:count]), b64decode(b"".join(lines[count:]), validate=True))
    except binascii.Error:
        raise PreconditionFailed(f"its PEM block {label} is damaged") from None


def _loaded(block: Block) -> Any:
    encrypted = any(header.startswith(b"Proc-Type:") and b"ENCRYPTED" in header for header in block.headers)
    if encrypted or block.label == "ENCRYPTED PRIVATE KEY":
        raise PreconditionFailed("its private key is encrypted: store it without a passphrase (openssl pkey -in FILE)")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(block.encoded(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PreconditionFailed(
            "its private key cannot be read: it is damaged, or of a kind that is not supported"
        ) from None


def _serialized(key: Any) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    traditional = isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))


def _bundle(content: bytes) -> "PKCS12KeyAndCertificates | None":
    """The file as PKCS#12; None if it is not. An empty password and no password are encoded differently there."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    for password in (b"", None):
        try:
            return load_pkcs12(content, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    return None

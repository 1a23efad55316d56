"""The certificates and the private key in the files of a Secret of type ``kubernetes.io/tls``.

``tls.crt`` gets all certificates of its file: the one that fits the key first, then each one's issuer, as TLS wants
them (https://www.rfc-editor.org/rfc/rfc5246#section-7.4.2), then the others in their order. ``tls.key`` gets the last
private key: RSA as PKCS#1, EC as SEC1, others as PKCS#8. ``ca.crt`` is taken as it is, unless its file has a private
key too, which no other key of the Secret may get. A file without PEM is read as PKCS#12 with an empty password. The Go
driver does the same but for the order, ``ca.crt``, and an empty value that it stores for a key that it cannot decode;
here that is a failure, as all errors are. Their messages contain nothing of the file.

All of this runs in the parser's process (``driver.sync.parser``).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from driver.sync import pem, pkcs12
from driver.sync.pem import Block
from runtime.errors import PreconditionFailed

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CERTIFICATES, KEY, CA = "tls.crt", "tls.key", "ca.crt"
_NO_KEY = "it has no private key, neither as PEM nor in a PKCS#12 file without password"
_NO_CERTIFICATE = "it has no certificate, neither as PEM nor in a PKCS#12 file without password"


class BadPart(PreconditionFailed):
    """A key of the Secret whose file cannot be used."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def preload() -> None:
    """Import what the functions need, while the files of the package can still be read."""
    import cryptography.hazmat.backends.openssl.backend
    import cryptography.hazmat.primitives.asymmetric.ec
    import cryptography.hazmat.primitives.asymmetric.rsa
    import cryptography.hazmat.primitives.serialization.pkcs12
    import cryptography.x509  # noqa: F401  # imported for later


def assemble(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the keys of the Secret get from their files; keys of other names are left out. Raises BadPart."""
    parts = {}
    key = None
    if KEY in files:
        key = _part(KEY, load_key, files[KEY])
        parts[KEY] = _serialized(key)
    if CERTIFICATES in files:
        blocks = list(pem.blocks(_part(CERTIFICATES, certificates, files[CERTIFICATES])))
        loaded = [_certificate(block) for block in blocks]
        if key is not None and not _fits_any(key, loaded):
            raise BadPart(KEY, "it fits no certificate of tls.crt: store the key that belongs to the certificate")
        parts[CERTIFICATES] = b"".join(blocks[number].encoded() for number in _order(loaded, key))
    if CA in files:
        parts[CA] = _part(CA, certificates, files[CA]) if has_private_key(files[CA]) else files[CA]
    return parts


def certificates(content: bytes) -> bytes:
    """All certificates of a file, as PEM, in their order."""
    labels = pem.labels(content)
    found = list(pem.blocks(content, lambda label: label == "CERTIFICATE"))
    if found:
        return b"".join(block.encoded() for block in found)
    bundle = None if labels else pkcs12.load(content)
    if bundle is None or bundle.cert is None:
        raise PreconditionFailed(_NO_CERTIFICATE + pem.hint(content))
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = [bundle.cert, *bundle.additional_certs]
    return b"".join(item.certificate.public_bytes(Encoding.PEM) for item in chain)


def load_key(content: bytes) -> Any:
    """The last private key of a file."""
    labels = pem.labels(content)
    keys = list(pem.blocks(content, lambda label: label.endswith("PRIVATE KEY")))
    if keys:
        return _loaded(keys[-1])
    bundle = None if labels else pkcs12.load(content)
    if bundle is None or bundle.key is None:
        raise PreconditionFailed(_NO_KEY + pem.hint(content))
    return bundle.key


def has_private_key(content: bytes) -> bool:
    """Whether a file has, or may have, a private key beside its certificates: also one that is cut off, encoded once
    more, or without PEM."""
    if pem.mentions(content, "PRIVATE KEY"):
        return True
    if pem.labels(content):
        return False
    if any(pem.mentions(text, "PRIVATE KEY") for text in (pem.without_zeros(content), pem.unwrapped(content))):
        return True
    return any(_is_key_as_der(der) for der in (content, pem.unwrapped(content)))


def _is_key_as_der(content: bytes) -> bool:
    """Whether a file is a private key as DER, or PKCS#12."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        load_der_private_key(content, None)
        return True
    except TypeError:  # it is encrypted
        return True
    except (ValueError, UnsupportedAlgorithm):
        pass
    try:
        return pkcs12.load(content) is not None
    except PreconditionFailed:
        return True  # nobody knows what is in it


def _part(key: str, function: Any, content: bytes) -> Any:
    try:
        return function(content)
    except PreconditionFailed as failure:
        raise BadPart(key, str(failure)) from None


def _loaded(block: Block) -> Any:
    if block.is_encrypted:
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
    """A key as PEM, in the form that most programs can read."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    traditional = isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))


def _fits_any(key: Any, loaded: "Sequence[Certificate | None]") -> bool:
    """Whether a key belongs to one of the certificates; also if one of them cannot be read."""
    wanted = _encoded(key.public_key())
    return any(item is None or _public(item) == wanted for item in loaded)


def _order(loaded: "Sequence[Certificate | None]", key: Any) -> list[int]:
    """The positions of the certificates, the leaf and its issuers first. They keep their order if one cannot be
    read."""
    known = [item for item in loaded if item is not None]
    if len(known) < len(loaded):
        return list(range(len(loaded)))
    chain = [_leaf(known, key)]
    while True:
        issuer = next((item for item in known if item not in chain and _issued(item, chain[-1])), None)
        if issuer is None:
            break
        chain.append(issuer)
    first = [known.index(item) for item in chain]
    return first + [number for number in range(len(known)) if number not in first]


def _leaf(found: "list[Certificate]", key: Any) -> "Certificate":
    """The certificate of the key; without a key, the first one that issued no other."""
    if key is not None:
        wanted = _encoded(key.public_key())
        return next((item for item in found if _public(item) == wanted), found[0])
    issuers = [item for item in found if any(_issued(item, other) for other in found if other != item)]
    return next((item for item in found if item not in issuers), found[0])


def _issued(issuer: "Certificate", item: "Certificate") -> bool:
    """Whether one certificate was signed with the key of the other; names alone may be shared."""
    if issuer.subject != item.issuer or issuer == item:
        return False
    try:
        item.verify_directly_issued_by(issuer)
    except Exception:  # another key, or an algorithm that this OpenSSL does not know
        return False
    return True


def _certificate(block: Block) -> "Certificate | None":
    from cryptography.x509 import load_der_x509_certificate

    try:
        return load_der_x509_certificate(block.der)
    except Exception:  # of many types; the certificate is passed on as it is, as its user may be more lenient
        return None


def _public(item: "Certificate") -> bytes:
    try:
        return _encoded(item.public_key())
    except Exception:  # a kind of key that this OpenSSL does not know
        return b""


def _encoded(public_key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

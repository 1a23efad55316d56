"""Generated secrets: random passwords and self-signed certificates.

They are derived from the process's key, so nothing has to be stored, and the same request has the same result: for all
pods of one class (``scope: class``, so that replicas agree, and a synced Kubernetes Secret has one value) or for one
pod (``scope: pod``). With a rotation period the result changes at each multiple of the period since the epoch; without
one it stays as long as the key does.
"""

import posixpath
import string
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provider_kit import InvalidRequest, MountRequest, Versions
from provider_stub.objects import SecretObject

CLASS_ATTRIBUTE = "secretProviderClass"
MAX_CERTIFICATES = 1024
CERTIFICATE_DAYS = 365
_ALPHABET = string.ascii_letters + string.digits
# The order n of P-256 (NIST SP 800-186, section 3.2.1.3): a private key is a number from 1 to n - 1.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Generator:
    """Generates secrets. Certificates are cached: their signature is random, but the same request must have the same
    result.
    """

    def __init__(self, versions: Versions, now: Callable[[], float] = time.time) -> None:
        self._versions = versions
        self._now = now
        self._pairs: OrderedDict[tuple[str, ...], tuple[bytes, bytes]] = OrderedDict()

    def contents(self, item: SecretObject, request: MountRequest) -> bytes:
        """The content of a generated object now."""
        if item.version:
            raise InvalidRequest(
                f"the generated object {item.name!r} has no versions to choose from: remove objectVersion"
            )
        if item.generate == "password":
            return self._password(self._identity(item, request, item.source), item.length)
        base, ending = posixpath.splitext(item.source)
        if ending not in (".crt", ".key"):
            raise InvalidRequest(
                f"name a generated certificate <name>.crt, and its key <name>.key: {item.name!r} is neither"
            )
        certificate, key = self._pair(self._identity(item, request, base), item)
        return certificate if ending == ".crt" else key

    def _identity(self, item: SecretObject, request: MountRequest, name: str) -> tuple[str, ...]:
        period = item.rotation_period
        interval = str(int(self._now() // period)) if period else ""
        owner = request.pod.uid if item.scope == "pod" else request.attributes.get(CLASS_ATTRIBUTE, "")
        return (request.pod.namespace, item.scope, owner, name, interval)

    def _password(self, identity: tuple[str, ...], length: int) -> bytes:
        # Bytes above the largest multiple of the alphabet's size are skipped: so all characters are equally likely.
        bound = 256 - 256 % len(_ALPHABET)
        characters: list[str] = []
        block = 0
        while len(characters) < length:
            stream = self._versions.derive("password", *identity, str(block))
            characters += [_ALPHABET[byte % len(_ALPHABET)] for byte in stream if byte < bound]
            block += 1
        return "".join(characters[:length]).encode()

    def _pair(self, identity: tuple[str, ...], item: SecretObject) -> tuple[bytes, bytes]:
        cache_key = (*identity, *item.dns_names)
        if cache_key not in self._pairs:
            seed = int.from_bytes(self._versions.derive("certificate", *identity), "big")
            self._pairs[cache_key] = _self_signed(seed % (_P256_ORDER - 1) + 1, item, self._now())
        self._pairs.move_to_end(cache_key)
        while len(self._pairs) > MAX_CERTIFICATES:
            self._pairs.popitem(last=False)
        return self._pairs[cache_key]


def _self_signed(secret: int, item: SecretObject, now: float) -> tuple[bytes, bytes]:
    key = ec.derive_private_key(secret, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, item.dns_names[0])])
    start = datetime.fromtimestamp(now, UTC) - timedelta(minutes=5)  # the clocks of nodes differ
    try:
        names = x509.SubjectAlternativeName([x509.DNSName(entry) for entry in item.dns_names])
    except ValueError:
        raise InvalidRequest(f"dnsNames of {item.name!r} must be ASCII host names, separated by commas") from None
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=CERTIFICATE_DAYS) + timedelta(seconds=2 * item.rotation_period))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private

"""PKCS#12 files without a password (https://www.rfc-editor.org/rfc/rfc7292)."""

import warnings
from typing import TYPE_CHECKING

from driver import limits
from runtime.errors import PreconditionFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates

_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04


def load(content: bytes) -> "PKCS12KeyAndCertificates | None":
    """The file as PKCS#12; None if it is not. Raises PreconditionFailed for one that cannot be opened.

    An empty password and no password are encoded differently there, so both are tried.
    """
    rounds = _mac_rounds(content)
    if rounds > limits.MAX_KEY_DERIVATION_ROUNDS:
        raise PreconditionFailed(
            f"it is a PKCS#12 file with {rounds} rounds of key derivation, and at most "
            f"{limits.MAX_KEY_DERIVATION_ROUNDS} are allowed: export it again"
        )
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    for password in (b"", None):
        try:
            with warnings.catch_warnings():
                # Some programs write BER, of which cryptography says that it will not be read for ever.
                warnings.simplefilter("ignore")
                return load_pkcs12(content, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    if rounds:
        raise PreconditionFailed(
            "it is a PKCS#12 file with a password, or a damaged one: store it without password, or as PEM"
        )
    return None


def _mac_rounds(content: bytes) -> int:
    """The rounds of the key derivation of the file's MAC, which anybody may choose; 0 where there is none.

    PFX ::= SEQUENCE { version INTEGER, authSafe SEQUENCE, macData SEQUENCE { mac SEQUENCE, salt OCTET STRING,
    iterations INTEGER DEFAULT 1 } OPTIONAL }
    """
    try:
        pfx, _ = _value(content, 0, _SEQUENCE)
        _, after = _value(pfx, 0, _INTEGER)
        _, after = _value(pfx, after, _SEQUENCE)
        mac, _ = _value(pfx, after, _SEQUENCE)
        _, after = _value(mac, 0, _SEQUENCE)
        _, after = _value(mac, after, _OCTETS)
        if after == len(mac):
            return 1
        rounds, _ = _value(mac, after, _INTEGER)
    except (IndexError, ValueError):
        return 0
    return int.from_bytes(rounds[:16], "big")


def _value(data: bytes, start: int, tag: int) -> tuple[bytes, int]:
    """The content of the DER value at ``start``, and where it ends."""
    if data[start] != tag:
        raise ValueError("another type")
    length, begin = data[start + 1], start + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("an indefinite or enormous length")
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    if begin + length > len(data):
        raise ValueError("cut off")
    return data[begin : begin + length], begin + length

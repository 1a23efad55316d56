"""Certificates and keys out of PEM and PKCS#12 files of all the kinds that people store."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID

from driver.sync import tls
from runtime.errors import PreconditionFailed

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
NO = NoEncryption()
OPENSSL = shutil.which("openssl")


def pem(key: Any, form: PrivateFormat, encryption: Any = NO) -> bytes:
    """A key as PEM."""
    return bytes(key.private_bytes(Encoding.PEM, form, encryption))


def private_key(content: bytes) -> bytes:
    """What ``tls.key`` gets from a file."""
    return tls.assemble({"tls.key": content})["tls.key"]


def certificate(name: str, key: Any = EC) -> x509.Certificate:
    """A self-signed certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


LEAF, CA = certificate("leaf"), certificate("ca")
LEAF_PEM, CA_PEM = (item.public_bytes(Encoding.PEM) for item in (LEAF, CA))


@pytest.mark.parametrize(
    "key, form, label",
    [
        (RSA, PrivateFormat.PKCS8, "RSA PRIVATE KEY"),
        (RSA, PrivateFormat.TraditionalOpenSSL, "RSA PRIVATE KEY"),
        (EC, PrivateFormat.PKCS8, "EC PRIVATE KEY"),
        (EC, PrivateFormat.TraditionalOpenSSL, "EC PRIVATE KEY"),
        (ED, PrivateFormat.PKCS8, "PRIVATE KEY"),
    ],
    ids=["rsa-8", "rsa-1", "ec-8", "ec-sec1", "ed25519"],
)
def test_keys(key: Any, form: PrivateFormat, label: str) -> None:
    """RSA becomes PKCS#1, EC SEC1, Ed25519 stays PKCS#8; it is the same key."""
    found = private_key(LEAF_PEM + pem(key, form))
    assert found.startswith(f"-----BEGIN {label}-----\n".encode())
    again = load_pem_private_key(found, None)
    assert pem(again, PrivateFormat.PKCS8) == pem(key, PrivateFormat.PKCS8)


def test_the_last_key_counts() -> None:
    """Two keys, an EC PARAMETERS block and text between: the last key is taken."""
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    last = pem(EC, PrivateFormat.TraditionalOpenSSL)
    assert private_key(pem(RSA, PrivateFormat.PKCS8) + b"text\n" + parameters + last + CA_PEM) == last


def test_certificates_keep_their_order() -> None:
    """Text around the blocks is dropped, Windows line ends are, headers are kept."""
    headed = b"-----BEGIN CERTIFICATE-----\nA: b\n\n" + CA_PEM.split(b"\n", 1)[1]
    content = b"subject=x\n" + LEAF_PEM.replace(b"\n", b"\r\n") + pem(EC, PrivateFormat.PKCS8) + headed
    assert tls.certificates(content) == LEAF_PEM + headed


@pytest.mark.parametrize(
    "content",
    [
        pem(RSA, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        pem(RSA, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")),
    ],
    ids=["pkcs8", "traditional"],
)
def test_encrypted_keys_are_refused(content: bytes) -> None:
    """Encrypted keys: never an empty key, but a sentence that says what to store."""
    with pytest.raises(PreconditionFailed, match="is encrypted"):
        private_key(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no PEM",
        LEAF_PEM,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n!secret!\n-----END PRIVATE KEY-----\n",
        b"\x30\x82\x00",
    ],
)
def test_no_key(content: bytes) -> None:
    """Nothing that could be a key: a sentence without anything of the file."""
    with pytest.raises(PreconditionFailed) as failure:
        private_key(content)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("content", [b"", b"no PEM", pem(EC, PrivateFormat.PKCS8)])
def test_no_certificate(content: bytes) -> None:
    """A file without certificate."""
    with pytest.raises(PreconditionFailed, match="no certificate"):
        tls.certificates(content)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tail", [b"", LEAF_PEM], ids=["no-end", "a-certificate-after-all"])
def test_a_million_beginnings(tail: bytes) -> None:
    """A file of nothing but BEGIN lines is read in one pass: nobody can keep the driver busy by what he stores."""
    content = b"-----BEGIN CERTIFICATE-----\n" * 300_000 + tail
    if tail:
        assert tls.certificates(content) == LEAF_PEM
    else:
        with pytest.raises(PreconditionFailed, match="no certificate"):
            tls.certificates(content)


def test_pkcs12() -> None:
    """A modern file without encryption: the leaf first, then the chain; the key."""
    content = serialize_key_and_certificates(b"x", EC, LEAF, [CA], NO)
    assert tls.certificates(content) == LEAF_PEM + CA_PEM
    assert private_key(content) == pem(EC, PrivateFormat.TraditionalOpenSSL)


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
        ["-legacy"],
        ["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"],
    ],
    ids=["modern", "3des", "rc2", "bare"],
)
def test_pkcs12_of_openssl(options: list[str], tmp_path: Path) -> None:
    """What ``openssl pkcs12 -export -passout pass:`` makes, today's and the old kinds."""
    (tmp_path / "all.pem").write_bytes(pem(EC, PrivateFormat.PKCS8) + LEAF_PEM + CA_PEM)
    assert OPENSSL is not None
    made = subprocess.run(
        [
            OPENSSL,
            "pkcs12",
            "-export",
            "-in",
            tmp_path / "all.pem",
            "-out",
            tmp_path / "all.p12",
            "-passout",
            "pass:",
            *options,
        ],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"this openssl cannot make one: {made.stderr.splitlines()[0]}")
    content = (tmp_path / "all.p12").read_bytes()
    assert tls.certificates(content) == LEAF_PEM + CA_PEM
    assert private_key(content) == pem(EC, PrivateFormat.TraditionalOpenSSL)


def test_pkcs12_with_a_password() -> None:
    """It cannot be opened: the sentence says that only files without password can."""
    content = serialize_key_and_certificates(b"x", EC, LEAF, None, BestAvailableEncryption(b"password"))
    with pytest.raises(PreconditionFailed, match="without password"):
        private_key(content)

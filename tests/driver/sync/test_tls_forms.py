"""How people store certificates and keys: the order of chains, folded and damaged files, what a sentence names."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID

from driver.sync import pem as pem_files
from driver.sync import tls
from runtime.errors import PreconditionFailed
from tests.driver.sync.test_tls import ED, NO, RSA, pem, private_key

NOW = datetime.now(UTC)
ROOT_KEY, ISSUING_KEY, LEAF_KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))


def signed(name: str, key: Any, issuer: str, issuer_key: Any) -> bytes:
    """A certificate as PEM."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)


ROOT = signed("root", ROOT_KEY, "root", ROOT_KEY)
ISSUING = signed("issuing", ISSUING_KEY, "root", ROOT_KEY)
LEAF = signed("leaf", LEAF_KEY, "issuing", ISSUING_KEY)
# The same names as the real one, another key: names alone do not make an issuer.
IMPOSTOR = signed("issuing", OTHER_KEY, "root", ROOT_KEY)
UNRELATED = signed("unrelated", OTHER_KEY, "unrelated", OTHER_KEY)
CROSS = signed("root", ROOT_KEY, "unrelated", OTHER_KEY)
KEY = pem(LEAF_KEY, PrivateFormat.PKCS8)
SEC1 = pem(LEAF_KEY, PrivateFormat.TraditionalOpenSSL)
DAMAGED = b"-----BEGIN DH PARAMETERS-----\n!!!not base64!!!\n-----END DH PARAMETERS-----\n"
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (KEY + ISSUING + LEAF, LEAF + ISSUING),
        (ROOT + ISSUING + LEAF, LEAF + ISSUING + ROOT),
        (LEAF + ROOT + ISSUING, LEAF + ISSUING + ROOT),
        (LEAF + ISSUING + ROOT, LEAF + ISSUING + ROOT),
        (UNRELATED + ISSUING + LEAF, LEAF + ISSUING + UNRELATED),
        (IMPOSTOR + LEAF + ISSUING, LEAF + ISSUING + IMPOSTOR),
        (ISSUING + LEAF + LEAF, LEAF + ISSUING + LEAF),
        (CROSS + ROOT + ISSUING + LEAF, LEAF + ISSUING + CROSS + UNRELATED[:0] + ROOT),
        (LEAF, LEAF),
    ],
    ids=["key-first", "reversed", "root-in-between", "right", "stranger", "same-name", "twice", "cross", "alone"],
)
@pytest.mark.parametrize("with_key", [True, False])
def test_the_leaf_comes_first(stored: bytes, wanted: bytes, with_key: bool) -> None:
    """Scenario: a chain in any order, with its key or without. Expected: the leaf, each one's issuer, then the others
    in their order, none lost."""
    files = {"tls.crt": stored, **({"tls.key": KEY} if with_key else {})}
    made = tls.assemble(files)["tls.crt"]
    if stored.count(LEAF) > 1:
        assert made.startswith(LEAF + ISSUING)
    elif CROSS in stored:
        assert made.startswith(LEAF + ISSUING) and ROOT in made and CROSS in made
    elif with_key or UNRELATED not in stored and IMPOSTOR not in stored:
        assert made == wanted
    assert made.count(b"BEGIN") == stored.count(b"BEGIN CERTIFICATE")


@pytest.mark.parametrize("key", [RSA, ED, OTHER_KEY])
def test_a_key_that_fits_no_certificate(key: Any) -> None:
    """Scenario: certificate and key of two different pairs. Expected: a failure of tls.key that says so."""
    with pytest.raises(tls.BadPart, match="fits no certificate") as bad:
        tls.assemble({"tls.crt": LEAF + ISSUING, "tls.key": pem(key, PrivateFormat.PKCS8)})
    assert bad.value.key == "tls.key"


@pytest.mark.parametrize(
    "content",
    [
        DAMAGED + KEY + LEAF,
        KEY + DAMAGED + LEAF,
        EC_PARAMETERS + KEY + LEAF,
        b"Bag Attributes\n    friendlyName: x\n" + KEY + b"subject=CN = leaf\n" + LEAF,
        b"\xef\xbb\xbf" + KEY + LEAF,
        (KEY + LEAF).replace(b"\n", b"\r\n"),
        (KEY + LEAF).replace(b"\n", b" "),
        (KEY + LEAF).replace(b"\n", b""),
        (KEY + LEAF).replace(b"\n", b"\\n"),
        (KEY + LEAF).replace(b"\n", b"\\\\n"),
        (KEY + LEAF).replace(b"\n", b"\\r\\n").replace(b"/", b"\\/"),
        (KEY + LEAF).replace(b"\n", b"\n    "),
        DAMAGED.replace(b"\n", b" ") + (KEY + LEAF).replace(b"\n", b" "),
    ],
    ids=[
        *("dh", "dh-between", "ec", "bags", "bom", "crlf", "spaces", "joined"),
        *("escaped", "escaped-twice", "escaped-slashes", "indented", "dh-folded"),
    ],
)
def test_files_as_people_store_them(content: bytes) -> None:
    """Scenario: other blocks, damaged or not, text, and folded lines. Expected: the pair."""
    assert tls.assemble({"tls.crt": content, "tls.key": content}) == {"tls.crt": LEAF, "tls.key": SEC1}


def test_a_folded_encrypted_key() -> None:
    """Scenario: a key with a passphrase, its line breaks turned into spaces. Expected: a sentence that names it."""
    content = pem(RSA, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))
    for text in (content, content.replace(b"\n", b" ")):
        with pytest.raises(PreconditionFailed, match="encrypted"):
            private_key(text)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"crt": "-----BEGIN"}', "JSON"),
        (b'["x"]', "JSON"),
        (b64encode(serialize_key_and_certificates(b"x", LEAF_KEY, None, None, NO)), "base64"),
        (b64encode(KEY + LEAF), "base64"),
        (serialize_key_and_certificates(b"x", LEAF_KEY, None, None, BestAvailableEncryption(b"pw")), "password"),
        ((KEY + LEAF).decode().encode("utf-16"), "UTF-16"),
        (RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NO), "DER"),
        (serialize_key_and_certificates(b"x", RSA, None, None, NO)[:-9], "DER, or a damaged file"),
        (b"hello", "no private key"),
        (b"", "no private key"),
    ],
)
def test_the_sentence_names_what_is_stored(content: bytes, sentence: str) -> None:
    """Scenario: something else than PEM or PKCS#12 without password. Expected: a sentence that names it."""
    with pytest.raises(PreconditionFailed, match=sentence) as failure:
        private_key(content)
    assert "hello" not in str(failure.value)


@pytest.mark.parametrize("form", ["a line break after it", "padding", "twice", "BER"])
def test_pkcs12_that_is_not_der(form: str) -> None:
    """Scenario: a PKCS#12 file with something after it, or in BER, with an indefinite length, as some programs write
    it. Expected: read like another, without a warning."""
    leaf = x509.load_pem_x509_certificate(LEAF)
    der = serialize_key_and_certificates(b"x", LEAF_KEY, leaf, None, NO)
    assert der[:2] == b"\x30\x82"  # a sequence whose length has two bytes
    content = {
        "a line break after it": der + b"\n",
        "padding": der + bytes(7),
        "twice": der + der,
        "BER": b"\x30\x80" + der[4:] + b"\0\0",
    }[form]
    made = tls.assemble({"tls.crt": content, "tls.key": content})
    assert made["tls.crt"] == LEAF and b"PRIVATE KEY" in made["tls.key"]


@pytest.mark.parametrize("form", ["pem", "folded", "pkcs12", "cut-off", "other-end"])
def test_no_key_lands_in_ca_crt(form: str) -> None:
    """Scenario: ca.crt from an object with certificates and a key, which may be cut off. Expected: certificates."""
    leaf, issuing = (x509.load_pem_x509_certificate(item) for item in (LEAF, ISSUING))
    content = {
        "pem": KEY + ISSUING,
        "folded": (ISSUING + KEY).replace(b"\n", b" "),
        "pkcs12": serialize_key_and_certificates(b"x", LEAF_KEY, leaf, [issuing], NO),
        "cut-off": ISSUING + KEY[: KEY.index(b"-----END")],
        "other-end": ISSUING + KEY.replace(b"END PRIVATE KEY", b"END EC PRIVATE KEY"),
    }[form]
    made = tls.assemble({"ca.crt": content})["ca.crt"]
    assert {block.label for block in pem_files.blocks(made)} == {"CERTIFICATE"} and ISSUING in made
    assert not pem_files.mentions(made, "PRIVATE KEY")


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        serialize_key_and_certificates(b"x", LEAF_KEY, None, None, BestAvailableEncryption(b"pw")),
        LEAF_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NO),
        LEAF_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")),
        b64encode(ROOT + KEY),
        b64encode(LEAF_KEY.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NO)),
        (ROOT + KEY).decode().encode("utf-16"),
    ],
    ids=["alone", "pkcs12-with-password", "der", "der-with-password", "base64", "base64-of-der", "utf-16"],
)
def test_what_may_be_a_key_is_not_ca_crt(content: bytes) -> None:
    """Scenario: ca.crt from an object whose certificates, if any, cannot be told from its key. Expected: a failure."""
    with pytest.raises(tls.BadPart) as bad:
        tls.assemble({"ca.crt": content})
    assert bad.value.key == "ca.crt"


def test_a_ca_bundle_stays_as_it_is() -> None:
    """Scenario: ca.crt from a bundle with comments. Expected: byte for byte."""
    bundle = b"# our CAs\n" + ROOT + b"\n# another\n" + UNRELATED
    assert tls.assemble({"ca.crt": bundle}) == {"ca.crt": bundle}

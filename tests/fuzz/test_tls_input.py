"""Certificates and keys as stores deliver them: valid files put together, cut, repeated, damaged."""

import functools
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from hypothesis import example, given
from hypothesis import strategies as st

from driver import limits
from driver.sync import pem, tls
from driver.sync.parser import frames, worker
from runtime.errors import PreconditionFailed
from tests.driver.sync.test_tls import EC, ED, LEAF_PEM, RSA
from tests.driver.sync.test_tls import LEAF as LEAF_CERTIFICATE
from tests.driver.sync.test_tls import pem as key_pem
from tests.driver.sync.test_tls_forms import DAMAGED, EC_PARAMETERS, ISSUING, KEY, LEAF, ROOT, SEC1, UNRELATED
from tests.fuzz.effort import fuzzed, tally

ENCRYPTED = key_pem(EC, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
PARTS = (
    *(LEAF, ISSUING, ROOT, UNRELATED, LEAF_PEM, KEY, SEC1, EC_PARAMETERS, DAMAGED, ENCRYPTED),
    *(
        key_pem(RSA, PrivateFormat.PKCS8),
        key_pem(RSA, PrivateFormat.TraditionalOpenSSL),
        key_pem(ED, PrivateFormat.PKCS8),
    ),
    *(b"", b"\n", b"text\n", b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"\xef\xbb\xbf", b"\0"),
    *(b"-----BEGIN PRIVATE KEY-----\n", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", b"Subject: x\n"),
    b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
    b"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMA==\n-----END EC PRIVATE KEY-----\n",
)


@functools.cache
def bundles() -> tuple[bytes, ...]:
    """PKCS#12 files."""
    return tuple(
        serialize_key_and_certificates(b"name", key, certificate, None, encryption)
        for key, certificate, encryption in (
            (EC, LEAF_CERTIFICATE, NoEncryption()),
            (None, LEAF_CERTIFICATE, NoEncryption()),
            (EC, None, NoEncryption()),
            (EC, LEAF_CERTIFICATE, BestAvailableEncryption(b"pw")),
        )
    )


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file; perhaps with the line ends of others, folded, cut, or with some bytes changed."""
    if draw(st.integers(0, 4)) == 0:
        data = draw(st.sampled_from(bundles()))
    else:
        data = b"".join(draw(st.lists(st.sampled_from(PARTS), max_size=4)))
    match draw(st.integers(0, 7)):
        case 0:
            data = data.replace(
                b"\n", draw(st.sampled_from([b"\r\n", b" ", b"\\n", b"\\r\\n", b"\t", b"", b"\r", b"\n\n"]))
            )
        case 1:
            data = data[: draw(st.integers(0, len(data)))]
        case 2 | 3 if data:
            changed = bytearray(data)
            for _ in range(draw(st.integers(1, 3))):
                changed[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
            data = bytes(changed)
        case 4:
            at = draw(st.integers(0, len(data)))
            data = data[:at] + draw(st.binary(max_size=8)) + data[at:]
    return data


parts = st.dictionaries(st.sampled_from(["tls.crt", "tls.key", "ca.crt"]), files(), min_size=1)


@pytest.fixture(autouse=True, scope="module")
def few_rounds() -> Any:
    """A damaged PKCS#12 file may ask for so many rounds that it takes seconds; a process of its own limits that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_KEY_DERIVATION_ROUNDS", 20_000)
        yield


@given(found=parts)
@example(found={"tls.crt": LEAF + ISSUING, "tls.key": KEY, "ca.crt": ROOT})
@example(found={"tls.key": KEY + key_pem(RSA, PrivateFormat.PKCS8), "ca.crt": KEY + ROOT})
@fuzzed(250)
def test_files(found: dict[str, bytes]) -> None:
    """Files of any kind as tls.crt, tls.key and ca.crt → what each gets is of its kind, no private key is anywhere but
    in tls.key, and a second time gives the same; or a sentence that contains nothing of a file."""
    tally("certificates and keys")
    reply = worker.answer({"operation": "tls"}, found)
    length = frames.header_length(reply[:4])
    header, sizes = frames.parse_header(reply[4 : 4 + length], len(reply))
    if "error" in header:
        assert 0 < len(header["error"]) < 1024 and header["error"].isprintable() and "BEGIN" not in header["error"]
        assert header["key"] in (*found, "")
        return
    assert sizes.keys() == found.keys()
    made = tls.assemble(found)
    assert {key: len(part) for key, part in made.items()} == sizes
    for key, part in made.items():
        labels = pem.labels(part)
        if key == "tls.crt":
            assert labels and set(labels) == {"CERTIFICATE"}
        elif key == "tls.key":
            assert len(labels) == 1 and labels[0].endswith("PRIVATE KEY")
        else:
            assert not any(label.endswith("PRIVATE KEY") for label in labels)
    assert tls.assemble(made) == made


@given(content=files())
@fuzzed(250)
def test_blocks(content: bytes) -> None:
    """A file of any kind → its blocks, which are the same after they were written and read, or PreconditionFailed."""
    tally("PEM files")
    try:
        blocks = list(pem.blocks(content))
    except PreconditionFailed:
        return
    assert [block.label for block in blocks] == pem.labels(content)
    again = list(pem.blocks(b"".join(block.encoded() for block in blocks)))
    assert [(block.label, block.der) for block in again] == [(block.label, block.der) for block in blocks]

"""Every type of Secret that the Go driver syncs; the API server checks what a type requires."""

import json
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cluster.pki import Authority
from tests.cluster.rig import ClusterRig
from tests.support.syncing import values
from tests.support.waiting import run_async, until_blocking

DOCKER = json.dumps({"auths": {"registry.example": {"auth": "dTpw"}}}).encode()
# Type as written in the class → type of the Secret, keys, content.
TYPES: dict[str, tuple[str, list[str], bytes]] = {
    "Opaque": ("Opaque", ["any.thing"], b"\x00\xff binary"),
    " ": ("Opaque", ["k"], b"v"),
    "kubernetes.io/basic-auth": ("kubernetes.io/basic-auth", ["username", "password"], b"both"),
    "kubernetes.io/ssh-auth": ("kubernetes.io/ssh-auth", ["ssh-privatekey"], b"key"),
    "kubernetes.io/dockerconfigjson": ("kubernetes.io/dockerconfigjson", [".dockerconfigjson"], DOCKER),
    "kubernetes.io/dockercfg": ("kubernetes.io/dockercfg", [".dockercfg"], b"{}"),
    "example.com/own": ("example.com/own", ["k"], b"v"),
}
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KEYS: dict[str, tuple[Key, str]] = {
    "rsa": (rsa.generate_private_key(65537, 2048), "RSA PRIVATE KEY"),
    "ec": (ec.generate_private_key(ec.SECP256R1()), "EC PRIVATE KEY"),
    "ed25519": (ed25519.Ed25519PrivateKey.generate(), "PRIVATE KEY"),
}
PKCS12 = {"modern": [], "legacy": ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]}


def synced(cluster_rig: ClusterRig, kind: str, keys: list[str], content: bytes) -> tuple[str, dict[str, bytes]]:
    """Publish a volume with one file; returns the type and the data of the Secret that is synced from it."""
    data = [{"objectName": "password", "key": key} for key in keys]
    cluster_rig.make_class(secretObjects=[{"secretName": "synced", "type": kind, "data": data}])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            rig.provider.put("password", content)
            await cluster_rig.volume(rig, pod).publish()
            await until_blocking(lambda: cluster_rig.secret("synced") or cluster_rig.events(), "the Secret, or why not")

    run_async(test)
    secret = cluster_rig.secret("synced")
    assert secret is not None, [event["message"] for event in cluster_rig.events()]
    return secret["type"], values(secret) or {}


@pytest.mark.parametrize("kind", TYPES)
def test_types(cluster_rig: ClusterRig, kind: str) -> None:
    """The Secret has the type that the class names, and the file's bytes as values."""
    expected, keys, content = TYPES[kind]
    assert synced(cluster_rig, kind, keys, content) == (expected, dict.fromkeys(keys, content))


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", ["pem", *PKCS12])
def test_certificates(cluster_rig: ClusterRig, tmp_path: Path, kind: str, form: str) -> None:
    """One file with key and certificate, as PEM or PKCS#12 without a password → a pair that a TLS server can load."""
    key, label = KEYS[kind]
    pair = _certificate(key) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    content = pair if form == "pem" else _pkcs12(tmp_path, pair, PKCS12[form])
    made, found = synced(cluster_rig, "kubernetes.io/tls", ["tls.crt", "tls.key"], content)
    assert made == "kubernetes.io/tls" and found["tls.key"].startswith(f"-----BEGIN {label}-----\n".encode())
    for name, value in found.items():
        (tmp_path / name).write_bytes(value)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")


def _certificate(key: Key) -> bytes:
    template = x509.load_pem_x509_certificate(Authority("someone").pem)
    builder = x509.CertificateBuilder(
        template.issuer,
        template.subject,
        key.public_key(),
        template.serial_number,
        template.not_valid_before_utc,
        template.not_valid_after_utc,
    )
    hashed = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, hashed).public_bytes(Encoding.PEM)


def _pkcs12(directory: Path, pair: bytes, options: list[str]) -> bytes:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    (directory / "all.pem").write_bytes(pair)
    subprocess.run(
        [
            openssl,
            "pkcs12",
            "-export",
            "-in",
            directory / "all.pem",
            "-out",
            directory / "all.p12",
            "-passout",
            "pass:",
            *options,
        ],
        check=True,
        capture_output=True,
    )
    return (directory / "all.p12").read_bytes()

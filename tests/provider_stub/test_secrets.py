"""What the stub serves: files of a directory, generated secrets, and its own writing."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provider_stub.running import running
from tests.support.provider_calls import files, mount, refused, versions

PAIR = """
- {objectName: web/tls.crt, generate: certificate, dnsNames: "a.test,b.test"}
- {objectName: web/tls.key, generate: certificate}
"""


def test_files_and_rotation(tmp_path: Path) -> None:
    """Nested files with aliases and modes; a changed file is a new version, an unchanged one is not; versions
    hide the content.
    """

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock", tmp_path) as stub:
            stub.put("db/password", "one")
            stub.put("raw", b"\x00\xff")
            stub.put("raw@v7", "older")
            objects = "- {objectName: db/password, objectAlias: a/b, filePermission: 0400}\n- {objectName: raw}"
            first = await mount(stub.path, objects=objects)
            assert files(first) == {"a/b": b"one", "raw": b"\x00\xff"}
            assert [item.mode for item in first.files] == [0o400, 0o644]
            again = await mount(stub.path, objects=objects)
            assert versions(again) == versions(first)
            stub.put("db/password", "two")
            changed = await mount(stub.path, objects=objects)
            assert files(changed)["a/b"] == b"two"
            assert versions(changed)["db/password"] != versions(first)["db/password"]
            assert versions(changed)["raw"] == versions(first)["raw"]
            pinned = await mount(stub.path, objects="[{objectName: raw, objectVersion: v7}]")
            assert files(pinned) == {"raw": b"older"} and versions(pinned) == {"raw": "v7"}
        async with running(tmp_path / "stub.sock", tmp_path) as other:
            last = await mount(other.path, objects=objects)
            assert versions(last) != versions(changed), "another key, other versions"

    asyncio.run(scenario())


def test_no_escape(tmp_path: Path) -> None:
    """Links inside the directory are followed, links out of it refused; missing, a directory and a FIFO each
    have their code.
    """
    root = tmp_path / "store"
    (root / "dir").mkdir(parents=True)
    (tmp_path / "outside").write_text("outside")
    (root / "inner").write_text("inner")
    (root / "good").symlink_to("inner")
    (root / "bad").symlink_to("../outside")
    (root / "badly").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock", root) as stub:
            assert files(await mount(stub.path, objects="[{objectName: good}]")) == {"good": b"inner"}
            for name, code in [
                ("bad", grpc.StatusCode.PERMISSION_DENIED),
                ("badly/outside", grpc.StatusCode.PERMISSION_DENIED),
                ("missing", grpc.StatusCode.NOT_FOUND),
                ("inner/x", grpc.StatusCode.NOT_FOUND),
                ("dir", grpc.StatusCode.INVALID_ARGUMENT),
                ("fifo", grpc.StatusCode.INVALID_ARGUMENT),
            ]:
                assert repr(name) in await refused(stub.path, code, objects=f"[{{objectName: {name}}}]")
            assert "objects" in await refused(stub.path, grpc.StatusCode.INVALID_ARGUMENT)

    asyncio.run(scenario())


def test_passwords(tmp_path: Path) -> None:
    """One password a class, or one a pod with that scope; it changes with the period's number and not before."""
    moment = 1000.0

    async def scenario() -> None:
        nonlocal moment
        async with running(tmp_path / "stub.sock", now=lambda: moment) as stub:

            async def password(pod: str = "uid-1", **fields: str) -> bytes:
                extra = "".join(f", {key}: {value}" for key, value in fields.items())
                reply = await mount(
                    stub.path,
                    objects=f"[{{objectName: p, generate: password{extra}}}]",
                    **{"csi.storage.k8s.io/pod.uid": pod},
                )
                return files(reply)["p"]

            shared = await password()
            assert len(shared) == 32 and shared.isalnum()
            assert await password("uid-2") == shared
            assert await password(scope="pod") != await password("uid-2", scope="pod")
            assert len(await password(length="100")) == 100
            turning = await password(rotationPeriod="60s")
            moment = 1019.0
            assert await password(rotationPeriod="60s") == turning
            moment = 1021.0
            assert await password(rotationPeriod="60s") != turning
            assert await password() == shared
            await refused(stub.path, grpc.StatusCode.NOT_FOUND, objects="[{objectName: p}]")

    asyncio.run(scenario())


def test_certificates(tmp_path: Path) -> None:
    """tls.crt and tls.key belong together, also when asked for again; the names are those of the class."""

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock") as stub:
            found = files(await mount(stub.path, objects=PAIR))
            certificate = x509.load_pem_x509_certificate(found["web/tls.crt"])
            key = serialization.load_pem_private_key(found["web/tls.key"], None)
            assert isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key()
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == ["a.test", "b.test"]
            certificate.verify_directly_issued_by(certificate)
            assert files(await mount(stub.path, objects=PAIR)) == found
            bad = "[{objectName: tls.pem, generate: certificate}]"
            assert "tls.pem" in await refused(stub.path, grpc.StatusCode.INVALID_ARGUMENT, objects=bad)

    asyncio.run(scenario())


def test_self_writing(tmp_path: Path) -> None:
    """Files appear in the target, the reply has versions only; a change replaces and removes; others' files stay."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "foreign").write_text("keep")

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock", tmp_path) as stub:
            stub.put("a", "one")
            reply = await mount(
                stub.path,
                str(target),
                selfWrite="true",
                objects="[{objectName: a, filePermission: 0400}, {objectName: a, objectAlias: n/b}]",
            )
            assert not reply.files and set(versions(reply)) == {"a"}
            assert (target / "a").read_text() == "one" and (target / "a").stat().st_mode & 0o7777 == 0o400
            assert (target / "n/b").read_text() == "one"
            before = (target / "a").stat().st_ino
            await mount(stub.path, str(target), selfWrite="true", objects="[{objectName: a, filePermission: 0400}]")
            assert (target / "a").stat().st_ino == before, "unchanged content is not written again"
        async with running(tmp_path / "stub.sock", tmp_path) as restarted:
            await mount(restarted.path, str(target), selfWrite="true", objects="[{objectName: a, objectAlias: a/deep}]")
            assert sorted(path.name for path in target.iterdir()) == ["..written", "a", "foreign"]
            assert (target / "a/deep").read_text() == "one"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "kind, code",
    [
        ("missing", grpc.StatusCode.FAILED_PRECONDITION),
        ("link", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_self_writing_needs_a_directory(tmp_path: Path, kind: str, code: grpc.StatusCode) -> None:
    """A target that is not there, or a symlink, is refused and nothing is written."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock", tmp_path) as stub:
            stub.put("a", "one")
            await refused(stub.path, code, str(tmp_path / kind), selfWrite="true", objects="[{objectName: a}]")

    asyncio.run(scenario())
    assert not list((tmp_path / "elsewhere").iterdir())

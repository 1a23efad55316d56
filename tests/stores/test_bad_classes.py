"""Mistakes that only a real server can find: each is a sentence that names the place in the class."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.stores.identities import Issuer, jwt_role
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret, store_rig
from tests.support.waiting import run_async

SECRET = "S3cret-that-nobody-may-see"
LARGE = "x" * (5 * 1024 * 1024)


@pytest.fixture(scope="module")
def wrong(bao: OpenBao) -> OpenBao:
    """The shared server with what these tests need: the role ``wrong``, which may read ``secret/wrong`` and
    ``kv/wrong``, and ``blind``, which may read nothing."""
    bao.put("wrong", password=SECRET)
    bao.put("deleted", password=SECRET)
    bao.call("DELETE", "secret/data/deleted")
    bao.put("destroyed", password=SECRET)
    bao.call("PUT", "secret/destroy/destroyed", {"versions": [1]})
    bao.write("kv/wrong", password=SECRET)
    bao.policy("wrong", "secret/* read", "kv/* read", "nowhere/* read")
    jwt_role(bao, "wrong", "default", "wrong")
    jwt_role(bao, "blind", "default")
    bao.write("sys/auth/unconfigured", type="jwt")
    return bao


PATHS: list[tuple[str, dict[str, Any], str, str]] = [
    ("no such secret", secret("p", "secret/data/absent"), "NOT_FOUND", "secretPath secret/data/absent does not exist"),
    ("no such version", secret("p", "secret/data/wrong?version=9"), "NOT_FOUND", "does not exist with version=9"),
    ("deleted", secret("p", "secret/data/deleted"), "NOT_FOUND", "version 1 was deleted"),
    ("destroyed", secret("p", "secret/data/destroyed"), "NOT_FOUND", "version 1 was destroyed"),
    ("no such key", secret("p", "secret/data/wrong", "pasword"), "NOT_FOUND", "'pasword' is not in secret/data/wrong"),
    ("similar key", secret("p", "secret/data/wrong", "pasword"), "NOT_FOUND", "but it has 'password'"),
    ("no such mount", secret("p", "nowhere/data/wrong"), "NOT_FOUND", "no secrets engine serves it"),
    ("version 1's path", secret("p", "secret/wrong"), "INVALID_ARGUMENT", "write secret/data/wrong"),
    ("version 2's path", secret("p", "kv/data/wrong"), "INVALID_ARGUMENT", "write kv/wrong"),
    ("not base64", secret("p", "kv/wrong", encoding="base64"), "INVALID_ARGUMENT", "is not valid base64"),
    ("not writable", secret("p", "kv/wrong", method="PUT", secretArgs={"a": 1}), "PERMISSION_DENIED", "may not write"),
]


@pytest.mark.parametrize(("item", "code", "words"), [case[1:] for case in PATHS], ids=[case[0] for case in PATHS])
def test_paths(
    tmp_path: Path, wrong: OpenBao, issuer: Issuer, caplog: Any, item: Mapping[str, Any], code: str, words: str
) -> None:
    """An entry of ``objects`` that the server refuses → the entry and what to write; no secret in it or in the log."""
    _expect(tmp_path, wrong, issuer, caplog, item, code, (words, "objects entry 0" if "base64" not in words else "'p'"))


LOGINS: list[tuple[str, dict[str, str], str, str]] = [
    ("no such role", {"roleName": "absent"}, "NOT_FOUND", "correct roleName ('absent')"),
    ("no such auth mount", {"vaultAuthMountPath": "absent"}, "PERMISSION_DENIED", "correct vaultAuthMountPath"),
    ("auth mount without configuration", {"vaultAuthMountPath": "unconfigured"}, "FAILED_PRECONDITION", "config"),
    ("role without rights", {"roleName": "blind"}, "PERMISSION_DENIED", "role 'blind' may not read secret/data/wrong"),
    ("no such namespace", {"vaultNamespace": "absent"}, "NOT_FOUND", "vaultNamespace"),
    ("audience without token", {"audience": "foreign"}, "INVALID_ARGUMENT", "audience 'foreign'"),
]


@pytest.mark.parametrize(
    ("parameters", "code", "words"), [case[1:] for case in LOGINS], ids=[case[0] for case in LOGINS]
)
def test_logins(
    tmp_path: Path, wrong: OpenBao, issuer: Issuer, caplog: Any, parameters: dict[str, str], code: str, words: str
) -> None:
    """A parameter that the server refuses → its name and what to correct; no token or secret in it or in the log."""
    _expect(tmp_path, wrong, issuer, caplog, secret("p", "secret/data/wrong"), code, (words,), **parameters)


def test_tokens(tmp_path: Path, wrong: OpenBao, issuer: Issuer, caplog: Any) -> None:
    """The pod's token has expired, is for a foreign audience or of another issuer → said, and no token is shown."""
    item = secret("p", "secret/data/wrong")
    stranger = Issuer()
    for name, signer, options, words in (
        ("expired", issuer, {"lifetime": -600.0}, "has expired"),
        ("foreign", issuer, {"audience": "foreign"}, "audience in the class"),
        ("stranger", stranger, {}, "does not know the keys of this cluster"),
    ):
        directory = tmp_path / name
        directory.mkdir()
        audience = {"audience": "foreign"} if name == "foreign" else {}
        _expect(directory, wrong, signer, caplog, item, "PERMISSION_DENIED", (words,), volume=options, **audience)


def test_large_secret(tmp_path: Path, wrong: OpenBao, issuer: Issuer, caplog: Any) -> None:
    """A secret of 5 MiB, which no volume can hold → RESOURCE_EXHAUSTED with the entry and the limits."""
    wrong.put("large", password=LARGE)
    item = secret("p", "secret/data/large")
    _expect(tmp_path, wrong, issuer, caplog, item, "RESOURCE_EXHAUSTED", ("objects entry 0", "--max-reply-bytes"))


def _expect(
    directory: Path,
    bao: OpenBao,
    issuer: Issuer,
    caplog: Any,
    item: Mapping[str, Any],
    code: str,
    words: tuple[str, ...],
    *,
    volume: Any = None,
    **parameters: str,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with store_rig(directory, bao, issuer) as rig:
            rig.write_class(item, **{"roleName": "wrong", **parameters})
            failing = rig.volume(**(volume or {}))
            found, sentence = await failing.failure()
            assert found.name == code, sentence
            for part in words:
                assert part in sentence
            token = failing.attributes["csi.storage.k8s.io/serviceAccount.tokens"].split('"')[5]
            assert token.count(".") == 2
            for text in (sentence, caplog.text):
                assert SECRET not in text and token not in text and "hvs." not in text and LARGE[:100] not in text
            # One call of the provider, and few of the server: a mistake is not repeated.
            assert rig.provider.calls == 1

    since = bao.mark()
    run_async(scenario)
    assert bao.mark() - since <= 10

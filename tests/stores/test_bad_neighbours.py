"""Neighbours of the mistakes in ``test_bad_classes``: each is a sentence that names the place in the class, which the
driver shows as it is, after few calls of the real server."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime import redact
from tests.cluster.pki import Authority
from tests.stores.identities import TOKENS, Issuer, jwt_role
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret, store_rig
from tests.support.waiting import run_async

SECRET = "S3cret-of-the-neighbours"
GOOD = secret("password", "secret/data/near")


@dataclass(frozen=True)
class Mistake:
    """What is wrong in the class or with the pod's token, and what is said of it."""

    code: str
    words: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    item: Mapping[str, Any] = field(default_factory=lambda: GOOD)
    token: str = ""


def path(wrong: str, code: str, words: str, key: str = "password", **fields: Any) -> Mistake:
    """A mistake in an entry of ``objects``, which the sentence names."""
    return Mistake(code, f"objects entry 0 ('password'): {words}", item=secret("password", wrong, key, **fields))


VERSION_2, VERSION_1 = "KV version 2, whose paths have data/", "KV version 1, whose paths have no data/"
PATHS = [
    path("secret/data/data/near", "NOT_FOUND", "secretPath secret/data/data/near does not exist"),
    path("secret/near/data", "INVALID_ARGUMENT", f"secretPath secret/near/data: the mount secret/ is {VERSION_2}"),
    path("secret", "INVALID_ARGUMENT", f"secretPath secret: the mount secret/ is {VERSION_2}"),
    path("team/v2/near", "INVALID_ARGUMENT", f"secretPath team/v2/near: the mount team/v2/ is {VERSION_2}"),
    path("team/v1/data/near", "INVALID_ARGUMENT", f"secretPath team/v1/data/near: the mount team/v1/ is {VERSION_1}"),
    path("kv/data/absent", "INVALID_ARGUMENT", f"secretPath kv/data/absent: the mount kv/ is {VERSION_1}"),
    path("secret/metadata/near", "NOT_FOUND", "secretKey 'password' is not in secret/metadata/near"),
    path("secret/data/near?version=abc", "INVALID_ARGUMENT", "secret/data/near refused the call"),
    path("Secret/data/near", "PERMISSION_DENIED", "role 'near' may not read Secret/data/near"),
    path("team/absent", "NOT_FOUND", "secretPath team/absent: no secrets engine serves it"),
    path("secret/data/near", "NOT_FOUND", "secretKey 'Password' is not in secret/data/near, but it has", "Password"),
    path("secret/data/near", "NOT_FOUND", "secretKey 'nested.a' is not in secret/data/near, but it has", "nested.a"),
    path("secret/data/near", "NOT_FOUND", "secretKey 'nothing' has no value in secret/data/near", "nothing"),
    path("kv/near", "NOT_FOUND", "secretKey 'data' is not in kv/near", "data"),
    path("secret/data/near", "PERMISSION_DENIED", "role 'near' may not write", method="PUT", secretArgs={"data": {}}),
    path("database/creds/app", "NOT_FOUND", "secretPath database/creds/app: no secrets engine serves it"),
    path("secret/data/wide", "RESOURCE_EXHAUSTED", "the response has more than"),
    path("broken/creds/app", "UNAVAILABLE", "the secrets engine at broken/creds/app failed"),
]
LOGINS = [
    Mistake("INVALID_ARGUMENT", "correct roleName", {"roleName": "../near"}),
    Mistake("NOT_FOUND", "correct roleName", {"roleName": "near "}),
    Mistake("PERMISSION_DENIED", "must allow the service account default/default", {"roleName": "near-other"}),
    Mistake("PERMISSION_DENIED", "role 'near-claims' must allow", {"roleName": "near-claims"}),
    Mistake("PERMISSION_DENIED", "audience in the class", {"roleName": "near-audience"}),
    Mistake("INVALID_ARGUMENT", "is no Kubernetes or JWT auth method", {"vaultAuthMountPath": "near-approle"}),
    Mistake("INVALID_ARGUMENT", "is no Kubernetes or JWT auth method", {"vaultAuthMountPath": "near-cert"}),
    Mistake("PERMISSION_DENIED", "correct vaultAuthMountPath", {"vaultAuthMountPath": "jwt/login"}),
    Mistake("PERMISSION_DENIED", "could not verify the token", {"vaultAuthMountPath": "near-kubernetes"}),
    Mistake("NOT_FOUND", "correct vaultNamespace ('near team')", {"vaultNamespace": "near team"}),
    Mistake("PERMISSION_DENIED", "or vaultNamespace", {"vaultNamespace": "near"}),
    Mistake("PERMISSION_DENIED", "does not know the keys of this cluster", token="a.b.c"),
    Mistake("PERMISSION_DENIED", "does not know the keys of this cluster", token="no-token"),
    Mistake("INVALID_ARGUMENT", "vaultAddress must not end with /v1", {"vaultAddress": "{url}/v1"}),
    Mistake("FAILED_PRECONDITION", "write http:// in vaultAddress", {"vaultAddress": "{url_with_tls}"}),
]


@pytest.fixture(scope="module")
def near(bao: OpenBao) -> Iterator[OpenBao]:
    """The shared server with what these tests need."""
    bao.put("near", password=SECRET, nested={"a": 1}, nothing=None)
    bao.put("wide", password="\x01" * (3 * 1024 * 1024))
    bao.write("kv/near", password=SECRET)
    for name, version in (("v1", "1"), ("v2", "2")):
        bao.write(f"sys/mounts/team/{name}", type="kv", options={"version": version})
    bao.policy("near", *(f"{mount}/* read" for mount in ("secret", "kv", "team", "database", "broken")))
    jwt_role(bao, "near", "default", "near")
    jwt_role(bao, "near-other", "other", "near")
    jwt_role(bao, "near-claims", "default", "near", bound_claims={"kubernetes.io/namespace": "x"})
    jwt_role(bao, "near-audience", "default", "near", bound_audiences=["foreign"])
    bao.write("sys/auth/near-approle", type="approle")
    bao.write("sys/auth/near-cert", type="cert")
    # Of an API server, and of a database, that are away.
    bao.write("sys/auth/near-kubernetes", type="kubernetes")
    bao.write(
        "auth/near-kubernetes/config",
        kubernetes_host="https://127.0.0.1:1",
        kubernetes_ca_cert=Authority().pem.decode(),
        token_reviewer_jwt=SECRET,
        disable_local_ca_jwt=True,
    )
    bao.write(
        "auth/near-kubernetes/role/near",
        bound_service_account_names=["default"],
        bound_service_account_namespaces=["default"],
    )
    bao.write("sys/mounts/broken", type="database")
    bao.write(
        "broken/config/postgres",
        plugin_name="postgresql-database-plugin",
        connection_url="postgresql://{{username}}:{{password}}@127.0.0.1:1/postgres",
        username="admin",
        password=SECRET,
        allowed_roles=["app"],
        verify_connection=False,
    )
    bao.write("broken/roles/app", db_name="postgres", creation_statements=["CREATE ROLE x"])
    bao.write("sys/namespaces/near")
    yield bao


@pytest.mark.parametrize("mistakes", [PATHS, LOGINS], ids=["paths", "logins"])
def test_neighbours(tmp_path: Path, near: OpenBao, issuer: Issuer, caplog: Any, mistakes: list[Mistake]) -> None:
    """Each mistake → its code and sentence, of which the masking of credentials takes nothing away; no secret and no
    token in it or in the log; one call of the provider, and at most five of the server."""
    caplog.set_level(logging.DEBUG)
    addresses = {"url": near.url, "url_with_tls": near.url.replace("http:", "https:")}

    async def scenario() -> None:
        async with store_rig(tmp_path, near, issuer) as rig:
            for number, mistake in enumerate(mistakes):
                parameters = {name: value.format(**addresses) for name, value in mistake.parameters.items()}
                rig.write_class(mistake.item, name=f"c{number}", **{"roleName": "near", **parameters})
                failing, since = rig.volume(f"p{number}", class_name=f"c{number}"), near.mark()
                if mistake.token:
                    value = {"vault": {"token": mistake.token, "expirationTimestamp": "2036-01-01T00:00:00Z"}}
                    failing.attributes = {**failing.attributes, TOKENS: json.dumps(value)}
                calls = rig.provider.calls
                code, sentence = await failing.failure(60)
                assert code.name == mistake.code and mistake.words in sentence, (mistake, sentence)
                assert redact.text(sentence) == sentence and "***" not in sentence
                token = json.loads(failing.attributes[TOKENS])["vault"]["token"]
                for text in (sentence, caplog.text):
                    assert SECRET not in text and "hvs." not in text
                    assert token not in text or len(token) < 10
                repeated = mistake.code == "UNAVAILABLE"  # the driver calls again
                assert rig.provider.calls - calls <= (3 if repeated else 1)
                assert near.mark() - since <= 10 * (rig.provider.calls - calls)  # a request and a response each

    run_async(scenario, 170)

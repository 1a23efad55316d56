"""Tokens of the store: for whom they are kept, and for how long."""

import asyncio
import base64
import json

import pytest
from aiohttp import web

from provider_kit import InvalidRequest, MountRequest, PermissionDenied
from tests.provider_openbao import clock
from tests.provider_openbao.fake_store import SECRET, TOKENS, contents, errors, failure, fake_store, provider, request
from tests.support.waiting import run_async

LOGIN = "auth/kubernetes/login"


def _jwt(uid: str) -> str:
    claims = json.dumps({"kubernetes.io": {"serviceaccount": {"uid": uid}}}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.signature"


def test_one_login_for_many_pods() -> None:
    """40 pods of a service account at once → one login."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            await asyncio.gather(*(made.mount(request(store, f"pod-{number}")) for number in range(40)))
            assert store.calls[LOGIN] == 1

    run_async(scenario)


@pytest.mark.parametrize(
    "other",
    [
        {"account": "other"},
        {"csi.storage.k8s.io/pod.namespace": "other"},
        {"roleName": "other"},
        {"audience": "vault"},
        {"vaultNamespace": "other"},
        {"vaultSkipTLSVerify": "true"},
        {TOKENS: json.dumps({"vault": {"token": _jwt("created again")}})},
    ],
)
def test_not_shared(other: dict[str, str]) -> None:
    """Two pods that differ in one respect: service account, namespace, role, audience, the store's namespace, TLS, or
    the UID of a service account that was created again → two logins."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            await made.mount(request(store))
            await made.mount(request(store, "pod-2", **other))
            assert store.calls[LOGIN] == 2

    run_async(scenario)


def test_life_of_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token ages → renewed after two thirds of its life; when the server grants little more, a new login."""
    now = clock.installed(monkeypatch)

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            await made.mount(request(store))
            now.pass_(2000)
            await made.mount(request(store))
            assert store.calls["auth/token/renew-self"] == 0
            now.pass_(1000)
            await made.mount(request(store))
            assert (store.calls["auth/token/renew-self"], store.calls[LOGIN]) == (1, 1)
            now.pass_(3000)
            store.life = 60
            await made.mount(request(store))
            assert (store.calls["auth/token/renew-self"], store.calls[LOGIN]) == (2, 2)

    run_async(scenario)


def test_forgotten_token() -> None:
    """The server has forgotten or revoked the token → one new login, and the mount succeeds."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            await made.mount(request(store))

            async def unknown(asked: web.BaseRequest) -> web.StreamResponse:
                return errors(403 if asked.headers["X-Vault-Token"] not in store.tokens else 200)

            store.answers["auth/token/lookup-self"] = unknown
            store.tokens.clear()
            store.tokens.add("somebody else's")
            assert contents(await made.mount(request(store))) == {"password": SECRET.encode()}
            assert store.calls[LOGIN] == 2

    run_async(scenario)


def test_missing_right_is_no_reason_to_log_in() -> None:
    """The role may not read the path, in ten refreshes → no further logins; the sentence names entry, role and path."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:

            async def refuse(_: web.BaseRequest) -> web.StreamResponse:
                return errors(403, "permission denied")

            store.answers["kv/app"] = refuse
            for _ in range(10):
                failed = await failure(made, request(store))
                assert isinstance(failed, PermissionDenied)
                for words in ("objects entry 0 ('password')", "role 'app'", "kv/app"):
                    assert words in str(failed)
            assert store.calls[LOGIN] == 1

    run_async(scenario)


def test_labs() -> None:
    """AppRole and token logins take their credentials from the node publish Secret: present → they are used; missing →
    named; two Secrets → two tokens."""

    def lab(store_url: str, method: str, **secrets: str) -> MountRequest:
        made = request(store_url, vaultAuthMethod=method, roleName="")
        return MountRequest(made.attributes, secrets, made.target_path, made.permission, {})

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            await made.mount(lab(store.url, "approle", role_id="r", secret_id="first-secret"))
            assert store.bodies[0] == ("auth/approle/login", {"role_id": "r", "secret_id": "first-secret"})
            await made.mount(lab(store.url, "approle", role_id="r", secret_id="second-secret"))
            assert store.calls["auth/approle/login"] == 2
            store.tokens.add("given-token")
            await made.mount(lab(store.url, "token", token="given-token"))
            failed = await failure(made, lab(store.url, "approle", role_id="r"))
            assert isinstance(failed, InvalidRequest)
            assert "secret_id is missing" in str(failed) and "nodePublishSecretRef" in str(failed)

    run_async(scenario)

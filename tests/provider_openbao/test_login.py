"""Tokens of the store: for whom they are kept, and for how long."""

import asyncio
import base64
import json

import pytest
from aiohttp import web

from provider_kit import InvalidRequest, MountRequest, NotFound, PermissionDenied, Unavailable
from provider_openbao.client import ATTEMPTS
from runtime import redact
from tests.provider_openbao import clock
from tests.provider_openbao.fake_store import (
    SECRET,
    TOKENS,
    always,
    contents,
    errors,
    failure,
    fake_store,
    provider,
    request,
)
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


@pytest.mark.parametrize("status", [403, 503])
def test_one_failure_for_many_pods(status: int) -> None:
    """40 pods of a service account whose login fails, at once → the calls of one login and not of 40, one after
    another; all get its sentence, and the next pod tries anew."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.answers[LOGIN] = always(status, "no")
            requests = [request(store, f"pod-{number}") for number in range(40)]
            failures = await asyncio.gather(*(failure(made, item) for item in requests))
            assert store.calls[LOGIN] == (1 if status == 403 else ATTEMPTS)
            assert len({str(failed) for failed in failures}) == 1
            del store.answers[LOGIN]
            assert contents(await made.mount(request(store))) == {"password": SECRET.encode()}

    run_async(scenario)


def test_a_caller_gives_up() -> None:
    """The call that began a login is given up → the others get its token; all are given up → it ends with the provider,
    and nothing is logged as lost."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            asked, released = asyncio.Event(), asyncio.Event()

            async def slow(_: web.BaseRequest) -> web.StreamResponse:
                asked.set()
                await released.wait()
                store.tokens.add("slow")
                return web.json_response({"auth": {"client_token": "slow", "lease_duration": 3600}})

            store.answers[LOGIN] = slow
            first = asyncio.create_task(made.mount(request(store)))
            await asked.wait()
            second = asyncio.create_task(made.mount(request(store, "pod-2")))
            await asyncio.sleep(0)
            first.cancel()
            released.set()
            assert contents(await second) == {"password": SECRET.encode()}
            assert store.calls[LOGIN] == 1

            asked.clear()
            released.clear()
            third = asyncio.create_task(made.mount(request(store, account="other")))
            await asked.wait()
            third.cancel()
            await asyncio.gather(first, third, return_exceptions=True)
            assert first.cancelled() and third.cancelled()
            released.set()

    run_async(scenario)


def test_other_auth_methods() -> None:
    """A login with a pod's token at a mount of another auth method, one that fails itself, and what is no store →
    told apart."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            for status, said, kind, words in (
                (500, "missing role_id", InvalidRequest, "is no Kubernetes or JWT auth method"),
                (400, "no client certificate found", InvalidRequest, "is no Kubernetes or JWT auth method"),
                (500, "lookup failed", Unavailable, "the server's log has the details"),
                (404, "namespace not found", NotFound, "correct vaultNamespace ('team')"),
                (400, "error verifying token signature", PermissionDenied, "does not know the keys of this cluster"),
                (400, "missing token", PermissionDenied, "role 'app' must allow"),
                (403, "permission denied", PermissionDenied, "correct vaultAuthMountPath, or vaultNamespace"),
            ):
                store.answers[LOGIN] = always(status, said)
                failed = await failure(made, request(store, vaultNamespace="team"))
                assert type(failed) is kind and words in str(failed), failed
                assert redact.text(failed) == str(failed)

            async def nothing(_: web.BaseRequest) -> web.StreamResponse:
                return web.json_response({})

            store.answers[LOGIN] = nothing
            failed = await failure(made, request(store))
            assert isinstance(failed, InvalidRequest) and "check vaultAddress" in str(failed)

    run_async(scenario)


def test_token_for_labs_is_invalid() -> None:
    """The token of the node publish Secret is not the server's → said, and not that a policy is missing."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            asked = request(store, vaultAuthMethod="token")
            asked = MountRequest(asked.attributes, {"token": "unknown-to-the-store"}, "/t", 0o644, {})
            failed = await failure(made, asked)
            assert isinstance(failed, PermissionDenied)
            assert "does not accept the token" in str(failed) and "unknown-to" not in str(failed)

    run_async(scenario)

"""Mistakes in a class: each is named with its place, before any call is made."""

import pytest
from aiohttp import web

from provider_kit import InvalidRequest, MountRequest
from tests.provider_openbao.fake_store import (
    JWT,
    SECRET,
    TOKENS,
    contents,
    failure,
    fake_store,
    provider,
    request,
)
from tests.support.waiting import run_async

ENTRY = "objectName: password, secretPath: kv/app"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"vaultAddress": ""}, "vaultAddress is missing"),
        ({"vaultAddress": "openbao:8200"}, "vaultAddress must be a URL"),
        ({"vaultAddress": "ftp://openbao:8200"}, "vaultAddress must be a URL"),
        ({"vaultAddress": "http://user:pass@openbao"}, "vaultAddress must be a URL"),
        ({"vaultAddress": "http://openbao:99999"}, "vaultAddress must be a URL"),
        ({"vaultAdress": "http://x"}, "unknown parameter vaultAdress: write vaultAddress"),
        ({"rolename": "app"}, "unknown parameter rolename: write roleName"),
        ({"vaultCaCertPath": "/x"}, "unknown parameter vaultCaCertPath: write vaultCACertPath"),
        ({"roleName": ""}, "roleName is missing"),
        ({"objects": ""}, "objects is missing"),
        ({"objects": "- a: ["}, "objects is not valid YAML"),
        ({"objects": "{}"}, "objects must be a YAML list"),
        ({"objects": "- {secretPath: kv/app}"}, "objects entry 0 has no objectName"),
        ({"objects": "- {objectName: password}"}, "objects entry 0 ('password') has no secretPath"),
        ({"objects": f"- {{{ENTRY}, secretkey: a}}"}, "unknown field secretkey"),
        ({"objects": f"- {{{ENTRY}, method: DELETE}}"}, "method must be one of GET, PUT, POST"),
        ({"objects": f"- {{{ENTRY}, secretArgs: {{ttl: 1h}}}}"}, "secretArgs need method: PUT"),
        ({"objects": f"- {{{ENTRY}, method: PUT, secretArgs: [1]}}"}, "secretArgs must be an object"),
        ({"objects": f"- {{{ENTRY}, method: PUT, secretArgs: {{a: 2026-01-01}}}}"}, "secretArgs must be strings"),
        ({"objects": f"- {{{ENTRY}, encoding: rot13}}"}, "encoding must be one of utf-8, base64, hex"),
        ({"objects": f"- {{{ENTRY}, filePermission: 999}}"}, "filePermission must be octal"),
        ({"objects": f"- {{{ENTRY}}}\n- {{{ENTRY}}}"}, "two objects entries write the file 'password'"),
        ({"objects": "- {objectName: ../x, secretPath: kv/app}"}, "objectName must be a relative path"),
        ({"objects": "- {objectName: x, secretPath: kv/../sys/seal}"}, "secretPath must be a path without .."),
        ({"objects": "- {objectName: x, secretPath: kv/%2e%2e/sys/seal}"}, "secretPath must be a path without .."),
        ({"vaultAuthMountPath": "../sys"}, "vaultAuthMountPath must be a path"),
        ({"vaultAuthMountPath": "%2e%2e/sys"}, "vaultAuthMountPath must be a path"),
        ({"vaultAuthMountPath": "jwt?x"}, "vaultAuthMountPath must be a path such as kubernetes or jwt"),
        (
            {"vaultAuthMountPath": "jwt/login HTTP/1.1\r\nX: y"},
            "vaultAuthMountPath has characters that are not visible",
        ),
        ({"vaultAuthMountPath": "j\0wt"}, "vaultAuthMountPath has characters that are not visible"),
        ({"vaultAuthMountPath": "jwt%zz"}, "write %25"),
        ({"vaultNamespace": "team\r\nX-Vault-Token: x"}, "vaultNamespace has characters that are not visible"),
        ({"vaultNamespace": "te\0am"}, "vaultNamespace has characters that are not visible"),
        ({"vaultTLSServerName": "a..b"}, "vaultTLSServerName must be the name of a host"),
        ({"vaultTLSServerName": "a\0b"}, "vaultTLSServerName must be the name of a host"),
        ({"vaultTLSServerName": "a" * 64}, "vaultTLSServerName must be the name of a host"),
        ({"vaultAddress": "http://a..b:8200"}, "the host in vaultAddress must be the name of a host"),
        ({"vaultAddress": f"http://{'a' * 64}.example"}, "the host in vaultAddress must be the name of a host"),
        ({"vaultAddress": f"http://{'a.' * 127}example"}, "the host in vaultAddress must be the name of a host"),
        ({"vaultAddress": "http://openbao:8200/v1/"}, "must not end with /v1: write http://openbao:8200"),
        ({"vaultAddress": "https://openbao/ui"}, "must not end with /ui: write https://openbao"),
        ({"vaultAddress": "http://openbao:0"}, "vaultAddress must be a URL"),
        ({"vaultAddress": "http://openbao:8200?x=1"}, "without user name, ? and #"),
        ({"objects": "- {objectName: x, secretPath: 'kv/a#b'}"}, "write # as %23"),
        ({"objects": "- {objectName: x, secretPath: 'kv/%zz'}"}, "write %25"),
        ({"objects": "- {objectName: x, secretPath: 'kv/a%0ab'}"}, "secretPath has characters that are not visible"),
        ({"objects": '- {objectName: x, secretPath: "kv/a?b=1\\r\\nX: y"}'}, "characters that are not visible"),
        ({"objects": "- {objectName: x, secretPath: 'kv/a?b=%zz'}"}, "write %25"),
        ({"objects": f"- {{{ENTRY}, method: PUT, secretArgs: {{a: .nan}}}}"}, "secretArgs must be strings"),
        ({"vaultAuthMethod": "ldap"}, "vaultAuthMethod must be one of"),
        ({"vaultAuthMethod": "token"}, "token is missing"),
        ({"vaultSkipTLSVerify": "yes"}, 'vaultSkipTLSVerify must be "true" or "false"'),
        ({"vaultTLSClientCertPath": "/x"}, "belong together"),
        ({"audience": "foreign"}, "no service account token for audience 'foreign'"),
        ({TOKENS: ""}, "add an audience, such as vault, to tokenRequests"),
    ],
)
def test_mistakes(parameters: dict[str, str], words: str) -> None:
    """One parameter is wrong → INVALID_ARGUMENT with a sentence that names it; the server is not called."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            failed = await failure(made, request(store, **parameters))
            assert isinstance(failed, InvalidRequest)
            assert words in str(failed)
            assert JWT not in str(failed)
            assert store.calls.total() == 0

    run_async(scenario)


@pytest.mark.parametrize("secret", ["hvs.a\nb", "hvs.a\r\nX-Y: z", "hvs.\0a"])
def test_token_that_is_none(secret: str) -> None:
    """A token for labs with a line break inside, which would end its header → said, without the token; no call."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            asked = request(store, vaultAuthMethod="token")
            asked = MountRequest(asked.attributes, {"token": secret}, asked.target_path, asked.permission, {})
            failed = await failure(made, asked)
            assert isinstance(failed, InvalidRequest)
            assert "token in the Secret that nodePublishSecretRef names has characters" in str(failed)
            assert "hvs" not in str(failed) and store.calls.total() == 0

    run_async(scenario)


def test_texts_are_quoted() -> None:
    """A mount, a path and arguments with spaces and letters of any language → calls of just these."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            seen: list[str] = []

            async def answer(asked: web.BaseRequest) -> web.StreamResponse:
                seen.append(asked.raw_path if isinstance(asked, web.Request) else str(asked.rel_url))
                return web.json_response({"data": {"password": SECRET}})

            store.answers["kv/schlüssel zwei"] = answer
            objects = (
                "- {objectName: password, secretPath: 'kv/schlüssel zwei?version=1 2&x=%20ü', secretKey: password}"
            )
            asked = request(store, vaultAuthMountPath="team a/jwt", objects=objects)
            assert contents(await made.mount(asked)) == {"password": SECRET.encode()}
            assert store.calls["auth/team a/jwt/login"] == 1
            assert seen == ["/v1/kv/schl%C3%BCssel%20zwei?version=1%202&x=%20%C3%BC"]

    run_async(scenario)


def test_long_names_leave_room_for_the_remedy() -> None:
    """Names of thousands of characters → the sentence shows their beginning, and what to do."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            long = "x" * 5000
            entry = f"- {{objectName: password, secretPath: kv/app, secretKey: {long}}}"
            for parameters, words in (
                ({"objects": entry}, "correct secretKey"),
                ({"objects": f"- {{objectName: password, secretPath: absent/{long}}}"}, "correct secretPath"),
                ({"objects": f"- {{objectName: {long}, secretPath: absent/a}}"}, "correct secretPath"),
            ):
                failed = str(await failure(made, request(store, **parameters)))
                assert words in failed and "xxx…" in failed and len(failed) < 500

    run_async(scenario)

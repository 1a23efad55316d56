"""Mistakes in a class: each is named with its place, before any call is made."""

import pytest

from provider_kit import InvalidRequest
from tests.provider_openbao.fake_store import JWT, TOKENS, failure, fake_store, provider, request
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
        ({"vaultAuthMountPath": "../sys"}, "vaultAuthMountPath must be the path"),
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

"""Without OpenBao the tests are skipped, or fail if ``SECRETS_STORE_REQUIRE_STORES=1``."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.identities import Issuer, enable_jwt
from tests.stores.openbao import OpenBao, program

HERE = Path(__file__).resolve().parent
REQUIRED = "SECRETS_STORE_REQUIRE_STORES"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test's time includes the start of the server, on a machine that may be busy."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="session")
def openbao_program() -> None:
    """Skip or fail if OpenBao is not installed."""
    if not program():
        sentence = "no OpenBao: make test-stores installs it"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """Who signs the pods' tokens."""
    return Issuer()


@pytest.fixture(scope="session")
def bao(openbao_program: None, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """One server that all tests share, with auth/jwt, KV version 2 at secret/ and version 1 at kv/. What a test changes
    is its own: its secrets, roles and policies have names that no other test has."""
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        enable_jwt(server, issuer)
        server.write("sys/mounts/kv", type="kv", options={"version": "1"})
        yield server

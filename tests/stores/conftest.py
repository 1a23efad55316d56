"""Without OpenBao the tests are skipped, or fail if ``SECRETS_STORE_REQUIRE_STORES=1``."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.identities import Issuer, enable_jwt
from tests.stores.moto import PYTHON, Moto, moto_server
from tests.stores.openbao import OpenBao, program
from tests.stores.postgres import Postgres, programs

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
    require(bool(program()), "no OpenBao: make test-stores installs it")


def require(found: bool, sentence: str) -> None:
    """Skip or fail with the ``sentence`` unless a store was ``found``."""
    if found:
        return
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


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """An emulator of AWS that all tests share; skip or fail if it is not installed."""
    require(PYTHON.exists(), "no moto: make test-stores installs it")
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database that all tests share; skip or fail if it is not installed."""
    require(programs() is not None, "no PostgreSQL: .ci/install test installs it (apt-get install postgresql)")
    with Postgres() as server:
        yield server

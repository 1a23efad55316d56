"""Without Helm the tests are skipped, or fail if ``SECRETS_STORE_REQUIRE_CLUSTER`` is set."""

import os

import pytest

from tests.helm import chart


@pytest.fixture(autouse=True, scope="session")
def helm() -> None:
    """Skip or fail if Helm is not built."""
    if not chart.program().is_file():
        text = "Helm is not built: python -m tests.cluster.build helm"
        pytest.fail(text) if os.environ.get("SECRETS_STORE_REQUIRE_CLUSTER") else pytest.skip(text)

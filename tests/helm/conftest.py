"""Skips without Helm, with one line; where the cluster's parts are required it is an error."""

import os

import pytest

from tests.helm import chart


@pytest.fixture(autouse=True, scope="session")
def helm() -> None:
    """The real Helm is there."""
    if not chart.program().is_file():
        text = "Helm is not built: python -m tests.cluster.build helm"
        pytest.fail(text) if os.environ.get("SECRETS_STORE_REQUIRE_CLUSTER") else pytest.skip(text)

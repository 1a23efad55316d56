"""Memory: a role imports the packages of its list and no others."""

import json
from typing import Any

import pytest

from tests.container import imports

REWRITE = "if it is worth its memory, rewrite the list with `python -m tests.container.imports`"
# From one version of a library to the next.
MORE_MODULES = 1.05


@pytest.fixture(scope="module")
def found() -> imports.Found:
    """What the roles import now."""
    return imports.collect()


@pytest.fixture(scope="module")
def listed() -> Any:
    """What they may import."""
    return json.loads(imports.LIST.read_text())


@pytest.mark.parametrize("role", ["driver", "driver, --manifests", "registrar", "probe"])
def test_imports_of_a_role(role: str, found: imports.Found, listed: Any) -> None:
    """A real process after its start and after its first work → no package that is not in its list, and hardly more
    modules."""
    same_python = listed["python"] == imports.python()
    for when in ("at start", "after its first work"):
        added = set(found[role][when]) - set(listed[role][when])
        if not same_python:  # another standard library imports other parts of itself
            added -= imports.STANDARD
        assert not added, f"{role} imports {', '.join(sorted(added))} {when}: {REWRITE}"
    if same_python:
        most = listed[role]["modules"] * MORE_MODULES
        assert found[role]["modules"] <= most, (
            f"{role} imports {found[role]['modules']} modules, listed are {listed[role]['modules']}: {REWRITE}"
        )


@pytest.mark.parametrize(
    "package", ["pydantic", "requests", "dateutil", "cryptography", "kubernetes.aio.client.models"]
)
def test_heavy_packages(package: str, found: imports.Found) -> None:
    """Packages that cost megabytes and that no publish needs are not imported."""
    roles = [role for role, them in found.items() if package in {*them["at start"], *them["after its first work"]}]
    assert not roles

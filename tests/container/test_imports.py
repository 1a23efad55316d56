"""Memory stays won: a role imports what its list says and nothing more."""

import json
from typing import Any

import pytest

from tests.container import imports

REWRITE = "if it is worth its memory, `python -m tests.container.imports` writes the list anew"
# Of one version of a library to the next.
MORE_MODULES = 1.05


@pytest.fixture(scope="module")
def found() -> imports.Found:
    """What the roles import here."""
    return imports.collect()


@pytest.fixture(scope="module")
def listed() -> Any:
    """The list in the tree."""
    return json.loads(imports.LIST.read_text())


@pytest.mark.parametrize("role", ["driver", "driver, --manifests", "registrar", "probe"])
def test_a_role_imports_what_its_list_says(role: str, found: imports.Found, listed: Any) -> None:
    """A real process at its start and after its first work: no package that is not in its list, no crowd of modules
    of one that is."""
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
def test_heavy_packages_stay_out(package: str, found: imports.Found) -> None:
    """Each of these costs a driver megabytes that a publish does not need."""
    roles = [role for role, them in found.items() if package in {*them["at start"], *them["after its first work"]}]
    assert not roles

"""Which tests run in one process of pytest-xdist.

Its marker ``xdist_group`` is meant for this, but has no effect in pytest-xdist 3.8 with pytest 9.2, where a plugin can
no longer change a test's id.
"""

from xdist.scheduler.loadscope import LoadScopeScheduling

# The tests below each of these share a fixture that takes seconds, or is there only once.
TOGETHER = (
    "tests/attacks/test_echoed_secrets.py",
    "tests/attacks/test_neighbours.py",
    "tests/cluster/",
    "tests/container/test_imports.py",
    "tests/kubelet/",
    "tests/supply_chain/test_sbom.py",
    "tests/test_packaging.py",
    "tests/tools/test_kit_distribution.py",
)


class Together(LoadScopeScheduling):  # type: ignore[misc]  # the package is not typed
    """Each test goes to the next process that is free, except those that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((prefix for prefix in TOGETHER if nodeid.startswith(prefix)), nodeid)

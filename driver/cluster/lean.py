"""The ``kubernetes`` package without the sub-packages that nobody here uses.

Its ``__init__`` files import the synchronous client, the dynamic one, the informer, every configuration loader and
pydantic: 21 MiB and 0.4 s, where the asyncio REST client and the in-cluster configuration take 1 MiB and 0.02 s
(docs/performance.md). So the package objects are made without running those files, before anything is imported from
them.
"""

import importlib.machinery
import importlib.util
import sys
from types import ModuleType

_PACKAGES = ("kubernetes", "kubernetes.aio", "kubernetes.aio.config")


def prepare() -> None:
    """Make ``import kubernetes.aio.client.…`` import just that; does nothing if the package was imported already."""
    if "kubernetes" in sys.modules:
        return
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name) if "." not in name else _child_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            return  # an unusual installation: the ordinary import works too
        package = ModuleType(name)
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules[name] = package


def _child_spec(name: str) -> importlib.machinery.ModuleSpec | None:
    parent = sys.modules[name.rpartition(".")[0]]
    return importlib.machinery.PathFinder.find_spec(name, parent.__path__)

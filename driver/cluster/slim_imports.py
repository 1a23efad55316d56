"""The ``kubernetes`` package without what nobody here uses, and TLS without buffers that are too large.

The package's ``__init__`` files import the synchronous client, the dynamic one, the informer, every configuration
loader and pydantic: 17 MiB and 0.2 s of CPU, where the asyncio REST client and the in-cluster configuration take less
than 1 MiB and 0.01 s (docs/performance.md). So the package objects are made without running those files, before
anything is imported from them.
"""

import asyncio.sslproto
import importlib.machinery
import importlib.util
import sys
from types import ModuleType

# A TLS record holds 16 KiB.
TLS_BUFFER = 32 * 1024
_PACKAGES = ("kubernetes", "kubernetes.aio", "kubernetes.aio.config", "kubernetes.aio.utils")


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


def shrink_tls_buffers() -> None:
    """asyncio gives each TLS connection 256 KiB for what it has received, and touches every page: 2 MiB for our
    nine."""
    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER


def _child_spec(name: str) -> importlib.machinery.ModuleSpec | None:
    parent = sys.modules[name.rpartition(".")[0]]
    return importlib.machinery.PathFinder.find_spec(name, parent.__path__)

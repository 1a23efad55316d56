"""Imports of the ``kubernetes`` package without the parts that are not used, and TLS with smaller buffers.

The package's ``__init__`` files import the synchronous client, the dynamic client, the informer, every configuration
loader and pydantic: 17 MiB and 0.2 s of CPU. The asyncio REST client and the in-cluster configuration alone take less
than 1 MiB and 0.01 s (docs/performance.md). So the package objects are created without running those files, before
anything is imported from them.
"""

import asyncio.sslproto
import importlib.machinery
import importlib.util
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# A TLS record holds 16 KiB.
TLS_BUFFER = 32 * 1024
_PACKAGES = ("kubernetes", "kubernetes.aio", "kubernetes.aio.config", "kubernetes.aio.utils")


def prepare() -> None:
    """Make ``import kubernetes.aio.client.…`` import only that; does nothing if the package is imported already."""
    if "kubernetes" in sys.modules:
        return
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name) if "." not in name else _child_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            return  # an unusual installation; the ordinary import works
        package = ModuleType(name)
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules[name] = package


@contextmanager
def no_default_authorities() -> Iterator[None]:
    """TLS contexts that are made inside trust nobody by default: they do not read the system's certificates."""
    # Python's class inherits the method from one in C, so that a name of its own hides it for a while.
    ssl.SSLContext.set_default_verify_paths = _nothing  # type: ignore[assignment]  # removed again below
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths


def _nothing(_: ssl.SSLContext) -> None:
    """No certificates."""


def shrink_tls_buffers() -> None:
    """asyncio allocates, and touches, a receive buffer of 256 KiB for each TLS connection: 2 MiB for nine of them."""
    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER


def _child_spec(name: str) -> importlib.machinery.ModuleSpec | None:
    parent = sys.modules[name.rpartition(".")[0]]
    return importlib.machinery.PathFinder.find_spec(name, parent.__path__)

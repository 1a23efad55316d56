"""What importing the API client imports, in a process of its own."""

import subprocess
import sys

import pytest

from tests.support import unmeasured

# What the package's own __init__ files would import, and the driver has no use for.
HEAVY = ("pydantic", "kubernetes.client", "kubernetes.dynamic", "kubernetes.watch", "yaml", "requests", "urllib3")


def modules_after(statements: str) -> set[str]:
    """The modules of a new interpreter after these statements."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{statements}\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        env=unmeasured.environment(),
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_imports() -> None:
    """Import the transport → the package's REST client, and none of its heavy dependencies."""
    found = modules_after("import driver.cluster.transport")
    assert "kubernetes.aio.client.rest" in found
    assert not [name for name in HEAVY if name in found]


@pytest.mark.parametrize(
    "before",
    [
        "import kubernetes.aio.config",
        "import importlib.util; importlib.util.find_spec, found = lambda _: None, importlib.util.find_spec",
    ],
    ids=["imported already", "an unusual installation"],
)
def test_fallback(before: str) -> None:
    """The whole package was imported before, or cannot be located → the transport works, with more memory."""
    found = modules_after(f"{before}\nimport driver.cluster.transport")
    assert {"kubernetes.aio.client.rest", "driver.cluster.transport"} <= found

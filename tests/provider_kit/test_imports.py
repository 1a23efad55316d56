"""The kit is light, so that it can be installed without the driver."""

import subprocess
import sys

import provider_kit

SCRIPT = """
import sys
import provider_kit
outside = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(*sorted(name for name in outside if not name.startswith("_")))
"""
# gRPC imports typing_extensions, cython_runtime and, where it is installed, grpc_tools.
GRPC = {"cython_runtime", "google", "grpc", "grpc_tools", "typing_extensions"}
ALLOWED = GRPC | {"protos", "provider_kit", "runtime"}


def test_imports() -> None:
    """A process that imports the kit: gRPC and protobuf are its only dependencies."""
    done = subprocess.run([sys.executable, "-I", "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    before = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT.replace("import provider_kit\n", "")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    imported = set(done.stdout.split()) - set(before.stdout.split())
    assert {"grpc", "provider_kit"} <= imported <= ALLOWED


def test_public_names() -> None:
    """The public interface is complete: every listed name exists, and every imported name is listed."""
    names = {name for name in vars(provider_kit) if not name.startswith("_")}
    modules = {name for name in names if f"provider_kit.{name}" in sys.modules}
    assert names - modules == set(provider_kit.__all__)

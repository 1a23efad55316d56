"""The kit's distribution: what is in it, and that an author needs nothing else."""

import asyncio
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from importlib import metadata
from pathlib import Path

import pytest

from tests.support import unmeasured
from tests.support.provider_calls import ROOT, started
from tools.kit_distribution import BUNDLED, DISTRIBUTION, assemble, modules

IMPORTS = re.compile(r"^\s*(?:from|import) (?:runtime|protos|driver|container)\b", re.MULTILINE)


def run(*command: str, cwd: Path) -> str:
    """Run a step, without coverage; its whole output is in the failure."""
    environment = unmeasured.environment(PYTHONPATH="")
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("kit")
    run(sys.executable, "-m", "tools.kit_distribution", str(folder), cwd=ROOT)
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, its dependencies and nothing else: the packages of this
    repository are not in the directory that the dependencies are taken from."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
        cwd=folder,
    )
    [packages] = folder.glob("lib/*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_only_what_is_needed() -> None:
    """The modules that are bundled → those that the kit imports, directly or not; no supervisor."""
    found = {str(path) for path in modules(ROOT)}
    assert {
        "runtime/errors.py",
        "runtime/redact/needles.py",
        "runtime/flags/spec.py",
        "protos/provider_pb2.py",
    } <= found
    assert not [path for path in found if re.search("supervisor|privileges|csi_pb2|registration", path)]


def test_nothing_outside_is_imported(tmp_path: Path) -> None:
    """The tree of the distribution → no module imports a package of the repository that is not in it."""
    assemble(ROOT, tmp_path)
    sources = sorted(tmp_path.rglob("*.py"))
    assert len(sources) > 40
    assert [str(path) for path in sources if IMPORTS.search(path.read_text())] == []
    assert (
        f"'{BUNDLED}.protos.provider_pb2'"
        in (tmp_path / BUNDLED.replace(".", "/") / "protos/provider_pb2.py").read_text()
    )


@pytest.mark.parametrize("line", ["import runtime.errors", "import protos", "    import runtime.logs as logs"])
def test_what_cannot_be_bundled(tmp_path: Path, line: str) -> None:
    """An import that binds the name of a shared package, which has another name in the distribution → refused."""
    for package in ("provider_kit", "provider_conformance", "runtime", "protos"):
        (tmp_path / package).mkdir()
    (tmp_path / "provider_kit" / "bad.py").write_text(f"def f() -> None:\n    pass\n{line}\n")
    with pytest.raises(ValueError, match="bad.py: 'import .* write 'from"):
        assemble(tmp_path, tmp_path / "tree")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_metadata(wheel: Path) -> None:
    """The wheel → the main distribution's version, three dependencies, the command, markers for types."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [name] = [name for name in names if name.endswith("/METADATA")]
        headers = message_from_string(archive.read(name).decode())
        [entries] = [archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")]
    assert (headers["Name"], headers["Version"]) == (DISTRIBUTION, metadata.version("secrets-store-csi"))
    required = {re.split("[>=<]", item)[0]: item.partition(";")[2] for item in headers.get_all("Requires-Dist", [])}
    assert sorted(name for name, extra in required.items() if not extra) == ["PyYAML", "grpcio", "protobuf"]
    assert "metrics" in required["prometheus-client"]
    assert "secrets-store-provider-conformance = provider_conformance.main:main" in entries
    assert {"provider_kit/py.typed", "provider_conformance/py.typed"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "provider_kit",
        "provider_conformance",
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page, parameter", [("docs/providers.md", "names"), ("provider_kit/README.md", "name")])
def test_a_documented_provider(python: Path, tmp_path: Path, page: str, parameter: str) -> None:
    """A provider as it stands in the documentation, where only the wheel is installed → it serves, and passes the
    conformance suite by the installed command; the repository's packages cannot be imported there."""
    block = re.search(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert block is not None
    script, socket = tmp_path / "provider.py", tmp_path / "lab.sock"
    script.write_text(block[1])
    for package in ("runtime", "protos", "driver"):
        done = subprocess.run([python, "-I", "-c", f"import {package}"], capture_output=True, text=True, check=False)
        assert f"No module named '{package}'" in done.stderr
    checks = [str(python.with_name("secrets-store-provider-conformance")), str(socket), "--seconds=60"]
    checks += [f"--parameter={parameter}=user", f"--missing-parameter={parameter}=nobody"]

    async def scenario() -> str:
        environment = unmeasured.environment(SECRET_USER="alice-in-wonderland")
        async with started([str(python), "-I", str(script)], socket, environment):
            return await asyncio.to_thread(run, *checks, cwd=tmp_path)

    assert "24 passed, 0 failed, 1 skipped" in asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_types(python: Path, tmp_path: Path) -> None:
    """mypy --strict, where only the wheel is installed → accepts the documented provider, and finds a wrong type."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs/providers.md").read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "provider.py").write_text(block[1])
    (tmp_path / "wrong.py").write_text("from provider_kit import File\n\nFile('a', 'text')\n")
    command = [sys.executable, "-m", "mypy", "--strict", f"--python-executable={python}", "--cache-dir", os.devnull]
    done = subprocess.run(
        [*command, "provider.py", "wrong.py"],
        cwd=tmp_path,
        env=unmeasured.environment(),
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(r"wrong\.py:3: error: Argument 2 to \"File\".*\nFound 1 error .*\n", done.stdout), done.stdout

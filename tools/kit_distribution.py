"""Builds the distribution `secrets-store-provider-kit`: the kit and the conformance suite, for authors of providers.

python -m tools.kit_distribution            write the wheel and the sdist into build/kit
python -m tools.kit_distribution DIRECTORY  into another directory

The kit is built on parts of `runtime` and `protos`, which an author neither wants nor needs as packages of their own:
names so general collide. The distribution contains those modules that the kit imports, and what they import, below
`provider_kit._bundled`, with their imports changed to match. Which ones these are is read from the sources, and what
the tree then contains is what an sdist contains, too: it needs no compiler for .proto files.
"""

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTION = "secrets-store-provider-kit"
PACKAGES = ("provider_kit", "provider_conformance")
SHARED = ("runtime", "protos")
BUNDLED = "provider_kit._bundled"
REQUIRED = ("grpcio", "protobuf", "PyYAML")
REQUIRED_FOR_METRICS = ("prometheus-client",)
_IMPORT = re.compile(rf"^(\s*(?:from|import) )({'|'.join(SHARED)})\b", re.MULTILINE)
# The generated module tells protobuf its own name.
_OWN_NAME = re.compile(r"'(protos\.\w+_pb2)'")
PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"
description = "Write a provider for the Secrets Store CSI driver in Python, and check any provider"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = "{python}"
dependencies = {dependencies}

[project.optional-dependencies]
metrics = {metrics}

[project.scripts]
secrets-store-provider-conformance = "provider_conformance.main:main"

[tool.setuptools.packages.find]
include = ["provider_kit*", "provider_conformance*"]

[tool.setuptools.package-data]
"*" = ["py.typed", "*.pyi"]
"""


def modules(root: Path) -> list[Path]:
    """The modules of the shared packages that the kit needs, with their packages; paths are relative to ``root``."""
    found: dict[Path, None] = {}
    waiting = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    while waiting:
        for name in _imports(ast.parse(waiting.pop().read_text())):
            for path in _files(root, name):
                if path not in found:
                    found[path] = None
                    waiting.append(root / path)
    return sorted(found)


def _imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names that may be modules of the shared packages, also those imported inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(root: Path, name: str) -> Iterator[Path]:
    """The file of a module, and those of the packages around it; nothing if it is not one of the shared packages."""
    parts = name.split(".")
    if parts[0] not in SHARED:
        return
    for depth in range(1, len(parts) + 1):
        base = Path(*parts[:depth])
        yield from (path for path in (base / "__init__.py", base.with_suffix(".py")) if (root / path).is_file())


def assemble(root: Path, target: Path) -> None:
    """Write the source tree of the distribution into the directory ``target``."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and path.suffix in (".py", ".typed"):
                _copy(path, target / path.relative_to(root))
    bundled = target / Path(*BUNDLED.split("."))
    for module in modules(root):
        _copy(root / module, bundled / module)
        if (root / module).with_suffix(".pyi").is_file():
            _copy((root / module).with_suffix(".pyi"), (bundled / module).with_suffix(".pyi"))
    (bundled / "__init__.py").write_text('"""Parts of the driver that the kit is built on; not an interface."""\n')
    shutil.copy(root / "LICENSE", target)
    shutil.copy(root / "provider_kit" / "README.md", target)
    (target / "pyproject.toml").write_text(_project(root))


def _copy(source: Path, target: Path) -> None:
    """Copy a module, and let it import the bundled modules."""
    text = source.read_text()
    if lone := re.search(rf"^\s*import (?:{'|'.join(SHARED)})\b", text, re.MULTILINE):
        raise ValueError(f"{source}: {lone[0].strip()!r} cannot be bundled: write 'from … import …'")
    text = _OWN_NAME.sub(rf"'{BUNDLED}.\1'", _IMPORT.sub(rf"\1{BUNDLED}.\2", text))
    text = text.replace('DISTRIBUTION = "secrets-store-csi"', f'DISTRIBUTION = "{DISTRIBUTION}"')
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _project(root: Path) -> str:
    """The project file: version, Python and lower bounds are those of the main distribution."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    required = config["options"]["install_requires"].split("\n")
    return PROJECT.format(
        name=DISTRIBUTION,
        version=config["metadata"]["version"],
        python=config["options"]["python_requires"],
        dependencies=_wanted(required, REQUIRED),
        metrics=_wanted(required, REQUIRED_FOR_METRICS),
    )


def _wanted(required: Sequence[str], names: Sequence[str]) -> list[str]:
    return [line for line in required if re.split(r"[>=<]", line)[0] in names]


def main(argv: Sequence[str]) -> int:
    """Build; returns the exit code of the build."""
    out = Path(argv[0] if argv else ROOT / "build" / "kit").resolve()
    with tempfile.TemporaryDirectory() as tree:
        assemble(ROOT, Path(tree))
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), tree]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

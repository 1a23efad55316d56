"""build/secrets-store-csi.tar: small, compiled, nothing of the machine that built it; every part starts; built again it
is the same. test_contents.py says what is in it."""

import hashlib
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from docker.archive import ROOT, Image
from tests.docker.conftest import Chroot
from tests.test_packaging import COMMANDS, KUBELET_STUB, KUBELET_STUB_COMMAND, NOT_DISTRIBUTED, PACKAGES

MOST_BYTES = (64 * 2**20, 96 * 2**20)  # of the base, and of what is beyond it
TOOLS = ("cc", "gcc", "g++", "c99", "clang", "tcc", "as", "ld", "make", "pip", "pip3", "easy_install", "uv")


def test_layers_are_what_the_configuration_says(image: Image) -> None:
    """Each layer has the digest that the configuration names."""
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in image.layers]
    assert digests == image.config["rootfs"]["diff_ids"]


def test_size(image: Image) -> None:
    """Debian's part and ours, a layer each, stay small."""
    sizes = [sum(member.size for member in layer) for layer in image.members]
    print(" and ".join(f"{size / 2**20:.1f} MiB" for size in sizes))
    assert len(sizes) == len(MOST_BYTES)
    assert all(size < most for size, most in zip(sizes, MOST_BYTES, strict=True))


def test_labels_and_entry_point(image: Image) -> None:
    """The labels of the OCI convention; the entry point is the supervisor, no shell before it."""
    for name in ("title", "description", "licenses", "version", "revision", "created", "base.name"):
        assert image.labels[name], name
    assert image.config["config"]["Entrypoint"] == ["/app/bin/secrets-store-csi"]
    assert "Cmd" not in image.config["config"]


def test_bytecode_is_compiled(image: Image) -> None:
    """Every module has its byte code, so that a read-only root costs no start time."""
    sources = [name for name in image.files if name.endswith(".py")]
    assert any(name.endswith("/site-packages/driver/publish/publisher.py") for name in sources)
    assert any(name.endswith("/asyncio/base_events.py") for name in sources)
    compiled = {
        name.replace("/__pycache__/", "/").partition(".cpython-")[0] for name in image.files if name.endswith(".pyc")
    }
    assert [name for name in sources if name.removesuffix(".py") not in compiled] == []


def test_no_compiler_and_no_pip(image: Image) -> None:
    """Neither a compiler nor pip, and no wheel to get pip from; the same in the base."""
    programs = [name for name in image.files if "bin/" in name and name.split("/")[-1] in TOOLS]
    names = [name for name in image.files if name.endswith(".whl") or "/ensurepip/" in name or "-packages/pip/" in name]
    assert programs == []
    assert names == []


def test_no_developers_tool(image: Image) -> None:
    """Our packages and commands are exactly those of the main distribution: no kubelet stub, no demo, no bench, no
    tests; nor a package that only the development environment needs."""
    installed = {
        name.rpartition("/site-packages/")[2].split("/")[0] for name in image.files if "/site-packages/" in name
    }
    assert set(PACKAGES) <= installed
    absent = {KUBELET_STUB, *NOT_DISTRIBUTED, "pytest", "mypy", "ruff", "grpc_tools", "importlinter", "setuptools"}
    assert installed & absent == set()
    programs = {name.removeprefix("app/bin/") for name in image.files if name.startswith("app/bin/")}
    commands = {name for name in programs if not name.startswith("python")}
    assert commands == set(COMMANDS) and KUBELET_STUB_COMMAND not in commands


def test_nothing_of_the_building_machine(image: Image) -> None:
    """No host name, no resolver, no package index and no mirror of the machine that built it."""
    for name, member in image.files.items():
        known = name in ("etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/pip.conf", "etc/apt/sources.list")
        assert not (known and member.size), name
        assert not name.endswith(("/pip.conf", "/direct_url.json")), name
    told = json.dumps(image.config)
    assert socket.gethostname() not in [word.strip('",:/') for word in told.split()]
    assert "index-url" not in told


@pytest.mark.parametrize("command", COMMANDS)
def test_version(image: Image, root: Path, chroot: Chroot, command: str) -> None:
    """--version of each part, from the image's own interpreter and without a shell, is the label's; nothing is written
    beside the program, as nothing could be."""
    before = sorted((root / "app").rglob("*"))
    done = chroot(f"/app/bin/{command}", "--version", SECRETS_STORE_COMMIT=image.labels["revision"])
    assert done.returncode == 0, done.stderr
    assert image.labels["version"] in done.stdout
    assert sorted((root / "app").rglob("*")) == before


@pytest.mark.timeout(660)
def test_a_second_build_is_the_same(image: Image, tmp_path: Path) -> None:
    """Built again from the same tree: the same layers and the same configuration, to the last byte."""
    subprocess.run(
        [ROOT / "docker" / "build.sh"],
        env={**os.environ, "OUTPUT": f"{tmp_path}/again.tar"},
        check=True,
        capture_output=True,
        timeout=600,
    )
    again = Image.read(tmp_path / "again.tar")
    assert again.config == image.config, "make image builds what this tree has"
    assert again.layers == image.layers

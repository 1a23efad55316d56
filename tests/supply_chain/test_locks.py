"""The locks: complete, hashed, of the versions that setup.cfg allows, the same for every architecture."""

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docker import python_lock
from docker.archive import ROOT
from docker.debian_lock import ARCHITECTURES, LOCK, for_architecture, read_lock, read_packages
from docker.python_lock import BUILD, IMAGE, compile_lock, unneeded
from tests.support.locks import pinned

HASH = "sha256:" + "0" * 64


def required() -> list[str]:
    """What our distribution declares."""
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    return [line for line in setup["options"]["install_requires"].splitlines() if line]


def build_required() -> list[str]:
    """What building our wheel needs."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return ["pip", *tomllib.load(file)["build-system"]["requires"]]


@pytest.mark.parametrize(
    ("lock", "requirements"), [(IMAGE, required()), (BUILD, build_required())], ids=["image", "build"]
)
def test_python_lock_satisfies_what_is_declared(lock: Path, requirements: list[str]) -> None:
    """Scenario: a dependency is added or its lower bound raised. Expected: this fails until `make lock`."""
    versions = pinned(lock)
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        assert name in versions, f"{requirement.name} is not locked: make lock"
        assert requirement.specifier.contains(versions[name]), f"{requirement} is locked at {versions[name]}: make lock"


@pytest.mark.parametrize("lock", [IMAGE, BUILD, LOCK], ids=lambda lock: str(lock.name))
def test_every_line_has_a_hash_and_no_address(lock: Path) -> None:
    """Scenario: somebody reads the lock. Expected: a hash for each item, and no index or mirror of whoever wrote it."""
    text = lock.read_text()
    items = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    assert len(items) > 5
    assert [item for item in items if not re.search(r"sha256:[0-9a-f]{64}", item)] == []
    assert not re.search(r"://|index-url|find-links|@ ", text)


def test_unneeded_distributions_are_not_locked() -> None:
    """Scenario: docker/unneeded.txt. Expected: canonical names, none of which is in the image's lock."""
    names = unneeded()
    assert names and [name for name in names if canonicalize_name(name) != name] == []
    assert not set(names) & pinned(IMAGE).keys()


def test_debian_lock_has_every_package_for_every_architecture() -> None:
    """Scenario: a package is added to packages.txt. Expected: this fails until `make lock`."""
    for architecture in ARCHITECTURES:
        names = [package.name for package in for_architecture(read_lock(), architecture)]
        assert sorted(names) == sorted(read_packages()), f"{architecture}: make lock"
    assert "libssl3t64" in names
    assert {package.source for package in read_lock() if package.name == "libssl3t64"} == {"openssl"}


@pytest.mark.parametrize(
    "line",
    [
        f"libc6 amd64 2.41 {HASH}",
        "libc6 amd64 2.41 glibc sha256:12",
        f"libc6 amd64 2.41 glibc {HASH} more",
        f"libc6 amd64 2.41 glibc {HASH.upper()}",
    ],
)
def test_debian_lock_with_a_bad_line(tmp_path: Path, line: str) -> None:
    """Scenario: a lock that was edited by hand. Expected: file, number of the line, and what to do."""
    lock = tmp_path / "debian.lock"
    lock.write_text(f"# comment\n\n{line}\n")
    with pytest.raises(ValueError, match=r"debian.lock:3: .*make lock"):
        read_lock(lock)


def test_debian_lock_for_an_unknown_architecture() -> None:
    """Scenario: a build on a machine that nobody locked for. Expected: an error that names those that are."""
    with pytest.raises(ValueError, match="no package for s390x: it is locked for amd64, arm64"):
        for_architecture(read_lock(), "s390x")


def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A uv that runs ``body``, Python, with the platform in ``platform``."""
    uv = tmp_path / "uv"
    uv.write_text(
        f"#!/usr/bin/env python3\nimport sys\nplatform = sys.argv[sys.argv.index('--python-platform') + 1]\n{body}\n"
    )
    uv.chmod(0o755)
    monkeypatch.setattr(python_lock, "UV", str(uv))


def test_lock_that_differs_between_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: a dependency with another version on arm64. Expected: no lock, as it would fit only one."""
    fake_uv(tmp_path, monkeypatch, "print(f'some=={len(platform)}')")
    with pytest.raises(SystemExit, match="need different distributions"):
        compile_lock("some")


def test_lock_that_cannot_be_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: no wheel for a platform. Expected: uv's own words, and for which platform."""
    fake_uv(tmp_path, monkeypatch, "sys.exit('no wheels' if 'aarch64' in platform else 0)")
    with pytest.raises(SystemExit, match="aarch64-manylinux_2_28: no wheels"):
        compile_lock("some")


def test_lock_leaves_out_what_is_unneeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: `make lock`. Expected: uv gets the requirements on its standard input, and what to leave out."""
    fake_uv(tmp_path, monkeypatch, "print(sys.stdin.read(), [a for a in sys.argv if a.startswith('--no-emit')])")
    assert compile_lock("some>=1", leave_out=["other"]).splitlines()[1:] == ["some>=1 ['--no-emit-package=other']"]

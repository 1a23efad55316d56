"""Debian packages: fetched in the locked version, checked, unpacked in part; no script of theirs runs."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from docker import unpack
from docker.debian_lock import Package

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")

CONTROL = "Package: tool\nVersion: {}\nArchitecture: all\nMaintainer: nobody\nDescription: -\n"

Make = Callable[[str], Path]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of Debian's archive, with an apt-get that downloads from it; the cache is empty."""
    directory, programs = tmp_path / "archive", tmp_path / "bin"
    directory.mkdir()
    programs.mkdir()
    apt = programs / "apt-get"
    apt.write_text(
        f"#!{sys.executable}\nimport glob, shutil, sys\n"
        f"open({str(tmp_path / 'apt.log')!r}, 'a').write(' '.join(sys.argv[-2:]) + chr(10))\n"
        f"if not glob.glob({str(directory)!r}):\n    sys.exit('E: Unable to connect')\n"
        "if 'download' in sys.argv:\n"
        f"    found = glob.glob({str(directory)!r} + '/' + sys.argv[-1].replace('=', '_') + '*.deb')\n"
        "    sys.exit('E: Version was not found') if not found else shutil.copy(found[0], '.')\n"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(unpack, "CACHE", tmp_path / "cache")
    return directory


@pytest.fixture
def make(tmp_path: Path, archive: Path) -> Make:
    """Puts a package of a version into the archive."""

    def build(version: str) -> Path:
        tree = tmp_path / f"tree-{version}"
        for name, content in {
            "DEBIAN/control": CONTROL.format(version),
            "DEBIAN/postinst": "#!/bin/sh\ntouch /ran\n",
            "usr/bin/tool": "program",
            "usr/share/doc/tool/copyright": "MIT",
            "usr/share/doc/tool/changelog.gz": "long",
            "usr/share/doc/tool/credits": "names",
            "usr/share/doc/tool/README": "text",
            "usr/share/man/man1/tool.1": "text",
            "usr/lib/python3.13/test/test_tool.py": "test",
            "usr/lib/python3.13/unittest/test_tool.py": "kept",
            "etc/profile.d/tool.sh": "script",
        }.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(content)
        (tree / "DEBIAN/postinst").chmod(0o755)
        (tree / "usr/bin/tool").chmod(0o750)
        (tree / "usr/bin/alias").symlink_to("tool")
        target = archive / f"tool_{version}.deb"
        subprocess.run(["dpkg-deb", "--build", tree, target], check=True, capture_output=True)
        return target

    return build


def locked(file: Path, version: str) -> Package:
    """The lock's line about a file."""
    return Package("tool", "all", version, "tool", hashlib.sha256(file.read_bytes()).hexdigest())


def test_unpack(tmp_path: Path, make: Make) -> None:
    """Scenario: a package. Expected: its files and links with their modes, but what is for people or shells; no script
    ran; control file and checksums where scanners look."""
    root = tmp_path / "root"
    unpack.unpack(make("1.0"), root)
    files = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    assert files == {
        "usr/bin/tool",
        "usr/bin/alias",
        "usr/share/doc/tool/copyright",
        "usr/lib/python3.13/unittest/test_tool.py",
        "var/lib/dpkg/status.d/tool",
        "var/lib/dpkg/status.d/tool.md5sums",
    }
    assert (root / "usr/bin/tool").stat().st_mode & 0o777 == 0o750
    assert (root / "usr/bin/alias").readlink() == Path("tool")
    assert "Package: tool\nVersion: 1.0\n" in (root / "var/lib/dpkg/status.d/tool").read_text()
    sums = (root / "var/lib/dpkg/status.d/tool.md5sums").read_text()
    assert f"{hashlib.md5(b'program').hexdigest()}  usr/bin/tool\n" in sums and "README" not in sums


def test_fetch(tmp_path: Path, archive: Path, make: Make) -> None:
    """Scenario: the locked version is in the archive, and in the cache the second time. Expected: apt is asked once."""
    package = locked(make("1.0"), "1.0")
    [first] = unpack.fetch([package], strict=True)
    log = (tmp_path / "apt.log").read_text()
    [second] = unpack.fetch([package], strict=True)
    assert first == second and first.read_bytes() == (archive / "tool_1.0.deb").read_bytes()
    assert "download tool=1.0" in log and (tmp_path / "apt.log").read_text() == log


def test_fetch_of_another_file(archive: Path, make: Make) -> None:
    """Scenario: the archive has other bytes under the locked version. Expected: the build ends, strict or not."""
    file = make("1.0")
    package = locked(file, "1.0")
    file.write_bytes(make("1.1").read_bytes())
    for strict in (True, False):
        with pytest.raises(SystemExit, match="tool_1.0.deb is not the file that the lock names"):
            unpack.fetch([package], strict)


def test_fetch_of_a_version_that_is_gone(
    tmp_path: Path, archive: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scenario: a security update has replaced the locked version. Expected: an error that says what to do when strict;
    else the present version, and a warning."""
    old = make("1.0")
    package = locked(old, "1.0")
    old.unlink()
    new = make("1.1")
    with pytest.raises(SystemExit, match="the archive has no tool=1.0: E: Version was not found\n.*make lock"):
        unpack.fetch([package], strict=True)
    [file] = unpack.fetch([package], strict=False)
    assert file.read_bytes() == new.read_bytes()
    assert "tool=1.0 is gone from the archive" in capsys.readouterr().err


def test_fetch_of_a_package_that_is_gone(archive: Path, make: Make) -> None:
    """Scenario: the archive has dropped the package. Expected: an error, strict or not."""
    file = make("1.0")
    package = locked(file, "1.0")
    file.unlink()
    with pytest.raises(SystemExit, match="the archive has no tool: E: Version was not found"):
        unpack.fetch([package], strict=False)


def test_fetch_without_archive(archive: Path, make: Make) -> None:
    """Scenario: apt cannot read the index. Expected: an error that says so, and no traceback."""
    package = locked(make("1.0"), "1.0")
    shutil.rmtree(archive)
    with pytest.raises(SystemExit, match="the index of Debian's archive cannot be read"):
        unpack.fetch([package], strict=True)


def test_certificates(tmp_path: Path) -> None:
    """Scenario: ca-certificates' files. Expected: one bundle in the order of their names, where OpenSSL looks."""
    for name in ("b", "a"):
        file = tmp_path / f"usr/share/ca-certificates/mozilla/{name}.crt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{name}\n")
    for name in ("etc/ssl/certs", "usr/lib"):
        (tmp_path / name).mkdir(parents=True)
    unpack.bundle_authorities(tmp_path)
    assert (tmp_path / "etc/ssl/certs/ca-certificates.crt").read_text() == "a\nb\n"
    assert (tmp_path / "usr/lib/ssl/cert.pem").readlink() == Path("/etc/ssl/certs/ca-certificates.crt")
    assert not (tmp_path / "usr/share/ca-certificates").exists()

"""What is in the image: each file comes from a locked package or distribution, unaltered, or from the short list here;
no shell, no setuid program; everything that our programs import is there."""

import base64
import csv
import hashlib
import re
import stat
import subprocess
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from docker.archive import ROOT, Image
from docker.debian_lock import for_architecture, read_lock, read_packages
from docker.python_lock import IMAGE, unneeded
from docker.sbom import site_packages
from tests.docker.conftest import Chroot
from tests.support.image_page import PAGE
from tests.support.locks import pinned
from tests.test_packaging import PACKAGES

STATUS = "var/lib/dpkg/status.d"
OURS = re.compile(
    rf"""{STATUS}/[^/]+  # what scanners read about Debian's packages
    |etc/ssl/certs/ca-certificates\.crt  # the bundle that ca-certificates would make when it is installed
    |app/pyvenv\.cfg
    |app/crds/[a-z]+\.yaml""",
    re.VERBOSE,
)
# In the standard library but not importable: their C library, or the rest of them, is not in the image.
WITHOUT = {
    *("_bz2", "_curses", "_curses_panel", "_dbm", "_lzma", "_sqlite3", "_uuid", "readline"),
    *("antigravity", "bz2", "curses", "dbm", "lzma", "pydoc_data", "sqlite3", "this", "turtle", "venv"),
    *(
        "_gdbm",
        "_tkinter",
        "ensurepip",
        "idlelib",
        "tkinter",
        "turtledemo",
    ),  # Debian has these in packages of their own
}
OTHER_SYSTEMS = {
    "_ios_support",
    "_osx_support",
    "_overlapped",
    "_scproxy",
    "_winapi",
    "_wmi",
    "msvcrt",
    "nt",
    "winreg",
    "winsound",
}
SHELLS = {"sh", "dash", "bash", "rbash", "ash", "ksh", "zsh", "busybox", "toybox", "perl", "env", "login", "su"}
IMPORT_ALL = """
import importlib, pkgutil, sys
from driver.cluster import slim_imports
slim_imports.prepare()
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
        print(module.name)
"""
IMPORT_STANDARD_LIBRARY = """
import importlib, sys
for name in sorted(sys.stdlib_module_names):
    try:
        importlib.import_module(name)
    except ImportError:
        print(name)
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: main
contexts: [{name: main, context: {cluster: main, user: main}}]
clusters: [{name: main, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: main, user: {token: word}}]
"""


def controls(root: Path) -> Iterator[dict[str, str]]:
    """The control file of each Debian package."""
    for file in sorted((root / STATUS).iterdir()):
        if file.suffix != ".md5sums":
            yield dict(HeaderParser().parsestr(file.read_text()))


def debian_files(root: Path) -> dict[str, str]:
    """MD5 by path of what Debian's packages brought: the only digest that they carry."""
    lines = [line for file in (root / STATUS).glob("*.md5sums") for line in file.read_text().splitlines()]
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def python_files(root: Path) -> dict[str, str]:
    """SHA-256 by path of what the distributions brought; empty where they record none."""
    found = {}
    for record in site_packages(root).glob("*.dist-info/RECORD"):
        for name, digest, _ in csv.reader(record.read_text().splitlines()):
            path = (record.parent.parent / name).resolve().relative_to(root.resolve())
            found[str(path)] = digest.removeprefix("sha256=")
    return found


def newer(version: str, than: str) -> bool:
    """By dpkg's own comparison."""
    done = subprocess.run(["dpkg", "--compare-versions", version, "gt", than], capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def source_of(name: str) -> str:
    """The module that byte code was compiled from."""
    return re.sub(r"__pycache__/(.+)\.cpython-313\.pyc$", r"\1.py", name)


def test_debian_packages_are_the_locked_ones(root: Path) -> None:
    """Exactly the listed packages, in the locked versions; newer ones only where the archive had moved on."""
    installed = {fields["Package"]: fields for fields in controls(root)}
    architecture = installed["libc6"]["Architecture"]
    locked = {package.name: package.version for package in for_architecture(read_lock(), architecture)}
    assert installed.keys() == locked.keys() == read_packages().keys()
    for name, version in locked.items():
        found = installed[name]["Version"]
        if found != version:
            assert newer(found, version), f"{name} {found} is older than the lock's {version}: make image"
            print(f"{name} {found} is newer than the lock's {version}: make lock")


def test_distributions_are_the_locked_ones(image: Image, root: Path) -> None:
    """Exactly those of requirements.lock, in these versions, and ours."""
    installed = {canonicalize_name(item.name): item.version for item in distributions(path=[str(site_packages(root))])}
    assert installed == {**pinned(IMAGE), "secrets-store-csi": image.labels["version"]}
    assert not installed.keys() & set(unneeded())


def test_every_file_has_an_origin(image: Image, root: Path) -> None:
    """Each file is a package's, a distribution's, compiled from one of theirs, or listed; nothing else is in there."""
    own = {str(path.relative_to(ROOT / "docker/rootfs")) for path in (ROOT / "docker/rootfs").rglob("*")}
    known = {*debian_files(root), *python_files(root), *own}
    known |= {str(path.relative_to(root)) for path in root.rglob("*.py") if path.is_symlink()}  # to one of those
    stray = [
        name
        for name, member in image.files.items()
        if member.isreg() and source_of(name) not in known and not OURS.fullmatch(name)
    ]
    assert stray == []


def test_every_file_is_unaltered(root: Path) -> None:
    """The bytes are those that the package or the wheel came with."""
    altered = []
    for name, md5 in debian_files(root).items():
        if (root / name).is_file() and hashlib.md5((root / name).read_bytes()).hexdigest() != md5:
            altered.append(name)
    checked = 0
    for name, sha256 in python_files(root).items():
        if sha256 and (root / name).is_file():
            checked += 1
            digest = hashlib.sha256((root / name).read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != sha256:
                altered.append(name)
    assert checked > 1000
    assert altered == []


def test_links_lead_somewhere(image: Image, chroot: Chroot) -> None:
    """Each symbolic link leads to a file or directory of the image."""
    links = [f"/{name}" for name, member in image.files.items() if member.issym()]
    assert "/usr/lib/ssl/cert.pem" in links
    program = "import os, sys; print([name for name in sys.argv[1:] if not os.path.exists(name)])"
    assert chroot("/usr/bin/python3.13", "-c", program, *links).stdout == "[]\n"


def test_nothing_special(image: Image) -> None:
    """Only files, directories and symbolic links, all root's; nothing setuid, setgid or with capabilities; only
    directories for temporary files are writable for others."""
    for name, member in image.files.items():
        assert member.isreg() or member.isdir() or member.issym(), f"{name} is something else"
        assert (member.uid, member.gid) == (0, 0), f"{name} belongs to {member.uid}:{member.gid}"
        assert not member.mode & (stat.S_ISUID | stat.S_ISGID), f"{name} is setuid or setgid"
        if member.mode & stat.S_IWOTH and not member.issym():
            assert member.isdir() and member.mode & stat.S_ISVTX, f"everybody may write {name}"
        assert not any(key.startswith("SCHILY.xattr.security.") for key in member.pax_headers), (
            f"{name} has capabilities"
        )


def test_no_shell(image: Image, root: Path) -> None:
    """No shell and no other interpreter, whatever its name: each executable is Python, for Python, or a library."""
    assert not {name.rpartition("/")[2] for name in image.files} & SHELLS
    executables = [name for name, member in image.files.items() if member.isreg() and member.mode & 0o111]
    assert "usr/bin/python3.13" in executables
    for name in executables:
        with (root / name).open("rb") as file:
            start = file.readline(80)
        if start.startswith(b"#!"):
            assert re.match(rb"#! ?(/app/bin/python|/usr/bin/env python|/usr/bin/python)3?", start), (
                f"{name}: {start!r}"
            )
        elif start.startswith(b"\x7fELF"):
            assert re.search(r"\.so(\.|$)", name) or name == "usr/bin/python3.13", f"{name} is a program"


def test_python(image: Image, root: Path, chroot: Chroot) -> None:
    """Debian's Python 3.13, which both /app and the byte code are for."""
    done = chroot("/app/bin/python", "-c", "import sys; print(*sys.version_info[:2], sys.executable, sys.base_prefix)")
    assert done.stdout.split() == ["3", "13", "/app/bin/python", "/usr"], done.stderr
    fields = {item["Package"]: item for item in controls(root)}
    assert fields["python3.13-minimal"]["Maintainer"].endswith("debian.org>")
    assert (root / "etc/os-release").read_text().count("VERSION_CODENAME=trixie") == 1


def test_every_library_is_there(image: Image, root: Path, chroot: Chroot) -> None:
    """The loader finds what each program and library is linked with."""
    (loader,) = [name for name in image.files if re.fullmatch(r"usr/lib(64)?/ld-linux[^/]+", name)]
    elves = [
        name for name, member in image.files.items() if member.isreg() and (root / name).read_bytes()[:4] == b"\x7fELF"
    ]
    assert len(elves) > 40
    for name in elves:
        done = chroot(f"/{loader}", "--list", f"/{name}")
        assert done.returncode == 0 and "not found" not in done.stdout, f"{name}: {done.stdout}{done.stderr}"


def test_every_module_of_ours_can_be_imported(chroot: Chroot) -> None:
    """All modules of all our packages: none misses a dependency that docker/unneeded.txt leaves out."""
    done = chroot("/app/bin/python", "-c", IMPORT_ALL, *PACKAGES)
    assert done.returncode == 0, done.stderr
    assert {"driver.main", "driver.cluster.transport", "container.main"} <= set(done.stdout.split())


def test_standard_library(chroot: Chroot) -> None:
    """All of the standard library but what docs/image.md names."""
    done = chroot("/app/bin/python", "-c", IMPORT_STANDARD_LIBRARY)
    missing = set(done.stdout.split()) - OTHER_SYSTEMS
    assert done.returncode == 0, done.stderr
    assert missing == WITHOUT
    assert [name for name in sorted(WITHOUT) if not name.startswith("_") and f"`{name}`" not in PAGE] == []


def test_a_kubeconfig_is_loaded(root: Path, chroot: Chroot) -> None:
    """The one way into the kubernetes package that imports more of it: it gets as far as the connection."""
    (root / "tmp/kubeconfig").write_text(KUBECONFIG)
    done = chroot("/app/bin/secrets-store-csi-crds", "--kubeconfig=/tmp/kubeconfig", "--timeout=2s")
    (root / "tmp/kubeconfig").unlink()
    assert done.returncode != 0
    assert "127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr


def test_certificate_authorities(chroot: Chroot) -> None:
    """OpenSSL finds the public authorities without being told where they are."""
    done = chroot("/app/bin/python", "-c", "import ssl; print(len(ssl.create_default_context().get_ca_certs()))")
    assert int(done.stdout) > 100, done.stderr


@pytest.mark.parametrize("name", ["root", "nobody"])
def test_users(chroot: Chroot, name: str) -> None:
    """The users that programs look up have an entry, and no way to log in."""
    done = chroot("/app/bin/python", "-c", f"import pwd; print(pwd.getpwnam({name!r}).pw_shell)")
    assert done.stdout.strip() == "/usr/sbin/nologin", done.stderr

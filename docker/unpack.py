"""The image's Debian, from the packages that docker/debian.lock names.

    python3 -m docker.unpack DIRECTORY      in the builder's container: apt fetches, dpkg-deb opens

Nothing is installed: no package's scripts run, so neither a shell nor dpkg is needed in there. What each package has
for people, for other programs or for libraries that are left out stays out (EXCLUDED).
Under STRICT=1 a version that the archive no longer has is an error. Otherwise the archive's present one takes its
place, which Debian signed too, and is reported: a security update is a reason to renew the lock, not to build nothing.
"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from docker.debian_lock import Package, apt, for_architecture, read_lock, update

CACHE = Path("/var/cache/image-debs")
# Patterns of paths; what is below an excluded directory is excluded too.
EXCLUDED = (
    # For a shell, a desktop, a package manager, a checker of packages, a reader other than of the licences.
    *(f"usr/share/{name}" for name in ("applications", "base-files", "binfmts", "bug", "dict", "gcc", "gdb", "info")),
    *(f"usr/share/{name}" for name in ("lintian", "man", "misc", "pixmaps", "doc/*/[!c]*", "doc/*/c[!o]*")),
    *(f"etc/{name}" for name in ("default", "dpkg", "host.conf", "issue*", "ld.so.conf.d", "profile.d", "python3*")),
    *("etc/ca-certificates*", "etc/skel", "etc/update-motd.d", "usr/lib/binfmt.d", "usr/sbin/*", "usr/local"),
    *("usr/games", "usr/include", "usr/src", "boot", "home", "media", "mnt", "opt", "srv"),
    *(f"var/{name}" for name in ("backups", "cache", "local", "lock", "log", "mail", "opt", "run")),
    *("var/spool", "var/lib/[!d]*", "var/lib/dpkg"),
    # Of glibc and OpenSSL: converters of character sets, aids for debugging, drivers for hardware, and name services
    # that /etc/nsswitch.conf does not name.
    *(f"usr/lib/*/{name}" for name in ("audit", "engines-3", "gconv", "libBrokenLocale.*", "libc_malloc_debug.*")),
    *(f"usr/lib/*/{name}" for name in ("libmemusage.*", "libnsl.*", "libnss_compat.*", "libnss_hesiod.*")),
    *(f"usr/lib/*/{name}" for name in ("libpcprofile.*", "libthread_db.*")),
    # Of the standard library: tests, programs, and modules whose C library is not in the image.
    *(f"usr/lib/python3*/{name}" for name in ("__hello__.py", "__phello__", "antigravity.py", "curses", "dbm")),
    *(f"usr/lib/python3*/{name}" for name in ("EXTERNALLY-MANAGED", "_distutils_system_mod.py", "pydoc_data")),
    *(f"usr/lib/python3*/{name}" for name in ("sitecustomize.py", "sqlite3", "test", "this.py", "turtle.py", "venv")),
    *(f"usr/lib/python3*/lib-dynload/{name}*" for name in ("_bz2", "_ctypes_test", "_curses", "_dbm", "_lzma")),
    *(f"usr/lib/python3*/lib-dynload/{name}*" for name in ("_sqlite3", "_test", "_uuid", "_xxtest", "readline", "xx")),
)
_AUTHORITIES = "usr/share/ca-certificates"


def main() -> None:
    """Fetch, check and unpack every package."""
    root = Path(sys.argv[1])
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    files = fetch(for_architecture(read_lock(), architecture.stdout.strip()), strict=os.environ.get("STRICT") == "1")
    root.mkdir(parents=True)
    for file in files:
        unpack(file, root)
    bundle_authorities(root)


def fetch(packages: list[Package], strict: bool) -> list[Path]:
    """The .deb files, from the cache or the archive."""
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = {_sha256(file): file for file in CACHE.glob("*.deb")}
    missing = [package for package in packages if package.sha256 not in kept]
    if missing:
        update()
    return [kept.get(package.sha256) or _download(package, strict) for package in packages]


def unpack(file: Path, root: Path) -> None:
    """Write the package's files below root, and what scanners of images read about it: its control file and checksums,
    where images without dpkg have them, in /var/lib/dpkg/status.d."""
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], capture_output=True, check=True).stdout
    sums = []
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            member.name = member.name.removeprefix("./")
            if member.name == "." or _excluded(member.name):
                continue
            if member.isreg():
                data = archive.extractfile(member)
                assert data is not None
                sums.append(f"{hashlib.md5(data.read()).hexdigest()}  {member.name}")
            if not (member.isdir() and (root / member.name).exists()):
                archive.extract(member, root, filter="fully_trusted")
    control = subprocess.run(["dpkg-deb", "--field", file], capture_output=True, text=True, check=True).stdout
    (name,) = [line.removeprefix("Package: ") for line in control.splitlines() if line.startswith("Package: ")]
    status = root / "var/lib/dpkg/status.d"
    status.mkdir(parents=True, exist_ok=True)
    (status / name).write_text(control)
    (status / f"{name}.md5sums").write_text("".join(f"{line}\n" for line in sorted(sums)))


def bundle_authorities(root: Path) -> None:
    """What ca-certificates' own script would do: one file of all certificates, where OpenSSL looks for it."""
    certificates = sorted((root / _AUTHORITIES).rglob("*.crt"))
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.write_text("".join(certificate.read_text() for certificate in certificates))
    (root / "usr/lib/ssl").mkdir()
    (root / "usr/lib/ssl/cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")
    shutil.rmtree(root / _AUTHORITIES)


def _download(package: Package, strict: bool) -> Path:
    wanted = f"{package.name}={package.version}"
    with TemporaryDirectory(dir=CACHE) as directory:
        for name in (wanted, package.name):
            done = subprocess.run(apt("download", name), cwd=directory, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            if strict or name == package.name:
                sys.exit(
                    f"unpack: the archive has no {name}: {done.stderr.strip()}\nunpack: `make lock` renews the lock"
                )
            print(f"unpack: {wanted} is gone from the archive, a newer version is taken: `make lock`", file=sys.stderr)
        (file,) = Path(directory).glob("*.deb")
        if name == wanted and _sha256(file) != package.sha256:
            sys.exit(f"unpack: {file.name} is not the file that the lock names: SHA-256 {_sha256(file)}")
        return file.rename(CACHE / file.name)


def _excluded(name: str) -> bool:
    above = (str(path) for path in (Path(name), *Path(name).parents))
    return any(fnmatch(path, pattern) for path in above for pattern in EXCLUDED)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()

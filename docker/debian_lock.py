"""docker/debian.lock: the Debian packages of the image, each with version and SHA-256 for each architecture.

    python3 -m docker.debian_lock      renews it with what the archive has today (`make lock`)

Run it where apt knows the release that the image is made of: the builder's container is one.
"""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK, PACKAGES = HERE / "debian.lock", HERE / "packages.txt"
ARCHITECTURES = ("amd64", "arm64")
_LISTS = Path("/var/lib/apt/lists")
_SOURCES = Path("/etc/apt/image.list")  # which archive docker/build.sh wants asked, if not the container's own


@dataclass(frozen=True, order=True)
class Package:
    """One package for one architecture; ``all`` is for every one. ``source`` is the package that it was built from, by
    which Debian's security notices name it; ``sha256`` is that of the .deb file."""

    name: str
    architecture: str
    version: str
    source: str
    sha256: str


def read_lock(path: Path = LOCK) -> list[Package]:
    """The lock; raises ValueError with the number of the first line that is not a package."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line and not line.startswith("#"):
            fields = line.split()
            if len(fields) != 5 or not re.fullmatch("sha256:[0-9a-f]{64}", fields[4]):
                raise ValueError(
                    f"{path}:{number}: not 'NAME ARCHITECTURE VERSION SOURCE sha256:HASH': `make lock` renews the file"
                )
            name, architecture, version, source, digest = fields
            found.append(Package(name, architecture, version, source, digest.removeprefix("sha256:")))
    return found


def for_architecture(packages: Iterable[Package], architecture: str) -> list[Package]:
    """Those that an image for this architecture has; raises ValueError if the lock does not know it."""
    found = [package for package in packages if package.architecture in (architecture, "all")]
    if not any(package.architecture == architecture for package in found):
        raise ValueError(f"{LOCK.name} has no package for {architecture}: it is locked for {', '.join(ARCHITECTURES)}")
    return found


def read_packages(path: Path = PACKAGES) -> dict[str, str]:
    """Names of the packages, and each one's licence as an SPDX expression."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: licence.strip() for name, licence in (line.split(maxsplit=1) for line in lines)}


def resolve(name: str) -> set[Package]:
    """What the archive has of a package today, for each architecture."""
    found = set()
    for architecture in ARCHITECTURES:
        record = _show(f"{name}:{architecture}") or _show(name)
        if record.get("Architecture") not in (architecture, "all"):
            raise SystemExit(f"the archive has no {name} for {architecture}: mend {PACKAGES.name}")
        source = record.get("Source", name).split()[0]
        found.add(Package(name, record["Architecture"], record["Version"], source, record["SHA256"]))
    return found


def apt(*arguments: str) -> list[str]:
    """An apt-get command line for all architectures. apt's own sandbox user cannot write into this user's folders."""
    architectures = [f"-oAPT::Architectures::={name}" for name in ARCHITECTURES]
    options = ["-oAPT::Sandbox::User=root", "-oAPT::Update::Error-Mode=any", *architectures]
    if _SOURCES.exists():
        options += [f"-oDir::Etc::SourceList={_SOURCES}", "-oDir::Etc::SourceParts=-"]
    return ["apt-get", "-qq", *options, *arguments]


def update() -> None:
    """Fetch the archive's index; ends the program if that fails, after apt has said why."""
    if subprocess.run(apt("update"), check=False).returncode != 0:
        raise SystemExit("the index of Debian's archive cannot be read: see above; MIRROR names another mirror")


def _show(name: str) -> dict[str, str]:
    """The fields of the package's newest version, without those of more than one line."""
    options = [option for option in apt() if option.startswith("-o")]
    done = subprocess.run(
        ["apt-cache", *options, "show", "--no-all-versions", name], capture_output=True, text=True, check=False
    )
    return dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", done.stdout, re.MULTILINE))


def _releases() -> list[str]:
    """Date of each archive index that was read: with it a snapshot of the archive can be found again."""
    found = []
    for path in sorted(_LISTS.glob("*_InRelease")):
        fields = dict(re.findall(r"^(Codename|Suite|Date): (.*)$", path.read_text(), re.MULTILINE))
        found.append(f"{fields['Codename']} of {fields['Date']}")
    return found


def main() -> None:
    """Write the lock."""
    update()
    packages = sorted({package for name in read_packages() for package in resolve(name)})
    header = ["# Written by `make lock`; docker/packages.txt says which packages, the archive which versions:"]
    header += [f"#   {release}" for release in _releases()]
    lines = [f"{item.name} {item.architecture} {item.version} {item.source} sha256:{item.sha256}" for item in packages]
    LOCK.write_text("\n".join([*header, *lines, ""]))


if __name__ == "__main__":
    main()

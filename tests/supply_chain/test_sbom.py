"""The SBOM of a small file system in an image's shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from docker.archive import Image
from docker.debian_lock import read_lock
from docker.sbom import check, describe

LIBC = next(package for package in read_lock() if package.name == "libc6" and package.architecture == "amd64")
LABELS = {"title": "image", "version": "1.0", "licenses": "Apache-2.0", "created": "2026-01-02T03:04:05Z"}
IMAGE = Image(
    "sha256:0", {"config": {"Labels": {f"org.opencontainers.image.{key}": value for key, value in LABELS.items()}}}, ()
)
INNER = {
    "components": [
        {"name": "openssl", "version": "4.0", "purl": "pkg:generic/openssl@4.0?download_url=file:///home/somebody"},
        {"name": "crate", "version": "1", "licenses": [{"expression": "MIT OR Apache-2.0"}]},
    ]
}


def distribution(root: Path, name: str, licence: str, **more: str) -> None:
    """An installed distribution; ``more`` are further files of its dist-info."""
    info = root / f"app/lib/python3.13/site-packages/{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n")
    for path, content in more.items():
        (info / path).parent.mkdir(exist_ok=True)
        (info / path).write_text(content)
    (info / "RECORD").write_text("".join(f"{info.name}/{path},,\n" for path in ("METADATA", *more)))


def package(root: Path, name: str, version: str) -> None:
    """An unpacked Debian package."""
    directory = root / "var/lib/dpkg/status.d"
    directory.mkdir(parents=True, exist_ok=True)
    text = f"Package: {name}\nSource: glibc (2.41-12)\nVersion: {version}\nArchitecture: amd64\nDescription: -\n more\n"
    (directory / name).write_text(text)
    (directory / f"{name}.md5sums").write_text("")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three distributions and two packages, one of them in another version than the lock's."""
    directory = tmp_path_factory.mktemp("root")
    distribution(directory, "first", "License-Expression: MIT")
    distribution(directory, "supervisor", "License: BSD-derived (http://www.repoze.org/LICENSE.txt)")
    distribution(directory, "carrier", "License-Expression: MIT", **{"sboms/inner.json": json.dumps(INNER)})
    package(directory, "libc6", LIBC.version)
    package(directory, "zlib1g", "9.9")
    return directory


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    """The document."""
    return describe(root, IMAGE)


@pytest.fixture(scope="module")
def components(text: str) -> dict[str, dict[str, Any]]:
    """The document's components, by name."""
    return {item["name"]: item for item in json.loads(text)["components"]}


def test_components(text: str, components: dict[str, dict[str, Any]]) -> None:
    """Scenario: an image. Expected: a valid document with exactly what is in it, and the image as its subject."""
    check(text)
    document = json.loads(text)
    assert components.keys() == {"first", "supervisor", "carrier", "libc6", "zlib1g"}
    subject = document["metadata"]["component"]
    assert (subject["name"], subject["version"], subject["type"]) == ("image", "1.0", "container")
    assert subject["properties"] == [{"name": "image:id", "value": "sha256:0"}]
    [depends] = [item["dependsOn"] for item in document["dependencies"] if item["ref"] == subject["bom-ref"]]
    assert depends == sorted(item["bom-ref"] for item in document["components"])


def test_licences(components: dict[str, dict[str, Any]]) -> None:
    """Scenario: metadata with an expression, without one, and a Debian package. Expected: the expression; the one that
    was looked up; that of packages.txt."""
    assert [item.get("expression") or item["license"]["id"] for item in components["first"]["licenses"]] == ["MIT"]
    assert components["supervisor"]["licenses"][0]["expression"].startswith("LicenseRef-Repoze")
    assert components["libc6"]["licenses"][0]["expression"].startswith("LGPL-2.1-or-later")


def test_debian_package(components: dict[str, dict[str, Any]]) -> None:
    """Scenario: a package in the locked version and one in another. Expected: a purl with the source package, by which
    scanners find notices; the hash of the .deb only where the lock knows it."""
    assert components["libc6"]["purl"].startswith("pkg:deb/debian/libc6@2.41-12")
    assert "distro=debian-13&upstream=glibc" in components["libc6"]["purl"]
    assert components["libc6"]["hashes"] == [{"alg": "SHA-256", "content": LIBC.sha256}]
    assert "hashes" not in components["zlib1g"]


def test_what_is_compiled_in(components: dict[str, dict[str, Any]]) -> None:
    """Scenario: a wheel brings an SBOM of its own. Expected: its components below the distribution's, each with a
    licence, and without paths of the machine that built the wheel."""
    inner = {item["name"]: item for item in components["carrier"]["components"]}
    assert inner["crate"]["licenses"][0]["expression"] == "MIT OR Apache-2.0"
    assert inner["openssl"]["licenses"][0]["expression"] == "Apache-2.0"
    assert inner["openssl"]["purl"] == "pkg:generic/openssl@4.0"


def test_the_same_image_gives_the_same_document(root: Path, text: str) -> None:
    """Scenario: made twice. Expected: no difference, and the image's date."""
    assert describe(root, IMAGE) == text
    assert json.loads(text)["metadata"]["timestamp"].startswith("2026-01-02T03:04:05")


def test_unlisted_package(tmp_path: Path) -> None:
    """Scenario: a Debian package without a licence in packages.txt. Expected: no document, and the package's name."""
    package(tmp_path, "libodd1", "1")
    with pytest.raises(LookupError, match="libodd1"):
        describe(tmp_path, IMAGE)


@pytest.mark.parametrize(
    "document", ["{}", '{"bomFormat": "CycloneDX"}', '{"bomFormat": "SPDX", "specVersion": "1.6"}']
)
def test_invalid_document(document: str) -> None:
    """Scenario: not CycloneDX. Expected: refused by the schema."""
    with pytest.raises(ValueError, match="not a valid CycloneDX document"):
        check(document)

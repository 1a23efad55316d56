"""build/secrets-store-csi.cdx.json is about the built image: everything that is in it, nothing else, all licensed."""

import json
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from docker.archive import ARCHIVE, Image
from docker.sbom import check, describe, site_packages
from tests.support.image_page import table


@pytest.fixture(scope="module")
def document(image: Image) -> dict[str, Any]:
    """The document beside the image."""
    path = ARCHIVE.with_suffix(".cdx.json")
    assert path.exists(), "no SBOM: make image"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def licences(component: dict[str, Any]) -> list[str]:
    """A component's licences, as expressions or identifiers."""
    found = [item.get("expression") or item["license"].get("id", "") for item in component.get("licenses", [])]
    return [licence for licence in found if licence]


def nested(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All components, inner ones included."""
    for component in components:
        yield component
        yield from nested(component.get("components", []))


def test_it_is_about_this_image(image: Image, document: dict[str, Any]) -> None:
    """It names the image's ID and version."""
    subject = document["metadata"]["component"]
    assert subject["properties"] == [{"name": "image:id", "value": image.id}], "make image"
    assert subject["version"] == image.labels["version"]


def test_it_is_valid(document: dict[str, Any]) -> None:
    """Against the schema of CycloneDX."""
    check(json.dumps(document))


def test_it_is_the_same_again(image: Image, root: Path) -> None:
    """Made again from the same image: the same, to the last byte."""
    assert describe(root, image) == ARCHIVE.with_suffix(".cdx.json").read_text()


def test_it_lists_what_is_in_the_image(root: Path, document: dict[str, Any]) -> None:
    """Every distribution and every Debian package with its version, and nothing else."""
    in_image: set[tuple[str, str]] = {
        (canonicalize_name(item.name), item.version) for item in distributions(path=[str(site_packages(root))])
    }
    for file in (root / "var/lib/dpkg/status.d").iterdir():
        if file.suffix != ".md5sums":
            fields = dict(line.split(": ", 1) for line in file.read_text().splitlines() if ": " in line)
            in_image.add((fields["Package"], fields["Version"]))
    listed = [
        (name if item.get("purl", "").startswith("pkg:deb/") else canonicalize_name(name), item["version"])
        for item in document["components"]
        for name in [item["name"]]
    ]
    assert sorted(listed) == sorted(in_image)


def test_everything_has_a_licence(document: dict[str, Any]) -> None:
    """What is in the image and what is compiled into that; as SPDX has it, so that a program can judge it."""
    assert [item["name"] for item in nested(document["components"]) if not licences(item)] == []


def test_the_page_has_the_same_licences(document: dict[str, Any]) -> None:
    """docs/image.md."""
    rows = {**table("Debian packages"), **table("Python distributions")}
    names = {
        item["name"] if item["name"] in rows else canonicalize_name(item["name"]): item
        for item in document["components"]
    }
    del names["secrets-store-csi"]
    assert {name: " AND ".join(licences(item)) for name, item in names.items()} == {
        name: licence for name, (licence, _) in rows.items()
    }


def test_licence_texts_are_in_the_image(root: Path) -> None:
    """A text for each: Debian's copyright file, or a file of the distribution's dist-info."""
    for file in (root / "var/lib/dpkg/status.d").iterdir():
        if file.suffix != ".md5sums":
            assert (root / "usr/share/doc" / file.name / "copyright").read_text(), file.name
    for info in site_packages(root).glob("*.dist-info"):
        texts = [path for path in info.rglob("*") if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING"))]
        assert texts, info.name

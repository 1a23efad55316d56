"""The image's software bill of materials, a CycloneDX document: every Python distribution and every Debian package that
is in it, with licences, and what the wheels' own SBOMs (PEP 770) say is compiled into them.

    python -m docker.sbom      beside build/secrets-store-csi.tar, or $OUTPUT: `make image` calls it

It reads the finished image, not what that was meant to hold:

cyclonedx-py describes the Python distributions, and the Debian packages come from the image's /var/lib/dpkg/status.d.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from docker.archive import ARCHIVE, Image
from docker.debian_lock import read_lock, read_packages

LICENSES = Path(__file__).with_name("licenses.txt")
DISTRO = "debian-13"


def describe(root: Path, image: Image) -> str:
    """The document for the image, unpacked below ``root``: JSON, the same for the same image."""
    packages = list(_debian(root))
    bom = _python(root)
    bom.serial_number = uuid5(NAMESPACE_URL, image.id)
    bom.metadata.timestamp = datetime.fromisoformat(image.labels["created"])
    bom.metadata.component = Component(
        name=image.labels["title"],
        version=image.labels["version"],
        type=ComponentType.CONTAINER,
        bom_ref="image",
        licenses=[LicenseExpression(image.labels["licenses"])],
        properties=[Property(name="image:id", value=image.id)],
    )
    known = read_packages(LICENSES)
    installed = {item.name: item for item in distributions(path=[str(site_packages(root))])}
    for component in list(bom.components):
        _license(component, known)
        for inner in _compiled_in(component, installed[component.name]):
            _license(inner, known)
            component.components.add(inner)
    for component in packages:
        bom.components.add(component)
    bom.register_dependency(bom.metadata.component, bom.components)
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"


def check(document: str) -> None:
    """Raises ValueError unless it is a valid CycloneDX 1.6 document."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    if error is not None:
        raise ValueError(f"not a valid CycloneDX document: {error}")


def site_packages(root: Path) -> Path:
    """Where the image's Python distributions are."""
    (found,) = root.glob("app/lib/python3*/site-packages")
    return found


def _python(root: Path) -> Bom:
    """cyclonedx-py asks an interpreter for its path and reads what is there. The image's own would name paths inside
    the image, so a script answers in its place. The finished document is validated, not this part of it."""
    with TemporaryDirectory() as directory:
        python = Path(directory) / "python"
        python.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps([str(site_packages(root))]))})\n")
        python.chmod(0o755)
        command = [
            sys.executable,
            "-m",
            "cyclonedx_py",
            "environment",
            "--output-reproducible",
            "--no-validate",
            str(python),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    bom: Bom = Bom.from_json(json.loads(done.stdout))  # type: ignore[attr-defined]  # a decorator adds it
    return bom


def _debian(root: Path) -> Iterator[Component]:
    licences = read_packages()
    hashes = {(item.name, item.version, item.architecture): item.sha256 for item in read_lock()}
    for file in sorted((root / "var/lib/dpkg/status.d").iterdir()):
        if file.suffix == ".md5sums":
            continue
        fields = HeaderParser().parsestr(file.read_text())
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        source = fields.get("Source", name).split()[0]  # Debian's security notices name source packages
        sha256 = hashes.get((name, version, architecture))
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"deb:{name}",
            purl=PackageURL(
                "deb", "debian", name, version, {"arch": architecture, "distro": DISTRO, "upstream": source}
            ),
            licenses=[LicenseExpression(licences[name])],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else [],
        )


def _license(component: Component, known: dict[str, str]) -> None:
    """The expression that a person looked up, where the metadata has none; SPDX's own are left as they are."""
    declared = list(component.licenses)
    if all(isinstance(item, DisjunctiveLicense) and item.id is None for item in declared) and component.name in known:
        component.licenses = [LicenseExpression(known[component.name])]


def _compiled_in(component: Component, installed: Distribution) -> Iterator[Component]:
    for file in installed.files or []:
        if file.parent.name == "sboms" and file.suffix == ".json":
            for item in json.loads(file.read_text()).get("components", []):
                expressions = [each["expression"] for each in item.get("licenses", []) if "expression" in each]
                yield Component(
                    name=item["name"],
                    version=item.get("version"),
                    type=ComponentType.LIBRARY,
                    bom_ref=f"{component.bom_ref.value}/{item['name']}=={item.get('version')}",
                    purl=_purl(item),
                    licenses=[LicenseExpression(expression) for expression in expressions],
                )


def _purl(item: dict[str, Any]) -> PackageURL | None:
    """Without qualifiers: some carry paths of the machine that built the wheel."""
    if "purl" not in item:
        return None
    parsed = PackageURL.from_string(item["purl"])
    return PackageURL(parsed.type, parsed.namespace, parsed.name, parsed.version)


def main() -> None:
    """Write the document beside the archive."""
    target = ARCHIVE.with_suffix(".cdx.json")
    image = Image.read(ARCHIVE)
    with TemporaryDirectory() as directory:
        image.unpack(Path(directory))
        document = describe(Path(directory), image)
    check(document)
    target.write_text(document)
    print(f"{target}: {len(json.loads(document)['components'])} components")


if __name__ == "__main__":
    main()

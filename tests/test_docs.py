"""docs/architecture.md describes the packages, modules and import contracts that exist; all pages refer to files that
exist."""

import configparser
import re
from pathlib import Path

import pytest

from tests.helm import flags

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "helm").glob("**/README.md"),
    *(ROOT / "kubelet_stub").glob("*.md"),
    *(ROOT / "provider_kit").glob("*.md"),
    *ROOT.glob("tests/**/*.md"),
]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """The first column of the table in a section."""
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][2:]


def test_every_package_is_listed() -> None:
    """The folders of the repository with Python, the chart or the image, and no other, are in the list of packages."""
    listed = re.findall(r"^    (\w+)/ ", section("Packages"), re.MULTILINE)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert sorted(listed) == sorted(packages | {"helm", "deploy", "docker"})


def test_every_module_of_the_driver_is_listed() -> None:
    """Each package and module on the first level of driver/, and no other, is in the table."""
    rows = first_cells(section("Inside `driver`"))
    listed = [name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)]
    packages = {path.parent.name for path in (ROOT / "driver").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "driver").glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(packages | modules)


def test_every_import_contract_is_listed() -> None:
    """The contracts in setup.cfg are those in the table."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    contracts = [config[name]["name"] for name in config.sections() if name.startswith("importlinter:contract:")]
    assert sorted(first_cells(section("Layers"))) == sorted(contracts)


def layers(text: str) -> list[set[str]]:
    """Lines of names with `|` between them, top to bottom."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [{name.strip() for name in line.split("|")} for line in lines]


@pytest.mark.parametrize("title, contract", [("Layers", "floors"), ("Inside `driver`", "driver")])
def test_the_layers_are_those_of_the_contract(title: str, contract: str) -> None:
    """The layers drawn in a section, without the remarks beside them, are the ones that import-linter checks."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    drawn = "\n".join(re.findall(r"^    (\w.*?)(?:  .*)?$", section(title), re.MULTILINE))
    assert layers(drawn) == layers(config[f"importlinter:contract:{contract}"]["layers"])


def test_links_lead_somewhere() -> None:
    """Relative links in the Markdown files name files that exist, and headings in them."""
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\((?!\w+:)([^)]+)\)", page.read_text()):
            path, _, heading = link.partition("#")
            target = page.parent / path if path else page
            headings = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE) if target.is_file() else []
            if not target.exists() or (heading and heading not in {_anchor(text) for text in headings}):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_every_page_is_in_the_site() -> None:
    """Each page of docs/ has a place in mkdocs.yml, in one of the four kinds of pages."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    kinds = re.findall(r"^  - ([^:]+):$", nav, re.MULTILINE)
    assert kinds == ["Tutorial", "How to", "Reference", "Explanation"]
    listed = re.findall(r": ([\w./-]+\.md)$", nav, re.MULTILINE)
    assert [path.name for path in (ROOT / "docs").glob("*.md") if path.name not in listed] == []
    assert len(listed) == len({*listed})


def test_paths_exist() -> None:
    """Paths in the Markdown files that begin with a folder of the repository name files and folders that exist."""
    assert len(PAGES) > 10
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"docs", "helm", "deploy", "docker"}
    found = ((page, path) for page in PAGES for path in re.findall(r"`(\w+/[\w./-]*)`", page.read_text()))
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page, path in found
        if path.split("/")[0] in folders and not any((base / path).exists() for base in (ROOT, page.parent))
    ]
    assert missing == []


def test_choices_can_be_taken_back() -> None:
    """Each row of the page on migration that is a choice ends with a value of the chart or a flag that exists."""
    page = (ROOT / "docs" / "migration.md").read_text()
    table = page.partition("### Choices, which a value takes back\n")[2].partition("\n### ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    flags = re.findall(r"^\| `(--[\w-]+)`", (ROOT / "docs" / "flags.md").read_text(), re.MULTILINE)
    values = re.findall(r"^\| `([\w.]+)`", (ROOT / "docs" / "values.md").read_text(), re.MULTILINE)
    known = {*flags, *values}
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`([\w.-]+)[:=`]", row.split("|")[-2])
        assert named and set(named) <= known | {"helm"}, row


def test_the_charts_flags_are_the_programs() -> None:
    """helm/flags.yaml, by which the chart refuses what the program would, is what ``python -m tests.helm.flags``
    prints."""
    assert flags.path().read_text() == flags.text()


def test_static_crds_are_the_charts() -> None:
    """The CRDs in deploy/, under a line of comment, are those of the chart; ``make manifests`` copies them."""
    copies = sorted((ROOT / "deploy").glob("*_*.yaml"))
    assert [path.read_text().partition("\n")[2] for path in copies] == [
        path.read_text() for path in sorted((ROOT / "helm" / "crds").glob("*.yaml"))
    ]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")

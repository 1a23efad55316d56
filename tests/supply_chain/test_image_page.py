"""docs/image.md names what is in the image."""

import re

from docker.archive import ROOT
from docker.debian_lock import read_packages
from docker.python_lock import IMAGE
from docker.sbom import LICENSES
from tests.support.locks import pinned

PAGE = (ROOT / "docs" / "image.md").read_text()


def table(title: str) -> dict[str, tuple[str, str]]:
    """The first table of a section: licence and reason by name."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(f"{title}\n")]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", text.partition("Some wheels")[0], re.MULTILINE)
    return {name: (licence, reason) for name, licence, reason in rows}


def test_debian_packages() -> None:
    """Scenario: packages.txt. Expected: each package with its licence and a reason, and no other."""
    rows = table("Debian packages")
    assert {name: licence for name, (licence, _) in rows.items()} == read_packages()
    assert [name for name, (_, reason) in rows.items() if len(reason) < 5] == []


def test_python_distributions() -> None:
    """Scenario: requirements.lock. Expected: each distribution and no other; looked-up licences match."""
    rows = table("Python distributions")
    assert rows.keys() == pinned(IMAGE).keys()
    for name, licence in read_packages(LICENSES).items():
        assert name not in rows or rows[name][0] == licence

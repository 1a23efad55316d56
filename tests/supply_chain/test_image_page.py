"""docs/image.md names what is in the image."""

from docker.debian_lock import read_packages
from docker.python_lock import IMAGE
from docker.sbom import LICENSES
from tests.support.image_page import table
from tests.support.locks import pinned


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

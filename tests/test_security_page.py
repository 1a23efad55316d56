"""docs/security.md cites tests that exist, for every attack and every known vulnerability."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
CITED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
# Where no test of ours can show anything: nothing of the kind is there, or it is another program's.
WITHOUT_A_TEST = "not applicable: "


def section(title: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    level, _, name = title.partition(" ")
    found = re.search(rf"^{level} {re.escape(name)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of all tables in a text, without their heads."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]
    rules = [number for number, row in enumerate(cells) if set("".join(row)) <= set("-| ")]
    return [row for number, row in enumerate(cells) if number not in rules and number + 1 not in rules]


def test_cited_tests_exist() -> None:
    """Each ``file::function`` on the page is a test in that file."""
    cited = set(CITED.findall(PAGE))
    missing = [
        f"{path}::{name}"
        for path, name in sorted(cited)
        if not (ROOT / path).is_file()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert len(cited) > 80 and missing == []


@pytest.mark.parametrize(
    ("title", "least"),
    [
        ("### Content and tokens of others", 10),
        ("### The node", 6),
        ("### The cluster", 6),
        ("### Availability", 15),
        ("## Found by attacking", 15),
    ],
)
def test_each_attack_has_a_test(title: str, least: int) -> None:
    """Each row of the tables of attacks cites a test."""
    text = section(title).partition("What attacks cost the others")[0]
    found = rows(text)
    assert len(found) >= least
    assert [row[0] for row in found if not CITED.search(row[-1])] == []


def test_each_vulnerability_has_a_test() -> None:
    """Each known vulnerability cites a test, or says why there is nothing to test."""
    found = rows(section("## Known vulnerabilities of our kind"))
    assert len(found) >= 20
    assert all(re.search(r"CVE-\d|GHSA-", row[0]) for row in found)
    untested = [row[0] for row in found if not CITED.search(row[-1]) and not row[-1].startswith(WITHOUT_A_TEST)]
    assert untested == []


def test_each_process_has_its_privileges_shown() -> None:
    """The section on privileges cites a test on a real node and one in a container."""
    cited = {path for path, _ in CITED.findall(section("## Privileges"))}
    assert {"tests/kubelet/test_privileges.py", "tests/container/test_privileges.py"} <= cited

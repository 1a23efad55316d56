"""The tables of docs/image.md."""

import re

from docker.archive import ROOT

PAGE = (ROOT / "docs" / "image.md").read_text()


def table(title: str) -> dict[str, tuple[str, str]]:
    """The first table of a section: licence and reason by name."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(f"{title}\n")]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", text.partition("Some wheels")[0], re.MULTILINE)
    return {name: (licence, reason) for name, licence, reason in rows}

"""The commands of a page, and what the page says that they print."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LEFT_RUNNING = "<!-- leave it running -->"
_PART = re.compile(r"^```(?P<kind>sh|text)\n(?P<text>.*?)^```|^<!-- Ctrl-C -->", re.MULTILINE | re.DOTALL)


class Kind(StrEnum):
    """What to do with the text of a step."""

    RUN = "run"
    START = "start it, and leave it running"
    EXPECT = "lines that were printed: by what runs, or by the commands before"
    STOP = "Ctrl-C"


@dataclass(frozen=True)
class Step:
    """``line`` is where the page has it."""

    kind: Kind
    text: str
    line: int


def steps(page: Path) -> list[Step]:
    """The blocks ``sh`` and ``text`` of a page, and its remarks for whoever runs them."""
    content = page.read_text()
    found = []
    for part in _PART.finditer(content):
        before = content[: part.start()].rstrip().rpartition("\n")[2]
        kinds = {"sh": Kind.START if before == _LEFT_RUNNING else Kind.RUN, "text": Kind.EXPECT, None: Kind.STOP}
        line = content[: part.start()].count("\n") + 1
        found.append(Step(kinds[part["kind"]], part["text"] or "", line))
    return found

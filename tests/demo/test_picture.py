"""docs/pictures/demo.svg shows the demo as it is; ``python -m tools.pictures.demo`` makes it again."""

import html
import re
from pathlib import Path

from demo.__main__ import NEXT_STEPS

ROOT = Path(__file__).resolve().parents[2]
PICTURE = (ROOT / "docs" / "pictures" / "demo.svg").read_text()


def test_the_picture_is_of_this_demo() -> None:
    """Every step's title, and every command of what is next → in the picture."""
    shown = html.unescape(re.sub(r"<[^>]*>", "\n", PICTURE)).replace("\xa0", " ")
    titles = re.findall(r'\.step\("([^"]+)"\)', (ROOT / "demo" / "story.py").read_text())
    assert len(titles) == 7
    assert [title for title in (*titles, *NEXT_STEPS) if title not in shown] == []


def test_it_needs_nothing_from_elsewhere() -> None:
    """No address but the name of SVG, no script."""
    assert re.findall(r"https?://[^\"' )]+", PICTURE) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in PICTURE and "@import" not in PICTURE

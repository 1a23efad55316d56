"""``python -m tools.pictures [PART …]``: make the pictures in docs/pictures/, or those with a part of their name given.

To add one, write a function that yields file names and PNGs, and put it into MAKERS. The picture of the dashboard is
drawn without a browser, by ``tools.pictures.dashboard``.
"""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Browser

from tools.pictures import status_page
from tools.pictures.browser import chromium

DIRECTORY = Path(__file__).resolve().parent.parent.parent / "docs" / "pictures"
MAKERS: Sequence[Callable[[Browser], Iterator[tuple[str, bytes]]]] = (status_page.pictures,)
MAX_BYTES = 150_000
COLOURS = 256
# What another release of the browser may change in anti-aliasing: then the file stays, and no diff is made.
SAME_LEVEL, SAME_SHARE = 24, 0.002


def main(names: Sequence[str]) -> int:
    """Make the pictures; returns the exit code."""
    DIRECTORY.mkdir(exist_ok=True)
    with chromium() as browser:
        for maker in MAKERS:
            for name, png in maker(browser):
                if not names or any(part in name for part in names):
                    write(DIRECTORY / name, png)
    return 0


def write(path: Path, png: bytes) -> None:
    """Write a picture with few colours, which makes it small, unless it looks like the one that is there."""
    made = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    if path.exists() and looks_like(made, Image.open(path)):
        print(f"{path.name}: as before")
        return
    buffer = io.BytesIO()
    made.save(buffer, "PNG", optimize=True)
    if buffer.tell() > MAX_BYTES:
        raise SystemExit(f"{path.name} has {buffer.tell()} bytes; {MAX_BYTES} are allowed: make it smaller")
    path.write_bytes(buffer.getvalue())
    print(f"{path.name}: {buffer.tell():,} bytes")


def looks_like(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures differ by no more than a few pixels."""
    if one.size != other.size:
        return False
    difference = ImageChops.difference(one.convert("L"), other.convert("L"))
    differing: int = sum(difference.histogram()[SAME_LEVEL:])
    return bool(differing <= SAME_SHARE * one.width * one.height)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

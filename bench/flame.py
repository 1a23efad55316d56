"""A flame graph of the driver under publishes and unpublishes.

    python -m bench.flame OUTPUT.svg        needs py-spy, which the ``bench`` extra installs

Sampled are the threads that hold the interpreter lock: Python code and what it calls, but not gRPC's own threads. The
picture is plain SVG without scripts; the title of a frame appears under the pointer.
"""

import colorsys
import html
import shutil
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from bench.observation import observe
from tests.support import namespaces

VOLUMES, CLIENTS = 700, 4
WIDTH, ROW, MARGIN = 1200, 15, 24
_MIN_SHARE = 0.002
_CHARACTER_WIDTH = 6.2


@dataclass
class Frame:
    """A function, and the functions that it called."""

    name: str
    samples: int = 0
    children: dict[str, "Frame"] = field(default_factory=dict)

    def add(self, names: list[str], samples: int) -> None:
        """Add one stack, outermost function first."""
        frame = self
        frame.samples += samples
        for name in names:
            frame = frame.children.setdefault(name, Frame(name))
            frame.samples += samples

    def depth(self, least: float) -> int:
        """The number of rows, counting frames with at least ``least`` samples."""
        return 1 + max((frame.depth(least) for frame in self.children.values() if frame.samples >= least), default=0)


def read(raw: str) -> Frame:
    """Parse py-spy's raw format: one stack per line, its frames separated by semicolons, then the count."""
    root = Frame("all")
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        names = [_short(name) for name in stack.split(";")]
        # Frames that all stacks begin with say nothing.
        while names and (
            names[0].startswith(
                ("thread", "<module>", "_run_", "main ", "start ", "run ", "Runner.", "BaseEventLoop.run_")
            )
        ):
            names.pop(0)
        root.add(names, int(count))
    return root


def _short(name: str) -> str:
    """The name without line number, and with the last two elements of the path only."""
    function, _, place = name.partition(" (")
    place = place.rstrip(")").partition(":")[0]
    return f"{function} ({'/'.join(place.split('/')[-2:])})" if place else function


def draw(root: Frame, title: str) -> str:
    """The picture as SVG, with the root at the bottom."""
    least = root.samples * _MIN_SHARE
    height = root.depth(least) * ROW + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="monospace" font-size="10">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="4" y="15" font-size="12">{html.escape(title)}</text>',
    ]

    def put(frame: Frame, left: float, level: int) -> None:
        width = frame.samples / root.samples * WIDTH
        top = height - MARGIN / 2 - (level + 1) * ROW
        share = f"{100 * frame.samples / root.samples:.1f} %"
        text = frame.name[: max(0, int(width / _CHARACTER_WIDTH))] if width > 20 else ""
        parts.append(
            f'<g><title>{html.escape(frame.name)}: {share}</title><rect x="{left:.1f}" y="{top:.0f}" '
            f'width="{max(width - 0.5, 0.3):.1f}" height="{ROW - 1}" fill="{_colour(frame.name)}"/>'
            + (f'<text x="{left + 2:.1f}" y="{top + 10:.0f}">{html.escape(text)}</text>' if text else "")
            + "</g>"
        )
        for inner in sorted(frame.children.values(), key=lambda each: -each.samples):
            if inner.samples >= least:
                put(inner, left, level + 1)
            left += inner.samples / root.samples * WIDTH

    put(root, 0.0, 0)
    return "\n".join([*parts, "</svg>", ""])


def _colour(name: str) -> str:
    """Blue for our code and orange for libraries, in a shade that differs between neighbours."""
    ours = any(part in name for part in ("driver/", "volume/", "cluster/", "providers/", "runtime/"))
    shade = zlib.crc32(name.encode()) % 40 / 400
    red, green, blue = colorsys.hls_to_rgb(205 / 360 if ours else 30 / 360, 0.7 + shade, 0.65)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def record() -> str:
    """Sample a driver while it publishes and unpublishes."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise SystemExit("py-spy is missing: pip install -e '.[bench]'")
    spy = (program, "record", "-d", "600", "-r", "500", "-g", "-f", "raw")
    with tempfile.NamedTemporaryFile(prefix="flame-") as raw:
        observe(lambda pid: (*spy, "-o", raw.name, "-p", str(pid)), VOLUMES, CLIENTS)
        return Path(raw.name).read_text()


if __name__ == "__main__":
    namespaces.enter_private()
    Path(sys.argv[1]).write_text(
        draw(read(record()), f"driver: {VOLUMES} publishes and unpublishes with an API server, {CLIENTS} at a time")
    )

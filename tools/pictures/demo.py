"""``python -m tools.pictures.demo``: docs/pictures/demo.svg, from what ``make demo`` writes to a terminal now.

The picture is text as SVG, without fonts or anything else from elsewhere. The pod's manifest is left out, so that the
picture is not too tall for the README.
"""

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "pictures" / "demo.svg"
COLUMNS = 100
# Colours with a contrast of 4.5 to 1 and more on the background, which is dark in every scheme of the reader's.
_THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207)]
    + [(177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221)]
    + [(255, 255, 255)],
)
_FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="What make demo prints">
<style>
text {{
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
}}
.{unique_id}-matrix {{ line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Run the demo and draw it."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "demo"]
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    PICTURE.write_text(draw(output))


def draw(output: str) -> str:
    """The SVG of a terminal in which ``make demo`` has printed this."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(f"$ make demo\n{_shorter(output)}"))
    svg = console.export_svg(title="", theme=_THEME, code_format=_FORMAT, unique_id="demo")
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def _shorter(output: str) -> str:
    """Without the lines of the pod's manifest."""
    before, title, rest = output.partition("The pod has a volume of this class:")
    manifest = rest.partition("✓")[0]
    end = rest.removeprefix(manifest.rpartition("\n")[0])
    return f"{before}{title}{' …' if title else ''}{end}"


if __name__ == "__main__":
    main()

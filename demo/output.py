"""What the demo prints: numbered steps, what each has shown, and what can be seen at the target path.

Colours are for terminals: none with NO_COLOR (https://no-color.org) or TERM=dumb, always with FORCE_COLOR, as for the
picture in the README.
"""

import os
import shutil
import stat
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from click import style

STEPS = 7
MAX_WIDTH = 100
_INDENT = "     "
# Options of a mount that say nothing about a volume's safety.
_PLAIN_OPTIONS = ("rw", "ro", "relatime")


def wants_color(environment: Mapping[str, str], terminal: bool) -> bool:
    """Whether to write colours."""
    if environment.get("NO_COLOR"):
        return False
    return bool(environment.get("FORCE_COLOR")) or (terminal and environment.get("TERM") != "dumb")


@dataclass
class Output:
    """Written to standard output; steps have the seconds since ``started``."""

    color: bool = field(default_factory=lambda: wants_color(os.environ, sys.stdout.isatty()))
    started: float = field(default_factory=time.monotonic)
    width: int = field(default_factory=lambda: min(MAX_WIDTH, shutil.get_terminal_size().columns))
    _number: int = 0

    def title(self, text: str, below: str) -> None:
        """The first lines."""
        self._print(self._style(text, bold=True))
        self._paragraph(below, indent="")

    def step(self, title: str) -> None:
        """The next step begins."""
        self._number += 1
        number = self._style(f"{self._number}/{STEPS}", fg="cyan", bold=True)
        self._print(f"\n{number}  {self._style(title, bold=True)}")

    def done(self, text: str) -> None:
        """What was checked, and when."""
        took = f"{time.monotonic() - self.started:.1f} s"
        lines = textwrap.wrap(text, self.width - len(_INDENT) - len("✓ ") - len(f"  {took}"))
        for number, line in enumerate(lines):
            mark = self._style("✓ ", fg="green") if number == 0 else "  "
            end = f"  {self._style(took, dim=True)}" if number == len(lines) - 1 else ""
            self._print(f"{_INDENT}{mark}{line}{end}")

    def explain(self, text: str) -> None:
        """A paragraph: why it is so."""
        self._paragraph(text)

    def show(self, text: str, title: str = "") -> None:
        """Lines as they are: a manifest, a list of files."""
        if title:
            self._print(f"{_INDENT}{self._style(title, fg='yellow')}")
        for line in text.splitlines():
            self._print(f"{_INDENT}{'  ' if title else ''}{line}")

    def next_steps(self, steps: Mapping[str, str]) -> None:
        """What the reader may do now: commands or pages, and what they are for."""
        self._print(f"\n{self._style('Every step was checked. What next?', fg='green', bold=True)}")
        width = max(map(len, steps))
        for what, why in steps.items():
            self._print(f"  {self._style(what.ljust(width), fg='cyan')}  {why}")

    def failed(self, text: str) -> None:
        """A step has failed."""
        print(f"demo: {self._style('FAILED', fg='red', bold=True)}: {text}", file=sys.stderr)

    def _paragraph(self, text: str, indent: str = _INDENT) -> None:
        for line in textwrap.wrap(text, self.width - len(indent)):
            self._print(f"{indent}{line}")

    def _style(self, text: str, fg: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
        return style(text, fg=fg, bold=bold or None, dim=dim or None) if self.color else text

    def _print(self, text: str) -> None:
        print(text, flush=True)


def list_files(target: Path) -> str:
    """The files of a volume with their modes, as a pod sees them; a short one with its content."""
    names = [path.relative_to(target / "..data") for path in (target / "..data").rglob("*") if path.is_file()]
    width = max(len(str(name)) for name in names)
    return "\n".join(
        f"{_mode(target / name)}  {str(name).ljust(width)}  {_content(target / name)}" for name in sorted(names)
    )


def mounts() -> list[str]:
    """The lines of this process's mount table."""
    return Path("/proc/self/mounts").read_text().splitlines()


def mount_of(target: Path) -> str:
    """The target path's line of the mount table; empty if it is not a mount point."""
    return next((line for line in mounts() if line.split(" ")[1] == str(target)), "")


def describe_mount(line: str) -> str:
    """A tmpfs's line of the mount table, in words."""
    options = line.split(" ")[3].split(",")
    size = next((option.removeprefix("size=") for option in options if option.startswith("size=")), "")
    limit = f", at most {int(size[:-1]) // 1024} MiB" if size.endswith("k") else ""
    swap = ", never swapped out (noswap)" if "noswap" in options else ""
    flags = [option for option in options if "=" not in option and option not in (*_PLAIN_OPTIONS, "noswap")]
    return f"a tmpfs: in memory{limit}{swap}, {' '.join(flags)}"


def _content(path: Path) -> str:
    text = path.read_text()
    return text if len(text) <= 40 and "\n" not in text else f"{text.splitlines()[0]} …, {len(text)} bytes"


def _mode(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)

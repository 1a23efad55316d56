"""What the demo prints: steps, and what can be seen at the target path."""

import os
import stat
import time
from pathlib import Path


def print_step(started: float, text: str) -> None:
    """One line, with the seconds since ``started``."""
    print(f"{time.monotonic() - started:6.2f} s  {text}", flush=True)


def print_details(text: str) -> None:
    """Lines that belong to the last step, indented."""
    for line in text.splitlines():
        print(f"            {line}", flush=True)


def list_files(target: Path) -> str:
    """The target path and all files in it, with their modes, as ``ls -l`` shows them."""
    lines = [f"{_mode(target)}  {target.name}/"]
    for path in sorted(target.rglob("*")):
        if not path.is_dir() or path.is_symlink():
            link = f" -> {os.readlink(path)}" if path.is_symlink() else ""
            lines.append(f"{_mode(path)}  {path.relative_to(target)}{link}")
    return "\n".join(lines)


def mounts() -> list[str]:
    """The lines of this process's mount table."""
    return Path("/proc/self/mounts").read_text().splitlines()


def mount_of(target: Path) -> str:
    """The target path's line of the mount table; empty if it is not a mount point."""
    return next((line for line in mounts() if line.split(" ")[1] == str(target)), "")


def _mode(path: Path) -> str:
    return stat.filemode(path.lstat().st_mode)

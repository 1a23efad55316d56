"""requirements.lock, what pip installs into the image, and docker/build.lock, what builds our wheel there: every
distribution with version and the hashes of its files, which `pip install --require-hashes` checks.

    python -m docker.python_lock      renews both with the newest versions that setup.cfg allows (`make lock`)
"""

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGE, BUILD, UNNEEDED = ROOT / "requirements.lock", ROOT / "docker" / "build.lock", ROOT / "docker" / "unneeded.txt"
UV = str(Path(sys.executable).with_name("uv"))
PYTHON = "3.13"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
_HEADER = f"# Written by `make lock`, for Python {PYTHON} on Linux.\n"


def unneeded(path: Path = UNNEEDED) -> list[str]:
    """Names of declared dependencies that the image goes without."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def compile_lock(requirements: str, leave_out: Sequence[str] = ()) -> str:
    """The lock of some requirements. It holds on each platform: the versions are the same, and each has a wheel."""
    options = ["--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--only-binary", ":all:"]
    options += [f"--no-emit-package={name}" for name in leave_out]
    found = set()
    for platform in PLATFORMS:
        command = [UV, "pip", "compile", *options, "--python-version", PYTHON, "--python-platform", platform, "-"]
        done = subprocess.run(command, cwd=ROOT, input=requirements, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"uv pip compile for {platform}: {done.stderr.strip()}")
        found.add(done.stdout)
    if len(found) != 1:
        raise SystemExit(f"{' and '.join(PLATFORMS)} need different distributions: one lock cannot serve both")
    return _HEADER + found.pop()


def main() -> None:
    """Write both."""
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    with (ROOT / "pyproject.toml").open("rb") as file:
        backend = tomllib.load(file)["build-system"]["requires"]
    image = compile_lock(setup["options"]["install_requires"], leave_out=unneeded())
    build = compile_lock("\n".join(["pip", *backend]))
    IMAGE.write_text(image)
    BUILD.write_text(build)


if __name__ == "__main__":
    main()

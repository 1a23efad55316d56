"""What the base image has too much and too little of, mended in the last stage: no pip and no way to get it, and byte
code of the standard library, which the official Python images leave out and a read-only root can never write.

No shell runs it, so a base needs none.
"""

import glob
import importlib.util
import py_compile
import shutil
import sysconfig
from pathlib import Path

STDLIB = sysconfig.get_path("stdlib")
INSTALLERS = ("pip", "pip-*", "setuptools", "setuptools-*", "wheel", "wheel-*", "pkg_resources", "_distutils_hack")
UNUSED = {"test", "tests", "idlelib", "lib2to3"}
MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH
REMOVED = [
    f"{STDLIB}/ensurepip",
    "/usr/share/python-wheels",
    "/root/.cache",
    *(
        f"{directory}/{name}"
        for name in INSTALLERS
        for directory in (sysconfig.get_path("purelib"), "/usr/lib/python3/dist-packages")
    ),
    *(f"{directory}/pip*" for directory in ("/usr/local/bin", "/usr/bin")),
]


def main() -> None:
    """Remove, then compile."""
    for path in (Path(name) for pattern in REMOVED for name in glob.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for source in Path(STDLIB).rglob("*.py"):
        if UNUSED.isdisjoint(source.parts) and not Path(importlib.util.cache_from_source(str(source))).exists():
            py_compile.compile(str(source), doraise=True, invalidation_mode=MODE)


if __name__ == "__main__":
    main()

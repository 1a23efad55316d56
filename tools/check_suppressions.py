"""Fails on a lint or type suppression without a reason.

python -m tools.check_suppressions      what `make lint` and CI run

In Python a suppression is a comment such as `noqa` or `type: ignore`; its reason follows on the same line, after
another `#`. In setup.cfg and pyproject.toml it is a setting with `ignore` in its name, or an entry of a section with
`ignore` in its name; its reason is a comment on the line or above it in the same paragraph. That a suppression names
its rules, and that it still suppresses something, is checked by ruff (PGH, RUF100) and mypy. Exit codes: 0 all have
reasons, 1 with one line on stderr for each that has none.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPRESSION = re.compile(
    r"(flake8|ruff)\s*:\s*noqa|noqa\b|(type|pyright)\s*:\s*ignore|mypy\s*:|fmt\s*:\s*(off|skip)|isort\s*:|pragma\s*:|"
    r"pylint\s*:|nosec\b",
    re.IGNORECASE,
)
REASON = re.compile(r"\w{2,}.*\W\w{2,}")  # two words at least
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
CONFIGURATION = ("setup.cfg", "pyproject.toml", "*/pyproject.toml")


def in_python(text: str) -> Iterator[int]:
    """The numbers of the lines with a suppression that has no reason."""
    if not SUPPRESSION.search(text):  # as in most files; to find comments takes much longer
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            parts = [part.strip() for part in token.string.split("#")]
            suppressions = [part for part in parts if SUPPRESSION.match(part)]
            reasons = [part for part in parts if part not in suppressions and REASON.search(part)]
            if suppressions and not reasons:
                yield token.start[0]


def in_configuration(text: str) -> Iterator[int]:
    """The same for a file of settings. Tables and sections start with `[`; a paragraph ends at an empty line."""
    section, reason = "", False
    for number, line in enumerate(text.splitlines(), 1):
        setting, _, comment = line.partition("#")
        if not line.strip():
            reason = False
        elif line.startswith("["):
            section = line.strip("[]")
        elif REASON.search(comment):
            reason = True
        name, equals, _ = setting.partition("=")
        # An indented line continues a value, but for the entries of an inline list, which no setting's name matches.
        if equals and name[:1].strip() and ("ignore" in name or "ignore" in section) and not reason:
            yield number


def files(root: Path) -> Iterator[Path]:
    """Python sources and configuration; not what is generated, and nothing in hidden or build directories."""
    for pattern in ("*.py", "*.pyi"):
        for path in sorted(root.rglob(pattern)):
            above = path.relative_to(root).parts[:-1]
            hidden = any(part.startswith(".") or part in ("build", "dist") for part in above)
            if not hidden and not path.name.endswith(GENERATED):
                yield path
    for pattern in CONFIGURATION:
        yield from sorted(root.glob(pattern))


def main(root: Path = ROOT) -> int:
    """Print each suppression without a reason on a line of its own."""
    found = False
    for path in files(root):
        text = path.read_text()
        for number in in_python(text) if path.suffix in (".py", ".pyi") else in_configuration(text):
            line = text.splitlines()[number - 1].strip()
            place = f"{path.relative_to(root)}:{number}"
            print(
                f"{place}: a suppression without a reason; add one after `#`, or fix the code: {line}", file=sys.stderr
            )
            found = True
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

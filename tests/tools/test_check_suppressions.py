"""tools/check_suppressions.py on small files."""

from pathlib import Path

import pytest

from tools.check_suppressions import files, in_configuration, in_python, main


@pytest.mark.parametrize(
    "line",
    [
        "import os  # noqa: F401",
        "import os  # noqa: F401, E402",
        "import os  # NOQA: F401",
        "import os  #noqa:F401",
        "import os  # noqa: F401  # why",
        "import os  # noqa: F401  #",
        "value = call()  # type: ignore[misc]",
        "value = call()  # type:ignore",
        "value = call()  # noqa: F401  # type: ignore[misc]",
        "value = [1,2]  # fmt: skip",
        "# fmt: off",
        "# ruff: noqa: E501",
        "# mypy: ignore-errors",
        "if debug:  # pragma: no cover",
    ],
)
def test_without_a_reason(line: str) -> None:
    """A suppression alone, or followed by nothing, one word or another suppression: reported with its line."""
    assert list(in_python(f"# A comment that is a reason for something else.\n{line}\n    pass\n")) == [2]


@pytest.mark.parametrize(
    "line",
    [
        "import os  # noqa: F401  # tests import it from here",
        "value = call()  # type: ignore[misc]  # the package is untyped",
        "value = call()  # the package is untyped  # type: ignore[misc]",
        "value = call()  # type: ignore[misc]  # not a map",
        "value = call()  # noqa: F401  # type: ignore[misc]  # the package is untyped",
        "# fmt: off  # a table, aligned by hand",
        'text = "# noqa: F401"',
        "# A comment about noqa and type: ignore.",
        "value = 1  # the type ignored here",
    ],
)
def test_with_a_reason(line: str) -> None:
    """A reason on the same line; and texts and comments that are no suppressions: nothing is reported."""
    assert list(in_python(f"{line}\n")) == []


@pytest.mark.parametrize(
    "text, expected",
    [
        ('[tool.ruff.lint.per-file-ignores]\n"a/*" = ["ARG"]\n', [2]),
        ('[tool.ruff.lint.per-file-ignores]\n"a/*" = ["ARG"]  # others define the signatures\n', []),
        ('[tool.ruff.lint.per-file-ignores]\n# Others define the signatures.\n"a/*" = ["ARG"]\n"b/*" = ["B"]\n', []),
        ('[tool.ruff.lint.per-file-ignores]\n# Others define them.\n"a/*" = ["ARG"]\n\n"b/*" = ["B"]\n', [5]),
        ('# Settings of the linter.\n\n[tool.ruff.lint]\nignore = [\n    "E501",  # too many lines are long\n]\n', [4]),
        ('[tool.ruff.lint]\n# The formatter breaks lines.\nignore = ["E501"]\n', []),
        ('[tool.ruff.lint]\nselect = ["E"]\n', []),
        ("[mypy-package.*]\nignore_missing_imports = true\n", [2]),
        ("# It has no type information.\n[mypy-package.*]\nignore_missing_imports = true\n", []),
        ("[importlinter:contract:x]\nignore_imports =\n    a -> b\n", [2]),
        ("[options]\ninstall_requires =\n    ignorer>=1\n", []),
    ],
)
def test_configuration(text: str, expected: list[int]) -> None:
    """Settings that ignore something: a reason is a comment on the line, or above it in the same paragraph."""
    assert list(in_configuration(text)) == expected


def test_this_repository() -> None:
    """The repository itself: every suppression has its reason."""
    assert main() == 0


def test_a_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tree with suppressions in a source, a stub file, setup.cfg and a package's pyproject.toml: exit code 1, and one
    line for each. Generated, hidden and built files do not count."""
    for name in ("package/a.py", "package/b.pyi", "package/c_pb2.py", ".venv/d.py", "build/lib/e.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("import os  # noqa: F401\n")
    (tmp_path / "setup.cfg").write_text("[mypy]\nignore_errors = true\n")
    (tmp_path / "package" / "pyproject.toml").write_text('[tool.ruff.lint]\nignore = ["E501"]\n')
    assert main(tmp_path) == 1
    printed = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in printed] == [
        "package/a.py:1",
        "package/b.pyi:1",
        "setup.cfg:2",
        "package/pyproject.toml:2",
    ]
    for path in files(tmp_path):
        path.unlink()
    assert main(tmp_path) == 0

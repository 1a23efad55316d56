"""The command line as a whole: which subcommands there are, and what is imported for one."""

import subprocess
import sys

import click
from click.testing import CliRunner

from cli.main import PROGRAM, SUBCOMMANDS, main


def test_all_are_listed() -> None:
    """--help → each subcommand with a line about it, in order; each is the one that is run under its name."""
    help_text = CliRunner().invoke(main, ["--help"]).output
    listed = [line.split(None, 1) for line in help_text.partition("Commands:\n")[2].splitlines()]
    assert [name for name, _ in listed] == sorted({"completion", *SUBCOMMANDS})
    context = click.Context(main)
    for name in SUBCOMMANDS:
        found = main.get_command(context, name)
        assert found is not None and found.name == name


def test_one_that_does_not_exist() -> None:
    """An unknown subcommand → exit code 2 and a sentence."""
    result = CliRunner().invoke(main, ["explian"])
    assert result.exit_code == 2 and "No such command 'explian'" in result.output


def test_others_are_not_imported() -> None:
    """The version, and one subcommand's help → no other subcommand is imported."""
    script = """
import sys
from cli.main import SUBCOMMANDS, main
for arguments in (["--version"], ["status", "--help"]):
    try:
        main(arguments, "secrets-store")
    except SystemExit as ended:
        assert ended.code == 0
    print("imported:", *(name for name, module in SUBCOMMANDS.items() if module in sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert found.startswith(f"{PROGRAM}, version ")
    assert [line for line in found.splitlines() if line.startswith("imported:")] == ["imported:", "imported: status"]

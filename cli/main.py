"""The command and its subcommands. Exit codes: 0 all is well, 1 a problem was found, 2 the command line is wrong."""

from collections.abc import Mapping
from importlib import import_module

import click
from click.shell_completion import get_completion_class

from runtime import version

PROGRAM = "secrets-store"
# Where each subcommand is, under its own name. One that is not run is not imported: all of them take half a second.
SUBCOMMANDS: Mapping[str, str] = {
    "dev": "cli.dev.command",
    "doctor": "cli.doctor.command",
    "explain": "cli.explain.command",
    "refresh": "cli.refresh",
    "status": "cli.status",
    "validate": "cli.validate.command",
}
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Subcommands(click.Group):
    """Imports the subcommand that is run, and all of them for their list in the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *SUBCOMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in SUBCOMMANDS:
            self.add_command(getattr(import_module(SUBCOMMANDS[cmd_name]), cmd_name))
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Subcommands, context_settings=_SETTINGS)
@click.version_option(version.build().version, prog_name=PROGRAM)
def main() -> None:
    """Checks SecretProviderClasses, and explains what the Secrets Store CSI driver does with them.

    Exit codes: 0 all is well, 1 a problem was found, 2 the command line is wrong.
    """


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion for a shell; for bash: source <(secrets-store completion bash)."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(main, {}, PROGRAM, f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE").source())

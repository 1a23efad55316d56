"""The command and its subcommands. Exit codes: 0 all is well, 1 a problem was found, 2 the command line is wrong."""

import click
from click.shell_completion import get_completion_class

from cli.dev.command import dev
from cli.doctor.command import doctor
from cli.explain.command import explain
from cli.refresh import refresh
from cli.status import status
from cli.validate.command import validate
from runtime import version

PROGRAM = "secrets-store"
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_SETTINGS)
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


main.add_command(dev)
main.add_command(doctor)
main.add_command(explain)
main.add_command(refresh)
main.add_command(status)
main.add_command(validate)

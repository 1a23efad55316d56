"""The command line of ``secrets-store validate``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cli import findings
from cli.validate.files import Files, Source

STDIN = "-"


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE…|-", type=click.Path(exists=True, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="How problems are written; github: as annotations of GitHub Actions.",
)
@click.option("--partial", is_flag=True, help="Classes that pods and SecretSyncs name may be in other files.")
@click.pass_context
def validate(context: click.Context, paths: tuple[str, ...], output: str, partial: bool) -> None:
    """Check SecretProviderClasses, SecretSyncs and the pods that use them.

    No cluster is needed. Directories stand for the YAML files in them, - for standard input (a rendered chart, for
    example).
    """
    files = Files([source for path in paths for source in _sources(path)])
    found = sorted(files.check(partial=partial))
    findings.write(found, output)
    errors = sum(finding.level is findings.Level.ERROR for finding in found)
    if output == "text":
        click.echo(f"{files.summary()}: {_count(errors, 'problem')}", err=True)
    context.exit(1 if errors else 0)


def _sources(path: str) -> Iterator[Source]:
    if path == STDIN:
        yield Source("<stdin>", sys.stdin.buffer.read())
        return
    directory = Path(path)
    names = sorted((*directory.rglob("*.yaml"), *directory.rglob("*.yml"))) if directory.is_dir() else [directory]
    for name in names:
        try:
            yield Source(str(name), name.read_bytes())
        except OSError as error:
            raise click.UsageError(f"{name} cannot be read: {error.strerror}") from None


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'s' if number != 1 else ''}"

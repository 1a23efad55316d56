"""What a check has found, and how it is written: for people, as JSON, or as annotations of GitHub Actions."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import click


class Level(StrEnum):
    """An ``ERROR`` does not work, a ``WARNING`` may be meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Finding:
    """``line`` is counted from 1, 0 if it is unknown; ``field`` is its path, as ``spec.files[0].path``, or empty;
    ``sentence`` says what is wrong and what to write."""

    file: str
    line: int
    field: str
    sentence: str
    level: Level = Level.ERROR


def write(findings: Sequence[Finding], output: str) -> None:
    """On standard output; ``output`` is text, json or github."""
    if output == "json":
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    for finding in findings if output != "json" else ():
        click.echo(_annotation(finding) if output == "github" else _line(finding))


def _line(finding: Finding) -> str:
    """As compilers write it, so that editors find the place. Colours are only for terminals: click removes them."""
    place = f"{finding.file}:{finding.line}:" if finding.line else f"{finding.file}:"
    level = click.style(f"{finding.level}:", fg="red" if finding.level is Level.ERROR else "yellow", bold=True)
    field = click.style(f"{finding.field}: ", bold=True) if finding.field else ""
    return f"{place} {level} {field}{finding.sentence}"


def _annotation(finding: Finding) -> str:
    """https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands"""
    place = f"file={_escape(finding.file, ',:')}" + (f",line={finding.line}" if finding.line else "")
    text = f"{finding.field}: {finding.sentence}" if finding.field else finding.sentence
    return f"::{finding.level} {place}::{_escape(text)}"


def _escape(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text

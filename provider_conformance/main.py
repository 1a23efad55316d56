"""The command ``secrets-store-provider-conformance SOCKET``. Exit codes: 0 nothing failed, 1 a check failed, 2 the
command could not be carried out."""

import argparse
import asyncio
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc

from provider_conformance.answers import Answer
from provider_conformance.check import Result, Subject, run_checks
from provider_conformance.checks import CHECKS
from provider_conformance.client import Client
from provider_conformance.report import SUITE, junit, table
from provider_conformance.settings import Settings, UsageError, load, split_command

PASSED, FAILED, NOT_RUN = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        print("\n".join(f"{check.name}: {check.what}" for check in CHECKS))
        return PASSED
    try:
        settings = _settings(arguments)
        skip = _chosen(arguments)
        results = asyncio.run(run(_socket(arguments.socket), settings, skip, arguments.target_directory))
        print(table(results))
        if arguments.junit:
            Path(arguments.junit).write_bytes(junit(results))
    except (UsageError, OSError) as error:
        print(f"{SUITE}: {error}", file=sys.stderr)
        return NOT_RUN
    return FAILED if any(result.outcome == "FAIL" for result in results) else PASSED


async def run(
    socket: Path, settings: Settings, skip: Sequence[str] = (), target_directory: str | None = None
) -> list[Result]:
    """Run all checks but those to ``skip``. Target paths are made below ``target_directory``, by default that for
    temporary files, and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="conformance-", dir=target_directory) as targets:
        client = Client(socket, settings, Path(targets))
        try:
            if not await client.wait_connected():
                raise UsageError(f"nobody serves {socket}: start the provider")
            return await run_checks(CHECKS, Subject(client, settings, Answer(grpc.StatusCode.OK)), skip)
        finally:
            await client.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(SUITE, description="Check a secrets provider, in any language, at its socket.")
    parser.add_argument("socket", nargs="?", default="", help="the provider's socket, for example /run/x/lab.sock")
    parser.add_argument("--config", metavar="FILE", help="settings in YAML; flags take precedence")
    parser.add_argument("--parameter", metavar="NAME=VALUE", action="append", default=[], help="of the good class")
    parser.add_argument(
        "--missing-parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="of a class that names an object that does not exist",
    )
    parser.add_argument("--restart", metavar="COMMAND", help="restarts the provider; without it, restart is skipped")
    parser.add_argument("--seconds", type=float, help="deadline of a call (default 20)")
    parser.add_argument("--concurrency", type=int, help="calls at a time (default 20)")
    parser.add_argument(
        "--target-directory", metavar="DIR", help="where target paths are made, visible to the provider"
    )
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML, too")
    parser.add_argument("--only", metavar="CHECK", action="append", default=[], help="run only this and what it needs")
    parser.add_argument("--skip", metavar="CHECK", action="append", default=[], help="leave this check out")
    parser.add_argument("--list", action="store_true", help="print the checks and exit")
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = load(arguments.config) if arguments.config else Settings()
    settings = settings.with_parameters("good", arguments.parameter)
    settings = settings.with_parameters("missing", arguments.missing_parameter)
    given = {
        name: getattr(arguments, name) for name in ("seconds", "concurrency") if getattr(arguments, name) is not None
    }
    if arguments.restart:
        given["restart"] = split_command(arguments.restart)
    return dataclasses.replace(settings, **given)


def _chosen(arguments: argparse.Namespace) -> list[str]:
    """The names of the checks to leave out."""
    known = {check.name: check for check in CHECKS}
    if unknown := [name for name in (*arguments.only, *arguments.skip) if name not in known]:
        raise UsageError(f"there is no check {unknown[0]!r}; --list prints them")
    wanted = set(arguments.only) or set(known)
    for item in reversed(CHECKS):  # what a check needs is before it
        wanted |= set(item.needs) if item.name in wanted else set()
    return sorted((set(known) - wanted) | set(arguments.skip))


def _socket(path: str) -> Path:
    path = path.removeprefix("unix://")
    if not path:
        raise UsageError("give the path of the provider's socket")
    if not Path(path).is_socket():
        raise UsageError(f"{path} is not a socket: start the provider, or give the path of its socket")
    return Path(path)

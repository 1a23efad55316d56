"""The command ``secrets-store-provider-stub``."""

from collections.abc import Sequence
from dataclasses import dataclass

from provider_kit import ServeConfig, Versions, flag, load_key, run_command
from provider_kit.command import SOCKETS
from provider_stub.provider import StubProvider
from provider_stub.store import Directory

PROGRAM = "secrets-store-provider-stub"


@dataclass(frozen=True)
class StubConfig(ServeConfig):
    """The stub's flags, in addition to those of every provider."""

    endpoint: str = flag(f"unix://{SOCKETS}/stub.sock", "socket to serve; its name is the provider's name")
    secrets_dir: str = flag("", "directory of files to serve as secrets; empty: only generated secrets")
    key_file: str = flag(
        "", "file with the key for versions and generated secrets, created if absent; empty: a new key with each start"
    )
    allow_error_orders: bool = flag(False, "let classes request errors (stubError, stubDelay …); for tests only")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(PROGRAM, StubConfig, make, argv)


def make(config: StubConfig) -> StubProvider:
    """The provider that ``config`` describes."""
    return StubProvider(
        Directory(config.secrets_dir) if config.secrets_dir else None,
        Versions(load_key(config.key_file)),
        allow_error_orders=config.allow_error_orders,
    )


if __name__ == "__main__":
    raise SystemExit(main())

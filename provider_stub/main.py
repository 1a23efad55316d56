"""The stub as a command: ``secrets-store-provider-stub``."""

from collections.abc import Sequence
from dataclasses import dataclass

from provider_kit import ServeConfig, Versions, flag, load_key, run_command
from provider_stub.provider import StubProvider
from provider_stub.store import Directory

PROGRAM = "secrets-store-provider-stub"


@dataclass(frozen=True)
class StubConfig(ServeConfig):
    """How the stub runs."""

    secrets_dir: str = flag("", "directory of files to serve as secrets; empty serves generated ones only")
    key_file: str = flag(
        "", "file with the key for versions and generated secrets, made if absent; empty is a new key with each start"
    )
    allow_error_orders: bool = flag(False, "let classes order errors (stubError, stubDelay, …); for tests only")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(PROGRAM, StubConfig, make, argv)


def make(config: StubConfig) -> StubProvider:
    """The provider that the flags describe."""
    return StubProvider(
        Directory(config.secrets_dir) if config.secrets_dir else None,
        Versions(load_key(config.key_file)),
        allow_error_orders=config.allow_error_orders,
    )


if __name__ == "__main__":
    raise SystemExit(main())

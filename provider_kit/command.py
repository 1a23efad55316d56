"""A provider as a command: flags, logs, signals and exit codes."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from provider_kit.provider import Provider
from provider_kit.serving import serve_until_stopped, socket_path
from runtime import logs, process
from runtime.endpoints import parse_host_port
from runtime.flags import FlagSet, flag
from runtime.version import Build

# Where the driver looks for providers.
SOCKETS = "/var/run/secrets-store-csi-providers"


@dataclass(frozen=True)
class ServeConfig:
    """The flags of every provider; subclass it, as a frozen dataclass, to add flags with ``flag(default, help)``."""

    endpoint: str = flag(
        "", f"socket to serve; its name is the provider's name; empty: unix://{SOCKETS}/<name of the program>.sock"
    )
    v: int = flag(0, "log verbosity; 5 logs every call")
    log_format_json: bool = flag(False, "write logs as JSON lines")
    metrics_addr: str = flag("", "address of /metrics and /healthz, such as :8090; empty turns both off")
    version: bool = flag(False, "print the version as JSON and exit")

    def __post_init__(self) -> None:
        if self.endpoint:
            socket_path(self.endpoint)
        if self.metrics_addr:
            parse_host_port(self.metrics_addr)


C = TypeVar("C", bound=ServeConfig)


def run_command(
    program: str,
    config_type: type[C],
    make: Callable[[C], Provider],
    argv: Sequence[str] | None = None,
    *,
    version: str = "",
) -> int:
    """The ``main`` of a provider; returns the exit code. ``make`` builds the provider from the parsed flags; ``argv``
    are the arguments without the program, by default those of this process. ``version`` is the provider's: what
    ``--version`` prints, and what it answers drivers, unless its class says otherwise; by default the kit's own.
    """

    async def work(config: C) -> None:
        if not config.endpoint:
            config = replace(config, endpoint=f"unix://{SOCKETS}/{program}.sock")
        provider = make(config)
        if version and provider.version == Provider.version:
            provider.version = version
        await serve_until_stopped(provider, config.endpoint, config.metrics_addr)

    def run(config: C) -> int:
        logs.configure("provider", as_json=config.log_format_json, verbosity=config.v)
        return process.run(work(config))

    arguments = sys.argv[1:] if argv is None else argv
    shown = Build(version, "", "").to_json if version else None
    return process.start(FlagSet(program).add(config_type), config_type, arguments, run, shown)

"""A provider as a command: flags, logs, signals and exit codes."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from provider_kit.provider import Provider
from provider_kit.serving import serve, socket_path
from runtime import logs, process
from runtime.endpoints import parse_host_port
from runtime.errors import ConfigurationError
from runtime.flags import FlagSet, flag
from runtime.signals import stop_event
from runtime.version import Build

log = logs.get(__name__)

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


async def serve_until_stopped(provider: Provider, endpoint: str, metrics_addr: str = "") -> None:
    """Serve until SIGTERM or SIGINT; a second signal exits at once. With an address (``host:port``), metrics and health
    are served there.
    """
    with stop_event() as stop:
        async with AsyncExitStack() as stack:
            if metrics_addr:
                observing = _observing()
                observer = observing.Metrics(provider)
                server = await stack.enter_async_context(serve(provider, endpoint, observer))
                await stack.enter_async_context(observing.serving(metrics_addr, server, observer))
            else:
                server = await stack.enter_async_context(serve(provider, endpoint))
            log.info("Serving", provider=provider.name, socket=server.path)
            await stop.wait()


def _observing() -> Any:
    try:
        from provider_kit import observing
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--metrics-addr needs the package {error.name}: install secrets-store-provider-kit[metrics]"
        ) from None
    return observing

"""The container's entry point: one command line, three roles, one supervisor.

It takes the driver's flags as they are, and the other two's under names of their own where they are theirs alone or
collide. What can be derived is not asked for: all three use the driver's socket, one log format, one verbosity, one
status directory.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import driver.main
import probe.main
import registrar.main
from driver import preflight
from driver.config import GO_ONLY, DriverConfig
from probe.config import ProbeConfig
from registrar.config import RegistrarConfig
from runtime import process
from runtime.endpoints import UnixEndpoint
from runtime.errors import ConfigurationError
from runtime.flags import FlagSet, HelpRequested
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import Role
from runtime.supervisor.supervise import supervise, write_termination_message
from runtime.version import build

PROGRAM = "secrets-store-csi"
REGISTRAR_FLAGS = {
    "kubelet_registration_path": "kubelet-registration-path",
    "plugin_registration_path": "plugin-registration-path",
    "timeout": "registrar-timeout",
    "http_endpoint": "registrar-http-endpoint",
    "driver_gone_after": "registrar-driver-gone-after",
}
PROBE_FLAGS = {
    "http_endpoint": "probe-http-endpoint",
    "probe_timeout": "probe-timeout",
    "metrics_path": "probe-metrics-path",
    "refuse_before_first_answer": "probe-refuse-before-first-answer",
}
DEFAULT_PROBE_ENDPOINT = "0.0.0.0:9808"


@dataclass(frozen=True)
class Configs:
    """One configuration a role."""

    driver: DriverConfig
    registrar: RegistrarConfig
    probe: ProbeConfig


def flags() -> FlagSet:
    """All flags of the container."""
    return (
        FlagSet(PROGRAM)
        .add(DriverConfig)
        .add(RegistrarConfig, REGISTRAR_FLAGS)
        .add(ProbeConfig, PROBE_FLAGS)
        .ignore(GO_ONLY)
    )


def configure(values: Mapping[type, Mapping[str, Any]]) -> Configs:
    """The three configurations; raises ConfigurationError for the first wrong value."""
    own = DriverConfig(**values[DriverConfig])
    if not isinstance(own.listen, UnixEndpoint):
        raise ConfigurationError(
            f"--endpoint={own.endpoint}: kubelet needs a Unix socket, for example unix:///csi/csi.sock"
        )
    shared = {
        "csi_address": own.listen.path,
        "v": own.v,
        "status_directory": own.status_directory,
        "logging_format": "json" if own.log_format_json else "text",
    }
    return Configs(
        own,
        RegistrarConfig(**{**shared, **values[RegistrarConfig]}),
        ProbeConfig(**{"http_endpoint": DEFAULT_PROBE_ENDPOINT, **shared, **values[ProbeConfig]}),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the container's exit code."""
    try:
        parsed = flags().parse(sys.argv[1:] if argv is None else argv)
        if parsed.values[DriverConfig].get("version"):
            print(build().to_json())
            return 0
        configs = configure(parsed.values)
        preflight.check(configs.driver, configs.registrar.plugin_registration_path)
    except HelpRequested as usage:
        print(usage)
        return 0
    except ConfigurationError as error:
        write_termination_message(str(error))
        return process.report_startup_error(PROGRAM, error)
    for warning in parsed.warnings:
        print(f"{PROGRAM}: warning: {warning}", file=sys.stderr)
    return run(configs)


def run(configs: Configs) -> int:
    """Supervise the three. They stop in this order: kubelet must not find a socket whose driver is going away."""
    role_table = RoleTable(["registrar", "driver", "probe"])
    roles = [
        Role("registrar", partial(registrar.main.run, configs.registrar), stop_order=0, stop_seconds=3.0),
        Role("driver", partial(driver.main.run, configs.driver), stop_order=1, stop_seconds=20.0),
        Role("probe", partial(probe.main.run, configs.probe, role_table), stop_order=2, stop_seconds=3.0),
    ]
    return supervise(roles, role_table, as_json=configs.driver.log_format_json, verbosity=configs.driver.v)


if __name__ == "__main__":
    raise SystemExit(main())

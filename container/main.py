"""The container's main program: one command line, three roles, one supervisor.

The driver's flags keep their names. Flags of the registrar and the probe are offered under the names below, which say
whose they are. What follows from the driver's flags has no flag of its own: all three roles use the driver's socket,
and the same log format, verbosity and status directory.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import driver.main
import probe.main
import registrar.main
from driver import preflight
from driver.config import GO_ONLY, DriverConfig
from probe.config import DEFAULT_STATUS_ENDPOINT, ProbeConfig
from registrar.config import RegistrarConfig
from runtime import descriptors, process
from runtime.endpoints import TcpEndpoint, UnixEndpoint, parse_host_port
from runtime.errors import ConfigurationError
from runtime.flags import FlagSet, HelpRequested
from runtime.privileges import NOTHING, VOLUMES, harden
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
    "status_endpoint": "status-endpoint",
    "probe_timeout": "probe-timeout",
    "metrics_path": "probe-metrics-path",
    "refuse_before_first_answer": "probe-refuse-before-first-answer",
}
DEFAULT_PROBE_ENDPOINT = "0.0.0.0:9808"


class Configs(NamedTuple):
    """One configuration per role."""

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
    """The three configurations from the values given on the command line. Raises ConfigurationError."""
    driver_config = DriverConfig(**values[DriverConfig])
    if not isinstance(driver_config.listen, UnixEndpoint):
        raise ConfigurationError(
            f"--endpoint={driver_config.endpoint}: kubelet needs a Unix socket, for example unix:///csi/csi.sock"
        )
    shared = {
        "csi_address": driver_config.listen.path,
        "v": driver_config.v,
        "status_directory": driver_config.status_directory,
        "logging_format": "json" if driver_config.log_format_json else "text",
    }
    registrar_config = RegistrarConfig(**{**shared, **values[RegistrarConfig]})
    defaults = {
        "http_endpoint": DEFAULT_PROBE_ENDPOINT,
        "status_endpoint": _status_endpoint(driver_config.metrics, registrar_config.http),
    }
    return Configs(driver_config, registrar_config, ProbeConfig(**{**defaults, **shared, **values[ProbeConfig]}))


def _status_endpoint(*others: TcpEndpoint | None) -> str:
    """The default address of the status pages. There are none if another role was given its port: that role could not
    start if the probe had it first."""
    port = parse_host_port(DEFAULT_STATUS_ENDPOINT).port
    return "" if any(other is not None and other.port == port for other in others) else DEFAULT_STATUS_ENDPOINT


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, check the surroundings and run; returns the container's exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        parsed = flags().parse(argv)
        if parsed.values[DriverConfig].get("version"):
            print(build().to_json())
            return 0
        configs = configure(parsed.values)
        descriptors.raise_limit()
        preflight.check(configs.driver, configs.registrar.plugin_registration_path)
    except HelpRequested as usage:
        print(usage)
        return 0
    except ConfigurationError as error:
        write_termination_message(str(error))
        return process.report_startup_error(PROGRAM, error, argv)
    process.report_warnings(PROGRAM, parsed.warnings, argv)
    return run(configs)


def run(configs: Configs) -> int:
    """Supervise the three roles. The registrar stops first: kubelet must not find a registration socket whose driver is
    stopping."""
    build()  # remembered for all roles, so that each need not look for the distribution
    restricts = configs.driver.restrict_privileges
    if restricts:
        harden()
    role_table = RoleTable(["registrar", "driver", "probe"])
    roles = [
        Role("registrar", partial(registrar.main.run, configs.registrar), 0, 3.0, NOTHING if restricts else None),
        Role("driver", partial(driver.main.run, configs.driver), 1, 20.0, VOLUMES if restricts else None),
        Role("probe", partial(probe.main.run, configs.probe, role_table), 2, 3.0, NOTHING if restricts else None),
    ]
    return supervise(roles, role_table, as_json=configs.driver.log_format_json, verbosity=configs.driver.v)


if __name__ == "__main__":
    raise SystemExit(main())

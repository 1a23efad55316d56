"""One command line for the three roles: the driver's flags, and the others' under names of their own."""

import json
from pathlib import Path

import pytest

from container.main import configure, flags, main
from container.reference import table
from driver.config import DriverConfig
from runtime.errors import ConfigurationError

REQUIRED = "--kubelet-registration-path=/var/lib/kubelet/plugins/csi-secrets-store/csi.sock"


def configs(*argv: str):  # type: ignore[no-untyped-def]  # a test's helper around configure
    return configure(flags().parse([REQUIRED, *argv]).values)


def test_derived() -> None:
    """Socket, log format, verbosity and status directory are given once → all three roles have them."""
    found = configs("--endpoint=unix:///csi/csi.sock", "-v=5", "--log-format-json", "--status-directory=/run/x")
    assert found.registrar.driver.path == found.probe.driver.path == "/csi/csi.sock"
    assert {found.driver.v, found.registrar.v, found.probe.v} == {5}
    assert found.registrar.logging_format == found.probe.logging_format == "json"
    assert {found.driver.status_directory, found.registrar.status_directory, found.probe.status_directory} == {"/run/x"}


def test_own_names() -> None:
    """Flags of the registrar or the probe alone have names of their own."""
    found = configs(
        "--plugin-registration-path=/r",
        "--registrar-http-endpoint=:1",
        "--probe-http-endpoint=127.0.0.1:2",
        "--probe-timeout=1s",
    )
    assert found.registrar.plugin_registration_path == "/r"
    assert (found.registrar.http_endpoint, found.probe.http_endpoint) == (":1", "127.0.0.1:2")
    assert found.probe.probe_timeout == 1.0


def test_defaults() -> None:
    """No flags → the driver has its own defaults, and the probe listens on the port of the chart's livenessProbe."""
    found = configs()
    assert found.driver == DriverConfig()
    assert found.probe.http_endpoint == "0.0.0.0:9808"
    assert found.probe.status_endpoint == "127.0.0.1:9809"


@pytest.mark.parametrize("taken", ["--metrics-addr=:9809", "--registrar-http-endpoint=127.0.0.1:9809"])
def test_default_status_endpoint_that_another_role_has(taken: str) -> None:
    """Another role was given the port of the status pages → there are none, and the role gets its port; a status
    endpoint on the command line counts."""
    assert configs(taken).probe.status_endpoint == ""
    assert configs(taken, "--status-endpoint=:1").probe.status_endpoint == ":1"


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["--endpoint=tcp://127.0.0.1:1"], "kubelet needs a Unix socket"),
        (["--metrics-backend=x"], "unsupported metrics backend"),
        (["--probe-timeout=0"], "--probe-timeout"),
        (["--status-endpoint=9809"], "invalid address: 9809"),
    ],
)
def test_wrong_values(argv: list[str], sentence: str) -> None:
    """A wrong value for any of the roles → ConfigurationError with one sentence."""
    with pytest.raises(ConfigurationError, match=sentence):
        configs(*argv)


@pytest.mark.parametrize(
    "argv, code, sentence",
    [
        ([], 1, "--kubelet-registration-path is required"),
        ([REQUIRED, "--csi-address=/x"], 2, "flag provided but not defined: -csi-address"),
        (["--version"], 0, ""),
        (["--help"], 0, ""),
    ],
)
def test_exit_codes(argv: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that ends at once → an exit code and one sentence, without the supervisor and its restarts."""
    assert main(argv) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, level, sentence",
    [
        (["--log-format-json"], "error", "--kubelet-registration-path is required"),
        (["--log-format-json=true", REQUIRED, "--nonsense"], "error", "flag provided but not defined: -nonsense"),
        (["-log-format-json", REQUIRED, "--endpoint=tcp://127.0.0.1:1"], "error", "kubelet needs a Unix socket"),
        (["--log-format-json", "--metrics-backend=x", REQUIRED], "error", "unsupported metrics backend"),
    ],
)
def test_refusals_in_json(argv: list[str], level: str, sentence: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A command line that asks for JSON and cannot be run → the refusal is one line of JSON, also where the command
    line could not be parsed to its end."""
    assert main(argv) != 0
    (line,) = (json.loads(line) for line in capfd.readouterr().err.splitlines())
    assert line["level"] == level and line["process"] == "secrets-store-csi" and sentence in json.dumps(line)


def test_flags_page() -> None:
    """docs/flags.md is what ``python -m container.reference`` prints."""
    page = Path(__file__).parents[2] / "docs" / "flags.md"
    assert page.read_text() == table() + "\n"

"""One command line for three: the driver's flags as they are, the others' under names of their own."""

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
    """Socket, log format, verbosity and status directory are asked for once and reach all three."""
    found = configs("--endpoint=unix:///csi/csi.sock", "-v=5", "--log-format-json", "--status-directory=/run/x")
    assert found.registrar.driver.path == found.probe.driver.path == "/csi/csi.sock"
    assert {found.driver.v, found.registrar.v, found.probe.v} == {5}
    assert found.registrar.logging_format == found.probe.logging_format == "json"
    assert {found.driver.status_directory, found.registrar.status_directory, found.probe.status_directory} == {"/run/x"}


def test_own_names() -> None:
    """What is the registrar's or the probe's alone has its own name."""
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
    """The driver's defaults are its own; the probe listens where the chart's livenessProbe asks."""
    found = configs()
    assert found.driver == DriverConfig()
    assert found.probe.http_endpoint == "0.0.0.0:9808"


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["--endpoint=tcp://127.0.0.1:1"], "kubelet needs a Unix socket"),
        (["--metrics-backend=x"], "unsupported metrics backend"),
        (["--probe-timeout=0"], "--probe-timeout"),
    ],
)
def test_wrong_values(argv: list[str], sentence: str) -> None:
    """Whichever of the three it is, one sentence."""
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
    """A bad command line never reaches the supervisor: no restart loop, one sentence."""
    assert main(argv) == code
    assert sentence in capsys.readouterr().err


def test_the_docs_table_is_the_flags() -> None:
    """docs/flags.md is what the dataclasses say; python -m container.reference writes it anew."""
    page = Path(__file__).parents[2] / "docs" / "flags.md"
    assert page.read_text() == table() + "\n"

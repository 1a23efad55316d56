"""A provider as a command: its socket and its version."""

import json

import pytest

from provider_kit import ConfigurationError, Provider, ServeConfig, run_command

SOCKETS = "unix:///var/run/secrets-store-csi-providers"


def endpoint_of(program: str, *argv: str) -> str:
    """The endpoint in the configuration that the provider is made from; it is not started."""
    seen: list[str] = []

    def make(config: ServeConfig) -> Provider:
        seen.append(config.endpoint)
        raise ConfigurationError("not in this test")

    assert run_command(program, ServeConfig, make, list(argv)) == 1
    return seen[0]


@pytest.mark.parametrize("program", ["lab", "my-provider", "secrets_store_provider_lab"])
def test_the_default_socket(program: str) -> None:
    """No ``--endpoint``, or an empty one → the program's own name, where the driver looks; one that is given counts."""
    assert endpoint_of(program) == endpoint_of(program, "--endpoint=") == f"{SOCKETS}/{program}.sock"
    assert endpoint_of(program, "--endpoint=unix:///run/other.sock") == "unix:///run/other.sock"


def test_a_program_whose_name_is_no_providers(capfd: pytest.CaptureFixture[str]) -> None:
    """A program with a name that is too long for a provider → exit code 1, and a sentence with the rule."""
    assert run_command("n" * 31, ServeConfig, lambda config: Provider(), []) == 1
    assert "1 to 30 letters" in capfd.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` → the provider's own version if it gives one."""
    assert run_command("lab", ServeConfig, lambda config: Provider(), ["--version"], version="1.2.3") == 0
    assert json.loads(capsys.readouterr().out)["BuildVersion"] == "1.2.3"


@pytest.mark.parametrize(("own", "seen"), [("", "1.2.3"), ("7", "7")])
def test_the_version_that_drivers_see(monkeypatch: pytest.MonkeyPatch, own: str, seen: str) -> None:
    """The command's version → drivers are told the same, unless the provider has one of its own."""
    served: list[Provider] = []

    async def serve(provider: Provider, endpoint: str, metrics_addr: str) -> None:
        served.append(provider)

    def make(config: ServeConfig) -> Provider:
        provider = Provider()
        provider.version = own or provider.version
        return provider

    monkeypatch.setattr("provider_kit.command.serve_until_stopped", serve)
    assert run_command("lab", ServeConfig, make, [], version="1.2.3") == 0
    assert [provider.version for provider in served] == [seen]

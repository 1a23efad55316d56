"""linux.extraArgs: the render refuses what the program would refuse, on every node, and says what is allowed."""

import json

import pytest

from container.main import configure
from container.main import flags as program_flags
from tests.helm import chart, flags

SAMPLES = (
    "1",
    "0",
    "-1",
    "-2",
    "10MB",
    "999999999999999999",
    "9223372036854775808",
    "9999999h",
    "1.5",
    "",
    "true",
    "maybe",
    "TRUE",
    "1m",
    "0s",
    "5 minutes",
    "-1s",
    "/a",
    "a",
    ":80",
    "localhost",
    ":99999",
    "[::1]:80",
)


def refused(*arguments: str) -> str:
    """The error for these arguments; empty if the chart renders."""
    done = chart.template(f"--set-json=linux.extraArgs={json.dumps(arguments)}")
    return done.stderr if done.returncode else ""


def free() -> list[str]:
    """The flags that the chart does not set itself by default."""
    (only,) = (item for item in chart.render() if item["kind"] == "DaemonSet")
    given = {item.lstrip("-").partition("=")[0] for item in only["spec"]["template"]["spec"]["containers"][0]["args"]}
    return [name for name in flags.data()["flags"] if name not in given | {"version"}]


@pytest.mark.parametrize("value", SAMPLES)
def test_as_the_program(value: str) -> None:
    """All flags with one value → the chart names exactly those that the program refuses with this value."""
    given = [f"--{name}={value}" for name in free()]
    said = refused(*given)
    assert {item for item in given if f"linux.extraArgs: {item}: --" in said} == {
        item for item in given if not flags.accepted(item)
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--foo=1"], "the program has no flag --foo: docs/flags.md lists them"),
        (["--tmpfs-size=10MB"], "--tmpfs-size must be a whole number, 0 or -1, without a unit"),
        (["--memory-headroom=1Gi"], "--memory-headroom must be a whole number"),
        (["debug"], "it must be a flag such as --volume-condition=true"),
        (["memory-headroom=1"], "it must be a flag such as"),
        (["---volume-condition"], "it must be a flag such as"),
        (["--"], "it must be a flag such as"),
        ([""], "it must be a flag such as"),
        (["--memory-headroom", "5"], "write --memory-headroom=VALUE"),
        (["--memory-headroom 5"], "it must be a flag such as"),
        (["--sync-secrets", "false"], "false: it must be a flag such as"),
        (["--max-volume-entries=5", "--max-volume-entries=6"], "--max-volume-entries is there twice"),
        (["-volume-condition", "--volume-condition=false"], "--volume-condition is there twice"),
        (["--provider-health-check=true"], "from the value providerHealthCheck: set that"),
        (["--metrics-addr=:1"], "from the value linux.metricsAddr: set that"),
        (["--endpoint=unix:///a"], "the chart sets --endpoint itself"),
        (["--version"], "print its version and exit"),
        (["--version=false"], "print its version and exit"),
        (["--help"], "no flag --help"),
    ],
)
def test_refused(arguments: list[str], named: str) -> None:
    """A wrong argument → the render fails, with the value's name, the argument and what to do."""
    said = refused(*arguments)
    assert "linux.extraArgs: " in said and named in said, said


def test_all_mistakes_at_once() -> None:
    """Several wrong arguments → one error with all of them."""
    said = refused("--foo=1", "--tmpfs-size=10MB", "bar")
    assert said.count("linux.extraArgs: ") == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--volume-condition"],
        ["-v=5"],
        ["--vmodule=a=1,b=2"],
        ["--manifests=/a=b"],
        ["--rotation-poll-interval=1h30m", "--restrict-privileges=false"],
        ["--startup-taint="],
        ["--enable-pprof"],
    ],
)
def test_accepted(arguments: list[str]) -> None:
    """What the program accepts → rendered as it is written."""
    assert refused(*arguments) == ""
    (only,) = (
        item
        for item in chart.render(f"--set-json=linux.extraArgs={json.dumps(arguments)}")
        if item["kind"] == "DaemonSet"
    )
    given = only["spec"]["template"]["spec"]["containers"][0]["args"]
    assert given[-len(arguments) :] == arguments
    configure(program_flags().parse([item.replace("$(CSI_ENDPOINT)", "unix:///a") for item in given]).values)

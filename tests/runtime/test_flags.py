"""Flags as Go's flag package reads them."""

from dataclasses import dataclass

import pytest

from runtime.flags import (
    Duration,
    FlagSet,
    HelpRequested,
    Ignored,
    UsageError,
    flag,
    flags_of,
    format_value,
    parse_duration,
)


@dataclass(frozen=True)
class Config:
    endpoint: str = flag("unix://tmp/csi.sock", "listen address")
    interval: Duration = flag(Duration(120.0), "how often")
    verbose: bool = flag(False, "talk")
    size: int = flag(4, "bytes")
    paths: tuple[str, ...] = flag(("/a",), "directories")
    old: str = flag("", "as it was", deprecated="use --endpoint")
    private: str = "no flag"


def parse(*argv: str) -> Config:
    flags = (
        FlagSet("test").add(Config).ignore([Ignored("pprof", "Go only", is_switch=True), Ignored("port", "Go only")])
    )
    return Config(**flags.parse(argv).values[Config])


@pytest.mark.parametrize(
    "argv, expected",
    [
        ((), Config()),
        (("-endpoint=x",), Config(endpoint="x")),
        (("--endpoint", "x"), Config(endpoint="x")),
        (("--endpoint=a=b",), Config(endpoint="a=b")),
        (("--endpoint=",), Config(endpoint="")),
        (("-verbose",), Config(verbose=True)),
        (("--verbose=false",), Config(verbose=False)),
        (("--verbose=T",), Config(verbose=True)),
        (("--interval", "2m30s"), Config(interval=Duration(150.0))),
        (("-size=0x10",), Config(size=16)),
        (("--paths=/x,,/y",), Config(paths=("/x", "/y"))),
        (("--paths=",), Config(paths=())),
        (("-size", "1", "-size", "2"), Config(size=2)),
        (("--pprof", "--port", "6065", "-verbose"), Config(verbose=True)),
    ],
)
def test_accepted(argv: tuple[str, ...], expected: Config) -> None:
    """Each spelling that Go accepts has the value that it has in Go; an empty list element is dropped."""
    assert parse(*argv) == expected


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (("--unknown",), "flag provided but not defined: -unknown"),
        (("--private=x",), "flag provided but not defined: -private"),
        (("--size=x",), 'invalid value "x" for flag -size: want a whole number'),
        (("--size=",), "want a whole number"),
        (("--size= 5",), "want a whole number"),
        (("--size=\u0665",), "want a whole number"),
        (("--size=9223372036854775808",), "want a whole number of 64 bits"),
        (("--size=-9223372036854775809",), "want a whole number of 64 bits"),
        (("--size=" + "9" * 5000,), "want a whole number"),
        (("--verbose=maybe",), "want true or false"),
        (("--verbose", "false"), "unexpected argument 'false'"),
        (("--interval=5",), "want a duration"),
        (("--endpoint",), "flag needs an argument: -endpoint"),
        (("stray",), "unexpected argument 'stray'"),
        (("--",), "unexpected argument"),
        (("---x",), "unexpected argument"),
    ],
)
def test_refused(argv: tuple[str, ...], sentence: str) -> None:
    """Each wrong spelling → UsageError that names it. Go would ignore everything after a stray word."""
    with pytest.raises(UsageError, match=sentence):
        parse(*argv)


def test_warnings() -> None:
    """A Go-only and a deprecated flag → accepted, with a warning that says why it has no effect or what to use
    instead."""
    flags = FlagSet("test").add(Config).ignore([Ignored("pprof", "not in Python", is_switch=True)])
    parsed = flags.parse(["--pprof", "--old=x"])
    assert parsed.warnings == ["--pprof has no effect: not in Python", "--old is deprecated: use --endpoint"]


def test_help_lists_every_flag() -> None:
    """-h → HelpRequested with each flag and its default, written as on a command line."""
    with pytest.raises(HelpRequested) as usage:
        parse("-h")
    for item in flags_of(Config):
        assert f"--{item.name}" in str(usage.value)
    assert "(default 2m)" in str(usage.value)


def test_some_flags_under_other_names() -> None:
    """Only some flags of a dataclass are added, under other names → the others do not exist."""
    flags = FlagSet("test").add(Config, {"size": "registrar-size"})
    assert flags.parse(["--registrar-size=7"]).values[Config] == {"size": 7}
    with pytest.raises(UsageError):
        flags.parse(["--size=7"])


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("0", 0),
        ("90s", 90),
        ("1.5h", 5400),
        ("2m30s", 150),
        ("500ms", 0.5),
        ("1h0m0.5s", 3600.5),
        ("-1s", -1),
        (".5s", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """Go's duration syntax, in seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "1d", "m", "1 m", "5s ", "1m2", "\u0665s", "2562048h", "9" * 400 + "h", "1" + "0" * 12 + "s"]
)
def test_bad_durations(text: str) -> None:
    """Anything else → ValueError."""
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    "value, text",
    [(True, "true"), (120.0, "2m"), (0.5, "500ms"), (3661.0, "1h1m1s"), (("a", "b"), "a,b"), ("", '""'), (4, "4")],
)
def test_show(value: object, text: str) -> None:
    """Values are formatted as on a command line."""
    assert format_value(value) == text

"""Command lines of the driver, the registrar, the probe and the container."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container import main as container
from driver.config import GO_ONLY, DriverConfig
from probe.config import ProbeConfig
from registrar.config import RegistrarConfig
from runtime.errors import ConfigurationError
from runtime.flags import FlagSet, HelpRequested, flags_of
from tests.fuzz.effort import fuzzed, tally

COMMANDS: dict[str, tuple[Callable[[], FlagSet], type]] = {
    "driver": (lambda: FlagSet("driver").add(DriverConfig).ignore(GO_ONLY), DriverConfig),
    "registrar": (lambda: FlagSet("registrar").add(RegistrarConfig), RegistrarConfig),
    "probe": (lambda: FlagSet("probe").add(ProbeConfig), ProbeConfig),
    "container": (container.flags, DriverConfig),
}
values = (
    st.sampled_from(
        ["", "0", "1", "-1", "true", "false", "2m", "10ms", "/a", "/a,/b", ":80", "127.0.0.1:8095", "[::1]:0"]
    )
    | st.sampled_from(["unix:///csi/csi.sock", "unix://a", "tcp://h:1", "unix:/x", "Prometheus", "text", "json", "/x"])
    | st.integers().map(str)
    | st.builds("{}{}".format, st.text("0123456789_.ex+-", max_size=12), st.sampled_from(["", "ns", "ms", "m", "h"]))
    | st.builds("{}{}".format, st.sampled_from([300, 4301]).map("9".__mul__), st.sampled_from(["", "h", "s"]))
    | st.builds("{}{}".format, st.sampled_from(["", "tcp://", "unix://"]), st.text("ab.:[]/0123456789", max_size=12))
    | st.text(st.characters(exclude_characters="\0"), max_size=10)
)
KINDS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and -(2**63) <= value < 2**63,
    "bool": lambda value: isinstance(value, bool),
    "duration": lambda value: isinstance(value, float) and abs(value) < 2**63 / 1e9,
    "list": lambda value: isinstance(value, tuple) and all(isinstance(item, str) and item for item in value),
}


@st.composite
def command_lines(draw: st.DrawFn, flags: FlagSet) -> list[str]:
    """A few flags of the command, and words that are none."""
    names = st.sampled_from(sorted(flags._flags))
    flag = st.builds("--{}={}".format, names, values) | names.map("--{}".format)
    return draw(st.lists(flag | st.builds("-{}={}".format, names, values) | values, max_size=5))


@pytest.mark.parametrize("command", COMMANDS)
@given(st.data())
@fuzzed(60)
def test_command_lines(command: str, data: st.DataObject) -> None:
    """Any command line → a configuration whose values are of their types and can be used, or ConfigurationError with a
    sentence."""
    make, spec = COMMANDS[command]
    flags = make()
    argv = data.draw(command_lines(flags))
    tally("command lines")
    try:
        parsed = flags.parse(argv)
        if command == "container":
            configs = container.configure(parsed.values)
            configurations: list[Any] = [configs.driver, configs.registrar, configs.probe]
        else:
            configurations = [spec(**parsed.values[spec])]
    except HelpRequested:
        return
    except ConfigurationError as error:
        assert str(error)
        return
    for config in configurations:
        if not getattr(config, "version", False):  # who asks for the version needs no other value, so none is checked
            check(config)


def check(config: Any) -> None:
    """Each value has its type, and what is computed from it can be computed."""
    for item in flags_of(type(config)):
        assert KINDS[item.kind](getattr(config, item.field)), item
    for name, attribute in vars(type(config)).items():
        if isinstance(attribute, property):
            getattr(config, name)
    if isinstance(config, DriverConfig):
        assert config.volume_size is None or 0 < config.volume_size < 2**63
        assert 0 < config.largest_reply < 2**31 and 0 < config.volume_inodes < 2**63

"""What a role prints past its log (gRPC's C core repeats a peer's text, the interpreter prints warnings) reaches the
container's log redacted, on lines of its own, and as JSON if logs are JSON."""

import json
from pathlib import Path

import pytest

from tests.attacks.calls import publish, write_class
from tests.attacks.goaway import CANARY, serve_goaway
from tests.container.test_whole import Container
from tests.runtime.supervisor.rig import SupervisorRig, supervisor_rig
from tests.support.waiting import wait_until

PARTS = (CANARY, CANARY.replace("-", "+"), "s3cr3t")


def check(rig: SupervisorRig, *, as_json: bool) -> None:
    """No canary and no control character anywhere; each line has its process, as a prefix or a key."""
    raw = rig.output.read_bytes()
    text = raw.decode()  # strict: bytes that are not UTF-8 have become replacement characters
    assert not any(part in text for part in PARTS), text
    for line in text.split("\n")[:-1]:
        assert line.isprintable(), repr(line)
        if as_json:
            assert isinstance(json.loads(line), dict)
        else:
            assert line.startswith(("[driver] ", "[supervisor] ")), line


@pytest.mark.parametrize("as_json", [False, True])
def test_hostile_goaway(tmp_path: Path, as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider ends its connection with a text of several lines, an escape sequence, a token, a key and a forged log
    line, and gRPC's own lines are on → they show none of that."""
    monkeypatch.setenv("GRPC_VERBOSITY", "info")
    with supervisor_rig({"driver": "meet_goaway"}, tmp_path, as_json=as_json) as rig:
        rig.wait_logged("driver up")
        rig.wait_logged("The call failed")
        assert rig.logged("chttp2_transport"), rig.lines
        check(rig, as_json=as_json)


def test_hostile_goaway_in_the_container(tmp_path: Path) -> None:
    """The same in the whole container → gRPC's own lines are off, since what they repeat may be any secret that the
    provider was sent; the driver's line about the failed call is there."""
    container = Container(tmp_path, "--log-format-json")
    serve_goaway(tmp_path / "providers" / "evil.sock")
    write_class(tmp_path, "app", "evil", {"x": "y"})
    try:
        # gRPC's own client waits longer and longer before it connects again to a socket that is not there yet.
        wait_until(lambda: container.fetch("/healthz")[0] == 200, "the container", 30)
        sentence = publish(tmp_path, "one", "app", {}, {}, seconds=5.0)
        log_file = tmp_path / "log"
        wait_until(lambda: "Failed to publish a volume" in log_file.read_text(), "the driver's line about the call")
    finally:
        container.process.terminate()
        container.process.wait(20)
    log = log_file.read_text()
    assert "chttp2_transport" not in log
    assert not any(part in text for part in PARTS for text in (log, sentence))


@pytest.mark.parametrize("as_json", [False, True])
def test_everything_that_is_printed(tmp_path: Path, as_json: bool) -> None:
    """Lines with secrets, a private key over several lines, bytes that are not UTF-8, a line of 20 kB, a Python
    warning, an exception in a thread, half a line before one of our own → all are there, redacted; our own line is
    whole, and keeps the field that would look like a secret in somebody else's."""
    with supervisor_rig({"driver": "print_badly"}, tmp_path, as_json=as_json) as rig:
        rig.wait_logged("driver up")
        rig.wait_logged("A line of ours")
        check(rig, as_json=as_json)
        for expected in (
            "plain password=***stripped***",
            "a plain line",
            "a warning with password=***stripped***",
            "Unhandled exception in a thread",
            "half a line, then",
            "default/app-tls",
            "�",
        ):
            shown = json.dumps(expected)[1:-1] if as_json else expected
            assert rig.logged(shown), (shown, rig.lines)
        (own,) = (line for line in rig.lines if "A line of ours" in line)
        if as_json:
            assert json.loads(own)["secret"] == "default/app-tls" and json.loads(own)["process"] == "driver"
        else:
            assert own.startswith("[driver] I") and own.endswith('"A line of ours" secret="default/app-tls"')

"""The probe as a command: livenessprobe's flags, exit codes, pages and metrics, and where ours differ on purpose."""

import concurrent.futures
import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from probe.config import GO_ONLY, ProbeConfig
from runtime.flags import flags_of, format_value
from tests.support import unmeasured
from tests.support.fake_driver import NAME, driver_process
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.waiting import wait_until

OF_THE_ORIGINAL = {
    "csi-address": "/run/csi/socket",
    "probe-timeout": "3s",
    "http-endpoint": '""',
    "health-port": "9808",
    "metrics-address": '""',
    "metrics-path": "/metrics",
    "v": "0",
    "logging-format": "text",
}
NOT_CONNECTED = (500, "context deadline exceeded")


def test_flags_and_defaults() -> None:
    """Every flag of livenessprobe has its name and default; ours come in addition."""
    flags = {item.name: format_value(item.default) for item in flags_of(ProbeConfig)}
    assert {name: flags[name] for name in OF_THE_ORIGINAL} == OF_THE_ORIGINAL
    assert set(flags) - set(OF_THE_ORIGINAL) == {
        "refuse-before-first-answer",
        "status-directory",
        "status-endpoint",
        "version",
    }
    assert "automaxprocs" in {item.name for item in GO_ONLY}


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "probe.main", "--status-directory=", "--status-endpoint=", *argv]


@pytest.mark.parametrize(
    "argv, code, text",
    [
        (("--http-endpoint=:1", "--health-port=2"), 1, "only one of --http-endpoint and --health-port"),
        (("--http-endpoint=:1", "--metrics-address=:2"), 1, "only one of --http-endpoint and --metrics-address"),
        (("--probe-timeout=0",), 1, "--probe-timeout"),
        (("--http-endpoint=9808",), 1, "invalid address: 9808"),
        (("--unknown",), 2, "flag provided but not defined"),
    ],
)
def test_bad_command_lines(argv: tuple[str, ...], code: int, text: str) -> None:
    """Conflicting flags or a wrong value → an exit code and one sentence, no traceback."""
    done = subprocess.run(command(*argv), capture_output=True, text=True, timeout=20)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert text in done.stderr


def test_port_taken() -> None:
    """The port is in use → exit code 1 and the reason; livenessprobe exits with 0, which a restart policy takes for
    success."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            command(f"--http-endpoint=127.0.0.1:{taken.getsockname()[1]}"), capture_output=True, text=True, timeout=20
        )
    assert done.returncode == 1 and "cannot listen on 127.0.0.1" in done.stderr


class ProbeProcess:
    """A probe process; a driver can be started beside it."""

    def __init__(self, directory: Path, *argv: str, measured: bool = False) -> None:
        self.csi = directory / "csi.sock"
        self.port = free_port()
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command(
                    f"--csi-address={self.csi}",
                    f"--http-endpoint=127.0.0.1:{self.port}",
                    "--probe-timeout=500ms",
                    *argv,
                ),
                stderr=log,
                env=None if measured else unmeasured.environment(),
            )

    def fetch(self, path: str = "/healthz", method: str = "GET") -> tuple[int, str]:
        """Status code and body of a page; code 0 while nothing listens."""
        return fetch(self.port, path, method)

    def driver(self, *behaviour: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """A driver as a process of its own; ``behaviour`` as ``fake_driver`` takes it."""
        return driver_process(self.csi, *behaviour)


@contextmanager
def probing(directory: Path, *argv: str, measured: bool = False) -> Iterator[ProbeProcess]:
    """A probe, killed at the end; ``measured``: the test ends it before, so that its coverage is not lost."""
    running = ProbeProcess(directory, *argv, measured=measured)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ProbeProcess]:
    """A probe; no driver runs yet."""
    with probing(tmp_path) as made:
        wait_until(lambda: made.fetch("/livez") == (200, "ok"), "the probe")
        yield made


def test_before_the_driver_has_answered(running: ProbeProcess) -> None:
    """No driver yet → 500 with the reason, not a refused connection; a driver → 200; it is gone → 500 again."""
    code, text = running.fetch()
    assert code == 500 and text.endswith(f"the driver has not answered yet on {running.csi}; the socket does not exist")
    with running.driver():
        wait_until(lambda: running.fetch() == (200, "ok"), "ok")
    assert running.fetch() == NOT_CONNECTED
    with running.driver():
        wait_until(lambda: running.fetch() == (200, "ok"), "ok again")


def test_refuse_before_the_first_answer(tmp_path: Path) -> None:
    """With --refuse-before-first-answer, livenessprobe's behaviour, connections are refused until the driver has
    answered once."""
    with probing(tmp_path, "--refuse-before-first-answer") as running:
        wait_until(lambda: "has not answered yet" in (tmp_path / "log").read_text(), "a check of the driver")
        assert running.fetch() == (0, "")
        with running.driver():
            wait_until(lambda: running.fetch() == (200, "ok"), "ok")
        assert running.fetch() == NOT_CONNECTED


@pytest.mark.parametrize(
    "behaviour, answer",
    [
        ("ready", (200, "ok")),
        ("absent", (200, "ok")),
        ("unready", (500, "driver responded but is not ready")),
        ("error", (500, "rpc error: code = FailedPrecondition desc = broken")),
    ],
)
def test_answers_of_the_driver(running: ProbeProcess, behaviour: str, answer: tuple[int, str]) -> None:
    """Probe answers ready true or leaves it out → ok; ready false or an error → 500 with livenessprobe's texts."""
    with running.driver(behaviour):
        wait_until(lambda: running.fetch() == answer, f"{answer}, not {running.fetch()}")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_methods_and_paths(running: ProbeProcess, method: str) -> None:
    """/healthz answers any method; any other path is 404."""
    with running.driver():
        wait_until(lambda: running.fetch() == (200, "ok"), "ok")
        assert running.fetch(method=method) == (200, "" if method == "HEAD" else "ok")
        assert running.fetch("/other", method)[0] == 404
        assert running.fetch("/healthz/", method)[0] == 404


def test_frozen_driver(running: ProbeProcess) -> None:
    """The driver is stopped (SIGSTOP) → 500 within the deadline, with livenessprobe's text; it goes on (SIGCONT) →
    200."""
    with running.driver() as driver:
        wait_until(lambda: running.fetch() == (200, "ok"), "ok")
        driver.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        assert running.fetch() == (500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
        assert 0.4 < time.monotonic() - started < 5.0
        driver.send_signal(signal.SIGCONT)
        wait_until(lambda: running.fetch() == (200, "ok"), "ok again")


def test_stop_while_a_check_waits(tmp_path: Path) -> None:
    """SIGTERM while a request waits for a driver that is frozen → the request is answered, and the probe ends without
    waiting for the driver."""
    with probing(tmp_path, "--probe-timeout=60s", measured=True) as running, running.driver() as driver:
        wait_until(lambda: running.fetch() == (200, "ok"), "ok")
        driver.send_signal(signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(fetch, running.port, "/healthz", timeout=50)
            probe = psutil.Process(running.process.pid)
            wait_until(lambda: any(each.raddr for each in probe.net_connections("inet")), "the connection")
            time.sleep(0.2)  # it is read, which cannot be seen from outside
            started = time.monotonic()
            running.process.terminate()
            assert running.process.wait(30) == 0
            assert waiting.result() == (500, "the probe is stopping")
        assert time.monotonic() - started < 10.0


def test_concurrent_requests_share_a_call(running: ProbeProcess) -> None:
    """Thirty requests while the driver hangs → all are answered within one deadline."""
    with running.driver() as driver:
        wait_until(lambda: running.fetch() == (200, "ok"), "ok")
        driver.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda _: running.fetch()[0], range(30)))
        assert answers == [500] * 30
        assert time.monotonic() - started < 7.5  # half of what thirty calls take, one after the other


def test_metrics(running: ProbeProcess) -> None:
    """/metrics has livenessprobe's histogram with its name, labels, buckets and Go's names of codes, and the process's
    metrics."""
    with running.driver():
        wait_until(lambda: running.fetch() == (200, "ok"), "ok")
    running.fetch()
    text = running.fetch("/metrics")[1]
    labels = f'driver_name="{NAME}",grpc_status_code="OK",method_name="/csi.v1.Identity/Probe"'
    for bound in (
        "0.1",
        "0.25",
        "0.5",
        "1.0",
        "2.5",
        "5.0",
        "10.0",
        "15.0",
        "25.0",
        "50.0",
        "120.0",
        "300.0",
        "600.0",
        "+Inf",
    ):
        assert f'csi_sidecar_operations_seconds_bucket{{{labels},le="{bound}"}}' in sort_labels(text)
    assert "# HELP csi_sidecar_operations_seconds [ALPHA]" in text
    assert 'process_start_time_seconds{role="probe"}' in text


def sort_labels(text: str) -> str:
    """Sort each sample's labels, the bound ``le`` last."""
    import re

    def ordered(match: "re.Match[str]") -> str:
        pairs = re.findall(r'\w+="[^"]*"', match[1])
        return "{" + ",".join(sorted(pairs, key=lambda pair: (pair.startswith("le="), pair))) + "}"

    return re.sub(r"\{([^}]*)\}", ordered, text)


def test_hostile_clients(running: ProbeProcess) -> None:
    """Slow headers, a megabyte of headers, garbage, an unknown method, pipelining → answered as Go's server does or
    refused, and the next request is served."""
    slow = socket.create_connection(("127.0.0.1", running.port))
    slow.sendall(b"GET /healthz HT")
    for data in (
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1024 * 1024 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00nonsense\r\n\r\n",
        b"BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as hostile:
            try:
                hostile.sendall(data)
                answer = hostile.recv(4096)
            except ConnectionError:
                answer = b""
            # Go's server accepts any word as a method, and so may ours
            expected = (b"200", b"400") if data.startswith(b"BREW") else (b"400", b"431")
            assert answer == b"" or answer.split(b" ")[1] in expected, answer
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as pipelining:
        pipelining.sendall(
            b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 3
            + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = b""
        while data := pipelining.recv(65536):
            answers += data
        assert answers.count(b"HTTP/1.1 200 OK") == 4
    assert running.fetch("/livez") == (200, "ok")
    slow.close()


def test_deprecated_addresses(tmp_path: Path) -> None:
    """--health-port serves /healthz on all addresses and no metrics; --metrics-address serves the metrics at
    --metrics-path."""
    health, metrics = free_port(), free_port()
    argv = (
        "--http-endpoint=",
        f"--health-port={health}",
        f"--metrics-address=127.0.0.1:{metrics}",
        "--metrics-path=/m",
    )
    with probing(tmp_path, *argv) as running:
        running.port = health
        wait_until(lambda: running.fetch("/livez") == (200, "ok"), "the probe")
        assert running.fetch("/m")[0] == running.fetch("/metrics")[0] == 404
        running.port = metrics
        assert running.fetch("/m")[0] == 200 and running.fetch("/healthz")[0] == 404
    log = (tmp_path / "log").read_text()
    assert "--health-port is deprecated" in log and "--metrics-address is deprecated" in log


STATUS_PAGES = ("/status", "/")


def test_status_pages_have_their_own_address(tmp_path: Path) -> None:
    """Status pages at their own address → they are 404 where the health checks are; the health checks and the metrics
    are at both, as whoever forwards the port of the pages wants them, too."""
    status_port = free_port()
    with probing(tmp_path, f"--status-endpoint=127.0.0.1:{status_port}") as running:
        wait_until(lambda: running.fetch("/livez") == (200, "ok"), "the probe")
        wait_until(lambda: fetch(status_port, "/status")[0] == 200, "the status page")
        assert [running.fetch(path)[0] for path in (*STATUS_PAGES, "//", "/status/", "/status?a")] == [404] * 5
        assert [fetch(status_port, path)[0] for path in STATUS_PAGES] == [200, 200]
        assert [fetch(status_port, path)[0] for path in ("/livez", "/metrics", "/readyz", "/healthz")] == [
            running.fetch(path)[0] for path in ("/livez", "/metrics", "/readyz", "/healthz")
        ]
        assert fetch(status_port, "/unknown")[0] == 404


def test_a_website_cannot_read_the_status_pages(tmp_path: Path) -> None:
    """A request to the loopback address with a website's name as its host, which may resolve to 127.0.0.1 → 421, with a
    sentence; addresses and localhost, with any port or none, are served. The health checks take any name."""
    status_port = free_port()

    def status_of(port: int, path: str, host: str) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
            client.request("GET", path, headers={"Host": host})
            return client.getresponse().status

    with probing(tmp_path, f"--status-endpoint=127.0.0.1:{status_port}") as running:
        wait_until(lambda: fetch(status_port, "/status")[0] == 200, "the status page")
        for host in (
            "evil.example",
            f"evil.example:{status_port}",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[x]:1",
        ):
            assert [status_of(status_port, path, host) for path in (*STATUS_PAGES, "/livez")] == [421] * 3, host
            assert status_of(running.port, "/livez", host) == 200
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:9809", "[::1]", "10.1.2.3", ""):
            assert [status_of(status_port, path, host) for path in STATUS_PAGES] == [200, 200], host


@pytest.mark.parametrize("written", ["127.0.0.1:{}", ""])
def test_status_pages_are_opened_or_off(tmp_path: Path, written: str) -> None:
    """The status endpoint is that of the health checks → both are served there; it is empty → no status pages."""
    port = free_port()
    argv = (f"--http-endpoint=127.0.0.1:{port}", f"--status-endpoint={written.format(port)}")
    with probing(tmp_path, *argv) as running:
        running.port = port
        wait_until(lambda: running.fetch("/livez") == (200, "ok"), "the probe")
        assert [running.fetch(path)[0] for path in STATUS_PAGES] == ([200, 200] if written else [404, 404])


@pytest.mark.parametrize("taken_host, own_host", [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", ""), ("", "127.0.0.1")])
def test_status_port_taken(tmp_path: Path, taken_host: str, own_host: str) -> None:
    """The port of the status pages is in use → one warning with the reason, and the health checks are served."""
    with socket.create_server((taken_host, 0)) as taken:
        argv = f"--status-endpoint={own_host}:{taken.getsockname()[1]}"
        with probing(tmp_path, argv) as running, running.driver():
            wait_until(lambda: running.fetch() == (200, "ok"), "ok")
            assert running.fetch("/metrics")[0] == 200
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "status page are not served" in line]
    assert len(lines) == 1 and "cannot listen on" in lines[0]


def test_json_logs(tmp_path: Path) -> None:
    """``--logging-format=json`` → JSON lines that name the process."""
    with probing(tmp_path, "--logging-format=json", measured=True) as running:
        wait_until(lambda: running.fetch("/livez") == (200, "ok"), "the probe")
        running.process.terminate()
        assert running.process.wait(10) == 0
    line = json.loads((tmp_path / "log").read_text().splitlines()[0])
    assert line["process"] == "probe"

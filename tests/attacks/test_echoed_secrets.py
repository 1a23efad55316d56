"""A provider repeats what it was sent and what it has replied with, wherever it can: no log, error, status, page or
metric of the container shows any of it."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import grpc
import pytest

from protos import provider_pb2, provider_pb2_grpc
from tests.attacks.calls import publish, target_path, write_class
from tests.container.test_whole import Container
from tests.support.mounts import unmount_below
from tests.support.waiting import wait_until

SECRET, TOKEN, ATTRIBUTE, CONTENT = (
    "publish-canary/Zb81+x",
    "token-canary-Kd93mQ",
    "attribute-canary-Pw55",
    "content-canary-Rt72 & more",
)
CANARIES = (SECRET, TOKEN, ATTRIBUTE, CONTENT)
SECRETS = {"password": SECRET}
CONTEXT = {
    "csi.storage.k8s.io/serviceAccount.tokens": json.dumps({"vault": {"token": TOKEN}}),
    "clientSecret": ATTRIBUTE,
}
Encode = Callable[[str], str]
ENCODINGS: dict[str, Encode] = {
    "plain": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "basic": lambda text: base64.b64encode(f"admin:{text}".encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "url": lambda text: quote(text, safe=""),
    "json": lambda text: json.dumps(json.dumps({"value": text})),
    "repr": lambda text: repr(text.encode()),
    "lines": lambda text: "\n".join(text[i : i + 6] for i in range(0, len(text), 6)),
    "cut": lambda text: text[: len(text) * 2 // 3],
}


class EchoingProvider(provider_pb2_grpc.CSIDriverProviderServicer):
    """Fails, or replies, with all that it knows; the class's parameter ``how`` is the encoding and ``where`` the
    place."""

    def Version(
        self, request: provider_pb2.VersionRequest, context: grpc.ServicerContext
    ) -> provider_pb2.VersionResponse:
        return provider_pb2.VersionResponse(version="v1alpha1", runtime_name="echo", runtime_version="1")

    def Mount(self, request: provider_pb2.MountRequest, context: grpc.ServicerContext) -> provider_pb2.MountResponse:
        attributes = json.loads(request.attributes)
        # Content is a secret of the call once it has been returned.
        canaries = CANARIES[:3] if attributes["where"] == "details" else CANARIES
        text = " | ".join(f"({ENCODINGS[attributes['how']](canary)})" for canary in canaries)
        files = [provider_pb2.File(path="a", mode=0o400, contents=CONTENT.encode())]
        versions = [provider_pb2.ObjectVersion(id="a", version="v1")]
        if attributes["where"] == "details":
            context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"request: {request.attributes} {request.secrets} {text}"[-900:]
            )
        if attributes["where"] == "code":
            return provider_pb2.MountResponse(error=provider_pb2.Error(code=text), files=files)
        if attributes["where"] == "path":
            files.append(provider_pb2.File(path=f"../{text}", mode=0o400, contents=b"x"))
        return provider_pb2.MountResponse(object_version=versions, files=files)


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A container that logs as much as possible, with the provider."""
    directory = tmp_path_factory.mktemp("echo")
    container = Container(directory, "-v=5")
    server = grpc.server(ThreadPoolExecutor(2))
    provider_pb2_grpc.add_CSIDriverProviderServicer_to_server(EchoingProvider(), server)
    server.add_insecure_port(f"unix:{directory}/providers/echo.sock")
    server.start()
    try:
        wait_until(lambda: container.fetch("/healthz") == (200, "ok"), "healthz")
        yield container
    finally:
        server.stop(0)
        container.process.terminate()
        container.process.wait(20)
        unmount_below(directory / "kubelet")


def shown(container: Container, *texts: str) -> str:
    """Everything that the container has written or serves, without white space."""
    pages = [container.fetch(path)[1] for path in ("/", "/status", "/metrics", "/readyz", "/healthz")]
    log = (container.directory / "log").read_text()
    assert "***stripped***" in log
    return "".join("".join([log, *pages, *texts]).split())


def check_nothing_leaks(text: str) -> None:
    for canary in CANARIES:
        for how, encode in ENCODINGS.items():
            echoed = "".join(encode(canary).split())
            # A quoted or wrapped form may keep what is around the value, so the middle of it is searched.
            part = echoed if how == "cut" else echoed[len(echoed) // 4 : -len(echoed) // 4 or None]
            assert part not in text, (how, text[max(0, text.index(part) - 200) :][:400])


@pytest.mark.parametrize("where", ["details", "code", "path"])
@pytest.mark.parametrize("how", ENCODINGS)
def test_echoes(container: Container, how: str, where: str) -> None:
    """The provider's failure has all secrets of the call in it → kubelet's error text, the log at -v=5, the pages and
    the metrics have marks in their place, and still say which provider failed."""
    name = f"{how}-{where}"
    write_class(container.directory, name, "echo", {"how": how, "where": where})
    sentence = publish(container.directory, name, name, SECRETS, CONTEXT)
    assert sentence and ("***stripped***" in sentence or where == "path"), sentence
    check_nothing_leaks(shown(container, sentence))


def test_success(container: Container) -> None:
    """The provider replies with files → they are in the volume, and nowhere else."""
    write_class(container.directory, "fine", "echo", {"how": "plain", "where": "nowhere"})
    assert publish(container.directory, "fine", "fine", SECRETS, CONTEXT) == ""
    assert (target_path(container.directory, "fine") / "a").read_text() == CONTENT
    check_nothing_leaks(shown(container))


def test_other_calls_are_as_fast_as_before(container: Container) -> None:
    """Publishes of a well-behaved pod, by turns alone and while another one's fail with long echoes → about as fast."""
    write_class(container.directory, "fine", "echo", {"how": "plain", "where": "nowhere"})
    write_class(container.directory, "loud", "echo", {"how": "json", "where": "details"})

    def seconds_of(name: str) -> float:
        started = time.monotonic()
        assert publish(container.directory, name, "fine", SECRETS, CONTEXT) == ""
        return time.monotonic() - started

    alone, beside = [], []
    with ThreadPoolExecutor(1) as pool:
        for number in range(9):
            alone.append(seconds_of(f"quiet-{number}"))
            loud = [
                pool.submit(publish, container.directory, f"loud-{number}-{each}", "loud", SECRETS, CONTEXT)
                for each in range(4)
            ]
            beside.append(seconds_of(f"busy-{number}"))
            for future in loud:
                assert future.result()
    quiet, busy = sorted(alone)[4], sorted(beside)[4]
    print(f"median publish: {quiet * 1000:.1f} ms in quiet, {busy * 1000:.1f} ms under attack")
    assert busy < 4 * quiet + 0.1

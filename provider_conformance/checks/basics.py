"""The socket, the two methods, and the authority that a driver calls them with."""

import os
import re
import stat

from provider_conformance.check import Check, Failed, Subject
from provider_conformance.client import AUTHORITY

API_VERSION = "v1alpha1"
_SOCKET_NAME = re.compile(r"[a-zA-Z0-9_-]{1,30}\.sock")


async def socket(subject: Subject) -> None:
    """Who can write to a Unix socket can connect to it."""
    path = subject.client.socket
    if not _SOCKET_NAME.fullmatch(path.name):
        raise Failed(f"{path.name!r} is found by no driver: name it <name>.sock, of 1 to 30 letters, digits, _ or -")
    mode = os.stat(path).st_mode
    if mode & stat.S_IWOTH:
        raise Failed(f"every user of the node can connect (mode {stat.S_IMODE(mode):04o}): create it under umask 0077")


async def authority(subject: Subject) -> None:
    """The other checks call with ``localhost``. If that is refused and gRPC's default is not, this is the reason; if
    both are, it is another, and the check ``mount`` reports it."""
    answer = await subject.client.mount(subject.client.request())
    if not answer.ok and (await subject.client.mount_as(None, subject.client.request())).ok:
        raise Failed(f":authority {AUTHORITY}, which drivers send, is answered with {answer.outcome}: accept it")


async def version(subject: Subject) -> None:
    """Drivers call it for their health check, and log the names."""
    reply = await subject.client.version()
    if isinstance(reply, str):
        raise Failed(f"Version is answered with {reply}")
    if reply.version != API_VERSION:
        raise Failed(f"version is {reply.version!r}: answer {API_VERSION!r}, the version of the API")
    if not reply.runtime_name or not reply.runtime_version:
        raise Failed("runtime_name or runtime_version is empty: answer the provider's name and version")


async def mount(subject: Subject) -> None:
    """The good class."""
    answer = await subject.client.mount(subject.client.request())
    if not answer.ok:
        raise Failed(f"the good class is answered with {answer.outcome}")
    if not answer.files:
        raise Failed(
            "the reply has no files, and none are in the target directory "
            f"({subject.client.targets}: can the provider write there?)"
        )
    subject.good = answer


async def other_authorities(subject: Subject) -> None:
    """They may be refused, but not with silence, and nobody else may suffer."""
    for name in (None, "example.org", "localhost:80", ""):
        answer = await subject.client.mount_as(name, subject.client.request())
        shown = "the socket's path" if name is None else repr(name)
        if answer.code.name == "DEADLINE_EXCEEDED":
            raise Failed(f":authority {shown} is not answered in {subject.settings.seconds:g} s: accept or refuse it")
        await subject.still_serves(f"a call with :authority {shown}")


CHECKS = (
    Check("socket", "the socket has a name that drivers find, and is not open to every user", socket, ()),
    Check("authority", "calls with the authority localhost are accepted", authority, ()),
    Check("version", "Version names the API's version, and the provider's name and version", version, ("authority",)),
    Check(
        "mount", "the good class is delivered, as files of the reply or in the target directory", mount, ("authority",)
    ),
    Check("other-authorities", "another authority is accepted or refused, and hurts nobody", other_authorities),
)

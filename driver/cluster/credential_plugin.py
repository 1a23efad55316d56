"""Credential plugins, which a kubeconfig names (``exec``): run with limits of time and output, and killed with their
children. The contract:
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins

The package's own implementation waits for ever, blocks on a plugin that writes much to stderr, and takes a failure for
"no credentials".
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from runtime import logs, redact
from runtime.errors import ConfigurationError

log = logs.get(__name__)

RUN_SECONDS = 30.0
# After its end something that the plugin has started may still hold its output.
DRAIN_SECONDS, POLL_SECONDS = 1.0, 0.05
LARGEST_OUTPUT_BYTES, LARGEST_STDERR_BYTES = 1024 * 1024, 4 * 1024
_CHUNK = 64 * 1024


async def run(command: Sequence[str], environment: Mapping[str, str], api_version: str) -> dict[str, Any]:
    """The ``status`` that the plugin prints. Raises ConfigurationError with a sentence about what it did instead; what
    it wrote to stderr is in that sentence, or else in the log, both redacted and cut."""
    info = {"apiVersion": api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    name = redact.text(command[0])
    try:
        process = await _start(command, {**environment, "KUBERNETES_EXEC_INFO": json.dumps(info)})
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the credential plugin {name} cannot be started: {error}") from None
    said = bytearray()
    try:
        async with asyncio.timeout(RUN_SECONDS):
            output = await _output(process, said)
    except TimeoutError:
        raise ConfigurationError(
            f"the credential plugin {name} did not end within {RUN_SECONDS:g} s and was killed{_quoted(said)}"
        ) from None
    except _TooMuchError:
        raise ConfigurationError(
            f"the credential plugin {name} printed more than {LARGEST_OUTPUT_BYTES} bytes and was killed"
        ) from None
    finally:
        await _end(process)
    if process.returncode:
        raise ConfigurationError(f"the credential plugin {name} ended with code {process.returncode}{_quoted(said)}")
    if said:
        log.verbose(1, "A credential plugin has written to stderr", plugin=name, text=_shown(said))
    return _status(output, name, api_version)


async def _start(command: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start the plugin. A cancellation takes effect when it runs, a few turns of the event loop later: asyncio's own
    way to end a process that it is starting kills no children, and waits for those that hold the output."""
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # to be killed with its children
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        while not starting.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([starting])
        if starting.exception() is None:
            await _end(starting.result())
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    # Closes our ends of the pipes: a child with a session of its own would hold the others, and wait() waits for them
    # too.
    process._transport.close()  # type: ignore[attr-defined]  # there is no public way
    await process.wait()


class _TooMuchError(Exception):
    """The plugin prints without end."""


async def _output(process: asyncio.subprocess.Process, said: bytearray) -> bytes:
    """What the plugin prints until its end; what it writes to stderr goes to ``said``."""
    assert process.stdout is not None and process.stderr is not None
    content = bytearray()
    output = asyncio.create_task(_read(process.stdout, content))
    errors = asyncio.create_task(_read_start(process.stderr, said))
    ending = asyncio.create_task(_ended(process))
    try:
        await asyncio.wait([output, ending], return_when=asyncio.FIRST_COMPLETED)
        if output.done():
            output.result()  # raises if it is too much
        await ending
        await asyncio.wait([output, errors], timeout=DRAIN_SECONDS)
        _kill(process)
        await asyncio.wait([output], timeout=DRAIN_SECONDS)
        return bytes(content)
    finally:
        for task in (output, errors, ending):
            task.cancel()
        await asyncio.gather(output, errors, ending, return_exceptions=True)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for the plugin itself; ``wait`` would wait for everybody who holds its output."""
    while process.returncode is None:  # noqa: ASYNC110  # asyncio has no event for it
        await asyncio.sleep(POLL_SECONDS)


async def _read(stream: asyncio.StreamReader, content: bytearray) -> None:
    while chunk := await stream.read(_CHUNK):
        content += chunk
        if len(content) > LARGEST_OUTPUT_BYTES:
            raise _TooMuchError


async def _read_start(stream: asyncio.StreamReader, said: bytearray) -> None:
    """Read everything, so that the plugin is never blocked, and keep the start."""
    while chunk := await stream.read(_CHUNK):
        said += chunk[: LARGEST_STDERR_BYTES - len(said)]


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the plugin, and what it has started in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _status(output: bytes, name: str, api_version: str) -> dict[str, Any]:
    try:
        found = json.loads(output)
        status = found["status"]
        version = found["apiVersion"]
    except (ValueError, TypeError, LookupError):  # their texts may quote the output
        found = status = version = None
    if not isinstance(status, dict):
        raise ConfigurationError(f"the credential plugin {name} did not print an ExecCredential with a status, as JSON")
    if version != api_version:
        raise ConfigurationError(
            f"the credential plugin {name} answers with another apiVersion than {redact.text(api_version)}, which the "
            "kubeconfig names"
        )
    if not status.get("token") and not (status.get("clientCertificateData") and status.get("clientKeyData")):
        raise ConfigurationError(
            f"the credential plugin {name} printed neither a token nor a client certificate with its key"
        )
    return status


def _quoted(said: bytearray) -> str:
    return f"; it wrote: {_shown(said)}" if said.strip() else ""


def _shown(said: bytearray) -> str:
    return redact.text(said.decode(errors="replace").strip())

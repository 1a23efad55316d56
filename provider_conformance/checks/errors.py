"""Requests that cannot be fulfilled: they are refused, with a code and a sentence that help, and reveal nothing."""

import grpc

from protos import provider_pb2
from provider_conformance.check import Check, Failed, Skipped, Subject

Code = grpc.StatusCode
_SILENT = "is not answered in {:g} s: refuse it at once"
# Text that is no JSON object of strings, with a word to know it by in the report.
MALFORMED_ATTRIBUTES = {
    "that are not JSON": '{"objects": ',
    "that are a JSON list": "[]",
    "that are a JSON string": '"objects"',
    "with a value that is not a string": '{"objects": {"a": 1}}',
}
# Codes that tell nobody what to do (UNKNOWN, INTERNAL), or make the driver try again what cannot succeed.
UNHELPFUL = {Code.UNKNOWN, Code.INTERNAL, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.ABORTED}


async def bad_attributes(subject: Subject) -> None:
    """Attributes that no class can have."""
    for what, text in MALFORMED_ATTRIBUTES.items():
        message = subject.client.request()
        message.attributes = text
        answer = await subject.client.mount(message)
        if answer.ok:
            raise Failed(f"attributes {what} are accepted: refuse them")
        await _well_after(subject, f"attributes {what}", answer.code)


async def bad_requests(subject: Subject) -> None:
    """Other malformed requests: a provider that does not use the field need not refuse it, but must live on."""
    for field, text in (
        ("secrets", "{"),
        ("secrets", ""),
        ("permission", "0644"),
        ("permission", "rw"),
        ("target_path", ""),
    ):
        message = subject.client.request()
        setattr(message, field, text)
        answer = await subject.client.mount(message)
        await _well_after(subject, f"{field} {text!r}", answer.code)
    answer = await subject.client.mount(provider_pb2.MountRequest())
    await _well_after(subject, "an empty request", answer.code)


async def bad_parameters(subject: Subject) -> None:
    """Whoever may write a class writes anything."""
    for name in subject.settings.good:
        for value in ("", "{[: \x00\ud7ff", "- " * 2000, "9" * 400):
            message = subject.client.request({**subject.settings.good, name: value})
            answer = await subject.client.mount(message)
            await _well_after(subject, f"a class whose {name} is {value[:20]!r}", answer.code)


async def missing_object(subject: Subject) -> None:
    """Silence, or an empty file, would let the pod start without its secret."""
    if not subject.settings.missing:
        raise Skipped("the settings have no class whose object is missing")
    answer = await subject.client.mount(subject.client.request(subject.settings.missing))
    if answer.ok:
        raise Failed("a class that names a missing object is delivered: refuse it as a whole")
    await _well_after(subject, "a class that names a missing object", answer.code)


async def error_codes(subject: Subject) -> None:
    """The code and the sentence are in the pod's events; UNAVAILABLE is tried again."""
    message = subject.client.request()
    message.attributes = next(iter(MALFORMED_ATTRIBUTES.values()))
    cases = {"malformed attributes": (message, "INVALID_ARGUMENT")}
    if subject.settings.missing:
        cases["a missing object"] = (subject.client.request(subject.settings.missing), "NOT_FOUND")
    for what, (case, better) in cases.items():
        answer = await subject.client.mount(case)
        if answer.code in UNHELPFUL:
            raise Failed(f"{what}: {answer.outcome}; {better} says whose fault it is, and is not tried again")
        if not answer.ok and not answer.text:
            raise Failed(f"{what}: {answer.outcome}; say what is wrong, it is shown in the pod's events")


async def secrets_not_echoed(subject: Subject) -> None:
    """All errors of this run so far count, and some that tempt to quote the request."""
    client = subject.client
    for field, value in (("secrets", client.canaries["secret"]), ("attributes", client.canaries["token"])):
        message = client.request()
        setattr(message, field, f'{{"password": "{value}"')
        await client.mount(message)
    message = client.request()
    message.attributes = message.attributes.replace('"token\\":', '"token\\": [')
    await client.mount(message)
    if client.known.echoed:
        raise Failed(f"an error repeats a token, a secret or the content of a file: {client.known.echoed[0]}")


async def _well_after(subject: Subject, what: str, code: grpc.StatusCode) -> None:
    if code is Code.DEADLINE_EXCEEDED:
        raise Failed(f"{what}: " + _SILENT.format(subject.settings.seconds))
    await subject.still_serves(what)


CHECKS = (
    Check("bad-attributes", "attributes that are not a JSON object of strings are refused", bad_attributes),
    Check("bad-requests", "other malformed requests are answered", bad_requests),
    Check("bad-parameters", "parameters with malformed values are answered", bad_parameters),
    Check("missing-object", "a class that names a missing object is refused as a whole", missing_object),
    Check("error-codes", "errors have a code and a sentence that say whose fault it is", error_codes),
)
LAST = (Check("secrets-not-echoed", "no error repeats a token, a secret or a file's content", secrets_not_echoed),)

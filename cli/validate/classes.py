"""What the schema cannot say about a SecretProviderClass: the driver's own checks, made before it runs."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

from cli.findings import Level
from cli.validate import for_each_pod, parameters
from cli.validate.problems import Checked
from driver import limits
from driver.manifests.schema import did_you_mean
from driver.objects.classes import parse_class
from driver.ports import (
    INTERVAL_ANNOTATION,
    REFRESH_ANNOTATION,
    RESTART_ANNOTATION,
    RESTART_INTERVAL_ANNOTATION,
    ComposedFile,
    SecretObject,
)
from driver.providers.wire import MountReply
from driver.publish.composed.compose import with_composed_files
from driver.publish.fetching.settings import LONGEST, settings_of
from driver.publish.restarts import is_asked_for
from driver.publish.schedule import interval_of
from driver.sync import secret_entries, wanted
from driver.volume.payload import File, plan
from runtime.errors import Failure

_ANNOTATIONS = (INTERVAL_ANNOTATION, REFRESH_ANNOTATION, RESTART_ANNOTATION, RESTART_INTERVAL_ANNOTATION, *LONGEST)
_PREFIX = INTERVAL_ANNOTATION.partition("/")[0] + "/"
# The keys without which an API server refuses a Secret of a type: all of a tuple, or one of them.
# https://kubernetes.io/docs/concepts/configuration/secret/#secret-types
_ALL_KEYS = {
    wanted.TLS_TYPE: ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
_BASIC_AUTH, _BASIC_AUTH_KEYS = "kubernetes.io/basic-auth", ("username", "password")


def check(document: Mapping[str, Any]) -> Iterator[Checked]:
    """What is wrong with a class that its schema accepts."""
    found = parse_class(document)
    yield from _annotations(found.annotations)
    yield from for_each_pod.check(found)
    if not found.provider:
        yield Checked(("spec", "provider"), "it is missing: name the provider, for example vault")
    names = yield from parameters.check(found.provider, found.parameters)
    composed = {item.path for item in found.files}
    files = None if names is None else {*names, *composed}
    secrets: set[str] = set()
    for number, item in enumerate(found.secret_objects):
        yield from _secret(("spec", "secretObjects", number), item, files)
        if item.secret_name in secrets:
            yield Checked(("spec", "secretObjects", number), f"secretName {item.secret_name} is listed twice")
        secrets.add(item.secret_name)
    if len(found.secret_objects) > limits.MAX_SECRET_OBJECTS:
        yield Checked(
            ("spec", "secretObjects"),
            f"it lists {len(found.secret_objects)} Secrets, and a class may have {limits.MAX_SECRET_OBJECTS}",
            Level.WARNING,
        )
    for number, file in enumerate(found.files):
        yield from _composed(("spec", "files", number), file, names)
        if file.path in {other.path for other in found.files[:number]}:
            yield Checked(("spec", "files", number, "path"), f"path {file.path} is listed twice")


def _annotations(annotations: Mapping[str, str]) -> Iterator[Checked]:
    checks: tuple[tuple[str, Callable[[], object]], ...] = (
        (INTERVAL_ANNOTATION, partial(interval_of, annotations, 0.0)),
        (RESTART_ANNOTATION, partial(is_asked_for, annotations)),
        (RESTART_INTERVAL_ANNOTATION, partial(interval_of, annotations, 0.0, RESTART_INTERVAL_ANNOTATION)),
    )
    problems = dict(settings_of(annotations).problems)
    for name, check_value in checks:
        try:
            check_value()
        except ValueError as error:
            problems[name] = str(error)
    for name, problem in problems.items():
        yield Checked(("metadata", "annotations", name), problem.removeprefix(f"annotation {name}: "))
    for name in annotations:
        if name.startswith(_PREFIX) and name not in _ANNOTATIONS:
            hint = did_you_mean(name, _ANNOTATIONS, f": there are {', '.join(_ANNOTATIONS)}")
            yield Checked(("metadata", "annotations", name), f"unknown annotation{hint}", Level.WARNING)


def _secret(path: tuple[str | int, ...], item: SecretObject, names: Collection[str] | None) -> Iterator[Checked]:
    try:
        secret_entries.check(item, names)
    except Failure as failure:
        yield Checked(path, str(failure))
        return
    keys = {key.strip() for _, key in item.data}
    missing = [key for key in _ALL_KEYS.get(item.type, ()) if key not in keys]
    if item.type == _BASIC_AUTH and not keys.intersection(_BASIC_AUTH_KEYS):
        missing = list(_BASIC_AUTH_KEYS[:1])
    if missing and not item.data_from:
        yield Checked((*path, "data"), f"a Secret of type {item.type} needs the key {' and the key '.join(missing)}")
    known = (*_ALL_KEYS, _BASIC_AUTH, "Opaque")
    if item.type not in known and (hint := did_you_mean(item.type, known)):
        yield Checked((*path, "type"), f"unknown type {item.type}{hint}", Level.WARNING)
    repeated = sorted({key for number, (_, key) in enumerate(item.data) if key in {k for _, k in item.data[:number]}})
    if repeated:
        yield Checked((*path, "data"), f"key {repeated[0]} is listed twice: the last one counts", Level.WARNING)


def _composed(path: tuple[str | int, ...], item: ComposedFile, names: Collection[str] | None) -> Iterator[Checked]:
    """The driver composes the file from objects without content."""
    names = {name for name, _ in item.objects if name} if names is None else names
    try:
        payload = plan([File(name, 0o644, b"") for name in names], readable_by_group=False)
        reply = MountReply({}, payload or plan([File("-", 0o644, b"")], readable_by_group=False))
        with_composed_files(reply, (item,), limits.MAX_VOLUME_ENTRIES)
    except Failure as failure:
        sentence = str(failure).removeprefix("spec.files[0]: ").removeprefix("spec.files: ")
        yield Checked(path, sentence)

"""A directory of YAML files instead of an API server (``--manifests``): for the demo, a laptop, a CI job, a standalone
kubelet.

SecretProviderClasses are read from ``*.yaml`` and ``*.yml`` each time a volume needs one, so that an edited file takes
effect at the next publish. Pod statuses are kept in the sub-directory ``podstatuses``, each as a Kubernetes object in a
file of its own. Events are logged.
"""

import asyncio
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from driver.manifests.documents import NotYaml, read
from driver.manifests.search import Others, class_of, identity
from driver.objects import GROUP
from driver.objects.classes import KIND
from driver.objects.pod_status import build_status, condition_of, names_its_pod, parse_status, status_name
from driver.ports import ClassListener, ClassRef, PodEvent, ProviderClass, VolumeRecord
from runtime import logs
from runtime.errors import ConfigurationError, NotFound, PreconditionFailed, Unavailable
from runtime.tasks import BackgroundTask

log = logs.get(__name__)

STATUS_DIRECTORY = "podstatuses"
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Manifests:
    """Implements ``ports.Cluster``."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._statuses = self._directory / STATUS_DIRECTORY
        if not self._directory.is_dir():
            raise ConfigurationError(
                f"--manifests: {directory} is not a directory: create it and put SecretProviderClass YAML files there"
            )
        self._written: dict[str, Path] = {}

    def tasks(self) -> Sequence[BackgroundTask]:
        """None: files are read on demand."""
        return ()

    async def close(self) -> None:
        """Nothing to do."""

    async def get_class(self, class_ref: ClassRef) -> ProviderClass:
        """Read all files and return the class. Raises NotFound, or PreconditionFailed with the file and line of invalid
        YAML."""
        return await asyncio.to_thread(self._find, class_ref)

    def forget_class(self, class_ref: ClassRef) -> None:
        """Nothing to do: classes are not cached."""

    def is_current(self, provider_class: ProviderClass) -> bool:  # noqa: ARG002  # the port asks for it
        """Always: an edited file takes effect at the next publish, not before."""
        return True

    def on_class_change(self, listener: ClassListener) -> None:
        """Never called: files are not watched, but read at each republish."""

    async def record(self, record: VolumeRecord) -> str:
        """Write the pod status to its file, atomically; the name is the file's. Raises Unavailable."""
        try:
            return await asyncio.to_thread(self._write, record)
        except OSError as error:
            raise Unavailable(f"{self._statuses} cannot be written: {error.strerror}") from None

    def remember_record(self, record: VolumeRecord, status_name: str, *, current: bool) -> None:  # noqa: ARG002  # the port asks for it
        """The file was written by an earlier process of this driver."""
        self._written[record.target_path] = self._statuses / os.path.basename(status_name)

    def forget_record(self, target_path: str) -> None:
        """Remove the file; in a cluster the object would be deleted with its pod."""
        path = self._written.pop(target_path, None)
        if path is not None:
            path.unlink(missing_ok=True)

    async def records(self, targets: Collection[str]) -> list[tuple[VolumeRecord, str]]:
        """The pod statuses in the directory for these target paths, with their files' names. There is no API server to
        ask about a pod; whoever may write into the directory decides about classes and providers as well."""
        return await asyncio.to_thread(self._read_records, frozenset(targets))

    async def event(self, event: PodEvent) -> None:
        """Log the event."""
        (log.warning if event.warning else log.info)("Event", pod=event.pod, reason=event.reason, message=event.message)

    def _find(self, class_ref: ClassRef) -> ProviderClass:
        others = Others(class_ref)
        for path in sorted((*self._directory.glob("*.yaml"), *self._directory.glob("*.yml"))):
            try:
                for document in read(path):
                    if identity(document) == (KIND, class_ref):
                        return class_of(document, path)
                    others.note(document, path)
            except NotYaml as failure:  # the class may be in another file
                others.unreadable = others.unreadable or str(failure)
        if others.unreadable:
            raise PreconditionFailed(others.unreadable)
        raise NotFound(
            f'{KIND}.{GROUP} "{class_ref.name}" not found in the YAML files of {self._directory}{others.hint()}'
        )

    def _write(self, record: VolumeRecord) -> str:
        self._statuses.mkdir(mode=0o700, exist_ok=True)
        path = self._statuses / f"{record.pod.uid}.{record.volume_name}.yaml"
        try:
            former = next((document.value for document in read(path)), None)
        except PreconditionFailed:  # there is no such file yet, or it is not valid and is replaced
            former = None
        status = build_status(record, status_name(record), former_condition=condition_of(former))
        if status != former:
            draft = path.with_suffix(".tmp")
            draft.write_text(yaml.dump(status, Dumper=_DUMPER, sort_keys=False))
            os.replace(draft, path)
        self._written[record.target_path] = path
        return path.name

    def _read_records(self, targets: Collection[str]) -> list[tuple[VolumeRecord, str]]:
        records = []
        for path in sorted(self._statuses.glob("*.yaml")):
            for record in _statuses_in(path):
                if record is None:
                    log.warning("Ignoring a file that is not a pod status of this driver", file=path)
                    continue
                if record.target_path in targets and names_its_pod(record):
                    self._written[record.target_path] = path
                    records.append((record, path.name))
        return records


def _statuses_in(path: Path) -> list[VolumeRecord | None]:
    """The pod statuses in a file; None for each document that is not one, and for a file that cannot be read."""
    try:
        return [parse_status(document.value) for document in read(path)]
    except PreconditionFailed:
        return [None]

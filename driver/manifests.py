"""The driver's world as a directory of YAML: for the demo, a laptop, a CI job, a standalone kubelet.

SecretProviderClasses are read from ``*.yaml`` and ``*.yml`` when a volume asks for one, so that an edited file counts
at the next publish. Pod statuses are kept in the sub-directory ``podstatuses``, one file each, shaped as the
Kubernetes object is. Events go to the log.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from driver.objects.classes import parse_class
from driver.ports import ClassListener, ClassRef, Pod, PodEvent, ProviderClass, VolumeRecord
from runtime import logs
from runtime.errors import ConfigurationError, NotFound, PreconditionFailed, Unavailable

log = logs.get(__name__)

GROUP = "secrets-store.csi.x-k8s.io"
KIND = "SecretProviderClass"
STATUS_KIND = "SecretProviderClassPodStatus"
STATUS_DIRECTORY = "podstatuses"
# Files are read at each publish; libyaml, where PyYAML has it, takes a tenth of the time.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Manifests:
    """Answers ``ports.Cluster`` from files."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._statuses = self._directory / STATUS_DIRECTORY
        if not self._directory.is_dir():
            raise ConfigurationError(
                f"--manifests: {directory} is no directory: create it and put SecretProviderClass YAML files there"
            )
        self._written: dict[str, Path] = {}

    async def run(self) -> None:
        """Nothing to do: files are read when they are asked for."""

    async def get_class(self, class_ref: ClassRef) -> ProviderClass:
        """Read all files and return the class. Raises NotFound, or PreconditionFailed naming the file and line of bad
        YAML."""
        return await asyncio.to_thread(self._find, class_ref)

    def forget_class(self, class_ref: ClassRef) -> None:
        """Nothing was remembered."""

    def is_current(self, provider_class: ProviderClass) -> bool:  # noqa: ARG002  # the port asks for it
        """Files are read when a class is asked for, and not watched."""
        return True

    def on_class_change(self, listener: ClassListener) -> None:
        """Files are read anew at each republish; nobody needs to be told."""

    async def record(self, record: VolumeRecord) -> None:
        """Write the pod status, complete or not at all. Raises Unavailable."""
        try:
            await asyncio.to_thread(self._write, record)
        except OSError as error:
            raise Unavailable(f"{self._statuses} cannot be written: {error.strerror}") from None

    def forget_record(self, target_path: str) -> None:
        """Where a cluster would collect the status with its pod, the file is removed here."""
        path = self._written.pop(target_path, None)
        if path is not None:
            path.unlink(missing_ok=True)

    async def records(self) -> list[VolumeRecord]:
        """All pod statuses in the directory."""
        return await asyncio.to_thread(self._read_records)

    async def event(self, event: PodEvent) -> None:
        """Events have no other place here than the log."""
        (log.warning if event.warning else log.info)("Event", pod=event.pod, reason=event.reason, message=event.message)

    def _find(self, class_ref: ClassRef) -> ProviderClass:
        for path in sorted((*self._directory.glob("*.yaml"), *self._directory.glob("*.yml"))):
            for document in _documents(path):
                found = _class_of(document, path)
                if found is not None and found.class_ref == class_ref:
                    return found
        raise NotFound(f'{KIND}.{GROUP} "{class_ref.name}" not found in the YAML files of {self._directory}')

    def _write(self, record: VolumeRecord) -> None:
        self._statuses.mkdir(mode=0o700, exist_ok=True)
        path = self._statuses / f"{record.pod.uid}.{record.volume_name}.yaml"
        content = yaml.dump(_status_of(record), Dumper=_DUMPER, sort_keys=False)
        if not path.exists() or path.read_text() != content:
            draft = path.with_suffix(".tmp")
            draft.write_text(content)
            os.replace(draft, path)
        self._written[record.target_path] = path

    def _read_records(self) -> list[VolumeRecord]:
        records = []
        for path in sorted(self._statuses.glob("*.yaml")):
            for document in _documents(path):
                try:
                    record = _record_of(document)
                except (KeyError, IndexError, TypeError):
                    log.warning("A file is no pod status of ours; left alone", file=path)
                    continue
                self._written[record.target_path] = path
                records.append(record)
        return records


def _documents(path: Path) -> Iterator[Any]:
    try:
        yield from (item for item in yaml.load_all(path.read_text(), _LOADER) if item is not None)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise PreconditionFailed(f"{path}{line}: not valid YAML: {problem}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PreconditionFailed(f"{path}: cannot be read: {error}") from None


def _class_of(document: Any, path: Path) -> ProviderClass | None:
    """A document of another kind is none of ours; one of our kind that is malformed is an error."""
    if not isinstance(document, Mapping) or document.get("kind") != KIND:
        return None
    try:
        return parse_class(document)
    except (AttributeError, TypeError, ValueError) as error:
        raise PreconditionFailed(f"{path}: the {KIND} in it is malformed: {error}") from None


def _status_of(record: VolumeRecord) -> dict[str, Any]:
    status: dict[str, Any] = {
        "podName": record.pod.name,
        "secretProviderClassName": record.class_ref.name,
        "mounted": True,
        "targetPath": record.target_path,
        "objects": [{"id": key, "version": version} for key, version in sorted(record.objects.items())],
    }
    if record.last_refresh is not None:
        status["lastRefresh"] = datetime.fromtimestamp(record.last_refresh, UTC).isoformat(timespec="seconds")
    if record.failure is not None:
        status["lastFailure"] = {
            "reason": record.failure.reason,
            "message": record.failure.message,
            "count": record.failure.count,
        }
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": STATUS_KIND,
        "metadata": {
            "namespace": record.pod.namespace,
            "name": f"{record.pod.name}-{record.pod.namespace}-{record.class_ref.name}",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": record.pod.name, "uid": record.pod.uid}],
        },
        "status": status,
    }


def _record_of(document: Mapping[str, Any]) -> VolumeRecord:
    metadata, status = document["metadata"], document["status"]
    owner = metadata["ownerReferences"][0]
    target_path = status["targetPath"]
    return VolumeRecord(
        pod=Pod(metadata["namespace"], owner["name"], owner["uid"]),
        class_ref=ClassRef(metadata["namespace"], status["secretProviderClassName"]),
        volume_name=target_path.split("/")[-2],
        target_path=target_path,
        objects={item["id"]: item["version"] for item in status["objects"]},
    )

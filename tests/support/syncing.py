"""What the tests of synced Secrets share, with the fake and the real API server: reading Secrets, making checks
due."""

from base64 import b64decode

from driver.sync import engine
from tests.support.fake_api import Object
from tests.support.rig import Rig

ENTRY: Object = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}


def values(secret: Object | None) -> dict[str, bytes] | None:
    """The decoded data of a Secret; None without one."""
    return None if secret is None else {key: b64decode(value) for key, value in (secret.get("data") or {}).items()}


def owners(secret: Object | None) -> list[tuple[str, str]]:
    """Kind and name of a Secret's owners, none of which has flags such as ``controller``."""
    assert secret is not None
    references = secret["metadata"].get("ownerReferences") or []
    assert all(reference.keys() == {"apiVersion", "kind", "name", "uid"} for reference in references)
    return sorted((reference["kind"], reference["name"]) for reference in references)


def engine_of(rig: Rig) -> engine.SyncEngine:
    """The driver's sync engine."""
    found = rig.driver.backend.sync
    assert isinstance(found, engine.SyncEngine)
    return found


def check_now(rig: Rig) -> None:
    """Run all jobs, as after five minutes; one that is running just now runs once more."""
    for job in list(engine_of(rig)._table.jobs.values()):
        engine_of(rig)._start(job)

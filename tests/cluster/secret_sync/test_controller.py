"""SecretSyncs with a real API server: what the official controller does, and what it should do."""

from functools import partial

import pytest

from driver.secretsync import schedule
from provider_stub.running import RunningStub
from tests.cluster.api import ApiError
from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.support.waiting import run_async, until, until_blocking


def called_since(stub: RunningStub, calls: int) -> bool:
    """Whether the provider was called more than so many times."""
    return stub.calls > calls


def test_a_secret_without_a_pod(sync_rig: SecretSyncRig) -> None:
    """A class and a SecretSync → a Secret with its data, type, labels and owner, written by the official field manager;
    the status says so after the write; the SecretSync is deleted → the Secret is collected."""
    sync_rig.make_sync(secret={"labels": {"team": "a"}, "annotations": {"note": "b"}})

    async def test() -> None:
        async with sync_rig.provider(), sync_rig.controller():
            secret = await sync_rig.until_secret({"pw": b"s3cret"})
            assert secret["type"] == "Opaque"
            assert secret["metadata"]["labels"] == {"team": "a", "secrets-store.sync.x-k8s.io": ""}
            assert secret["metadata"]["annotations"] == {"note": "b"}
            (owner,) = secret["metadata"]["ownerReferences"]
            assert owner["kind"] == "SecretSync" and "controller" not in owner and "blockOwnerDeletion" not in owner
            managers = {(item["manager"], item["operation"]) for item in secret["metadata"]["managedFields"]}
            assert managers == {("secrets-store-sync-controller", "Apply")}
            created = await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
            assert created["status"] == "True" and created["message"].startswith("Secret created successfully.")
            assert sync_rig.condition("SecretUpdated")["reason"] == "NoUpdatesAttemptedYet"
            status = sync_rig.api.get(sync_rig.sync_path())["status"]
            assert status["syncHash"] and status["lastSuccessfulSyncTime"]
            sync_rig.api.delete(sync_rig.sync_path())
            await until_blocking(lambda: sync_rig.secret("app") is None, "the Secret to be collected")

    run_async(test)


def test_a_new_value_by_force(sync_rig: SecretSyncRig) -> None:
    """The value changes in the store and forceSynchronization is set → the Secret changes, SecretUpdated says so, and
    the hash is another."""
    sync_rig.make_sync()

    async def test() -> None:
        async with sync_rig.provider() as stub, sync_rig.controller():
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
            before = sync_rig.api.get(sync_rig.sync_path())["status"]["syncHash"]
            stub.put("password", "n3w")
            sync_rig.make_sync(forceSynchronization="1")
            await sync_rig.until_secret({"pw": b"n3w"})
            updated = await sync_rig.until_condition("SecretUpdated", "SecretUpToDate")
            assert updated["message"].startswith("Secret contains last observed values.")
            assert sync_rig.api.get(sync_rig.sync_path())["status"]["syncHash"] != before

    run_async(test)


def test_a_changed_class_counts_at_once(sync_rig: SecretSyncRig) -> None:
    """The class is changed → its SecretSyncs are synced at once, with the poll interval at 12 hours."""
    sync_rig.make_sync()

    async def test() -> None:
        async with sync_rig.provider() as stub, sync_rig.controller():
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
            stub.put("other", "0ther")
            sync_rig.make_sync(name="app", secret={"data": [{"sourcePath": "password", "targetKey": "pw"}]})
            objects = "array:\n- |\n  objectName: other\n  objectAlias: password\n"
            sync_rig.make_class(parameters={"objects": objects})
            await until_blocking(lambda: stub.calls > 1, "the provider to be called again", 10)

    run_async(test)


def test_a_deleted_or_edited_secret_comes_back(sync_rig: SecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes the Secret, or edits its data → it is as it was within a minute, and no Secret was ever read."""
    assert schedule.CHECK_SECONDS * (1 + schedule.JITTER) <= 54
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(schedule, "RESTORE_SECONDS", 0.1)
    sync_rig.make_sync()

    async def test() -> None:
        mark = sync_rig.cluster.audit.mark()
        async with sync_rig.provider(), sync_rig.controller():
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
            sync_rig.api.delete(sync_rig.path("secrets", "app"))
            await sync_rig.until_secret({"pw": b"s3cret"})
            sync_rig.api.patch(sync_rig.path("secrets", "app"), {"data": {"pw": "aGFja2Vk"}})
            await sync_rig.until_secret({"pw": b"s3cret"})
            assert {verb for verb, resource in sync_rig.count(mark) if resource == "secrets"} == {"patch"}

    run_async(test)


def test_failures_are_conditions_and_events(sync_rig: SecretSyncRig) -> None:
    """No class; no such provider; no such file; a store that says no → each is its condition, with the official
    beginning of the message, and an event on the SecretSync; the others are synced."""
    sync_rig.make_sync("good")
    sync_rig.make_sync("no-class", secretProviderClassName="none")
    sync_rig.make_class("elsewhere", provider="absent")
    sync_rig.make_sync("no-provider", secretProviderClassName="elsewhere")
    sync_rig.make_sync("no-file", secret={"data": [{"sourcePath": "nothing", "targetKey": "x"}]})
    sync_rig.make_class("missing", parameters={"objects": "array:\n- |\n  objectName: missing\n"})
    sync_rig.make_sync("no-object", secretProviderClassName="missing")
    expected = {
        "no-class": (
            "SecretProviderClassMisconfigured",
            'failed to get SecretProviderClass "none": SecretProviderClass.secrets-store.csi.x-k8s.io "none" not found',
        ),
        "no-provider": ("SecretProviderClassMisconfigured", 'failed to get SecretProviderClass "elsewhere": '),
        "no-file": (
            "RemoteSecretStoreFetchFailed",
            "fetching secrets from the provider failed: file matching sourcePath nothing not found",
        ),
        "no-object": ("ProviderError", "fetching secrets from the provider failed: "),
    }

    async def test() -> None:
        async with sync_rig.provider(), sync_rig.controller():
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful", "good")
            for name, (reason, beginning) in expected.items():
                found = await sync_rig.until_condition("SecretCreated", reason, name)
                assert found["status"] == "False" and found["message"].startswith(beginning), found
                assert sync_rig.secret(name) is None

            def series() -> set[tuple[str, str]]:
                return {(item["involvedObject"]["name"], item["reason"]) for item in sync_rig.events()}

            wanted = {(name, reason) for name, (reason, _) in expected.items()}
            await until_blocking(lambda: wanted <= series(), "an event of each failure")
            sync_rig.make_class("none")
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful", "no-class")

    run_async(test)


@pytest.mark.parametrize("fixture", ["sync_rig", "unlimited_rig"])
def test_somebody_elses_secret_is_left_alone(request: pytest.FixtureRequest, fixture: str) -> None:
    """A Secret of that name exists, with other keys → the condition says so, and the Secret is as it was, whether
    admission policies protect it or not."""
    sync_rig: SecretSyncRig = request.getfixturevalue(fixture)
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": sync_rig.namespace, "name": "app"},
        "stringData": {"mine": "x"},
    }
    before = sync_rig.api.create(body)
    sync_rig.make_sync()

    async def test() -> None:
        async with sync_rig.provider(), sync_rig.controller():
            found = await sync_rig.until_condition("SecretCreated", "ControllerPatchError")
            assert found["message"].startswith('failed to patch secret "app": ')
            after = sync_rig.secret("app")
            assert after is not None
            assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    run_async(test)


@pytest.mark.parametrize("fixture", ["sync_rig", "unlimited_rig"])
def test_a_secret_that_others_put_in_its_place_is_left_alone(
    request: pytest.FixtureRequest, fixture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Secret was synced, and somebody deletes it and makes one of their own with other keys → it stays as they made
    it, while the controller runs and after its restart, and the condition says so."""
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(schedule, "RESTORE_SECONDS", 0.1)
    sync_rig: SecretSyncRig = request.getfixturevalue(fixture)
    metadata = {"namespace": sync_rig.namespace, "name": "app"}
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"mine": "x"}}
    sync_rig.make_sync()

    def replace() -> str:
        while True:  # the controller may be quicker
            sync_rig.api.delete(sync_rig.path("secrets", "app"))
            try:
                return str(sync_rig.api.create(theirs)["metadata"]["resourceVersion"])
            except ApiError:
                continue

    def as_made(version: str) -> bool:
        found = sync_rig.secret("app")
        return found is not None and found["metadata"]["resourceVersion"] == version

    async def test() -> None:
        async with sync_rig.provider() as stub:
            async with sync_rig.controller():
                await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
                version = replace()
                found = await sync_rig.until_condition("SecretUpdated", "ControllerPatchError")
                assert found["message"].startswith('failed to patch secret "app": ')
                assert as_made(version)
            calls = stub.calls
            async with sync_rig.controller():
                await until(partial(called_since, stub, calls), "a sync")
                await until_blocking(lambda: len(sync_rig.events("ControllerPatchError")) > 0, "an event")
                assert as_made(version)

    run_async(test)


def test_tokens_of_the_service_account(sync_rig: SecretSyncRig) -> None:
    """Two audiences → a token for each is requested for spec.serviceAccountName, and again not with the next 20 syncs;
    a service account that does not exist is a ControllerSyncError."""
    sync_rig.cluster.service_account(sync_rig.namespace, "app")
    sync_rig.make_sync(serviceAccountName="app")
    sync_rig.make_sync("nobody", serviceAccountName="nobody")

    async def test() -> None:
        mark = sync_rig.cluster.audit.mark()
        async with sync_rig.provider() as stub, sync_rig.controller(token_request_audience=("vault", "other")):
            await sync_rig.until_condition("SecretCreated", "CreateSuccessful")
            for number in range(20):
                calls = stub.calls
                sync_rig.make_sync(serviceAccountName="app", forceSynchronization=f"n{number}")
                await until(partial(called_since, stub, calls), "a sync")
            tokens = [call for call in sync_rig.cluster.audit.calls(mark, sync_rig.user) if "/app/token" in call.uri]
            assert len(tokens) == 2
            found = await sync_rig.until_condition("SecretCreated", "ControllerSyncError", "nobody")
            assert "service account" in found["message"]

    run_async(test)


def test_whole_objects_and_composed_files(sync_rig: SecretSyncRig) -> None:
    """dataFrom takes every entry of a JSON object; a file that the class composes of several objects is a source too; a
    key of data takes precedence over one of dataFrom, which an event says."""
    objects = "array:\n- |\n  objectName: app.json\n- |\n  objectName: password\n"
    files = [
        {
            "path": "url",
            "template": "postgres://app:${password|url}@db/app",
            "objects": [{"objectName": "password", "key": "password"}],
        }
    ]
    sync_rig.make_class(parameters={"objects": objects}, files=files)
    keys = [{"sourcePath": "password", "targetKey": "user"}, {"sourcePath": "url", "targetKey": "url"}]
    data_from = [{"objectName": "app.json", "format": "json", "prefix": ""}]
    sync_rig.make_sync(secret={"data": keys, "dataFrom": data_from})

    async def test() -> None:
        async with sync_rig.provider() as stub:
            stub.put("app.json", '{"user": "app", "port": 5432}')
            stub.put("password", "a/b")
            async with sync_rig.controller():
                await sync_rig.until_secret({"user": b"a/b", "port": b"5432", "url": b"postgres://app:a%2Fb@db/app"})
                await until_blocking(lambda: sync_rig.events("RepeatedKeys"), "an event about the key")

    run_async(test)


def test_taken_over_from_the_official_controller(sync_rig: SecretSyncRig) -> None:
    """A Secret and a status as the official controller leaves them, with a value that is old by now → the same Secret
    gets the new one, with the same field manager and no other; the keys that it no longer has go; syncHash is
    replaced."""
    made = sync_rig.make_sync()
    owner = {"apiVersion": made["apiVersion"], "kind": "SecretSync", "name": "app", "uid": made["metadata"]["uid"]}
    metadata = {"labels": {"secrets-store.sync.x-k8s.io": ""}, "ownerReferences": [owner]}
    before = sync_rig.api.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": sync_rig.namespace, "name": "app", **metadata},
            "data": {"pw": "b2xk", "former": "b2xk"},
        },
        fieldManager="secrets-store-sync-controller",
    )
    sync_rig.api.patch(f"{sync_rig.sync_path()}/status", {"status": {"syncHash": "v1:" + "0" * 64}})

    async def test() -> None:
        async with sync_rig.provider(), sync_rig.controller():
            after = await sync_rig.until_secret({"pw": b"s3cret"})
            assert after["metadata"]["uid"] == before["metadata"]["uid"]
            managers = {(item["manager"], item["operation"]) for item in after["metadata"]["managedFields"]}
            assert managers == {("secrets-store-sync-controller", "Apply")}
            await sync_rig.until_condition("SecretUpdated", "SecretUpToDate")
            assert not sync_rig.status()["syncHash"].startswith("v1:")

    run_async(test)

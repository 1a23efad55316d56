"""Files that a class composes from several objects."""

import asyncio
import subprocess
import threading
import tracemalloc
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from driver import limits
from driver.ports import ComposedFile
from driver.providers.pool import ProviderPool
from driver.providers.sockets import ProviderSockets
from driver.providers.wire import MountReply
from driver.publish.composed import formats
from driver.publish.composed.compose import add_composed_files, with_composed_files
from driver.volume import memory
from driver.volume.memory import MemoryBudget
from driver.volume.payload import File, Leaf, Tree, plan
from driver.volume.workers import DiskWorkers
from runtime.errors import PreconditionFailed, ResourceExhausted

OBJECTS = (("user", "user"), ("db/password", "password"))
HOSTILE = "a'b\"c$d`e\\f\ng=#h é"


def reply(user: str = "app", password: str = "s3cret", **others: bytes) -> MountReply:
    """A provider's reply with two objects, and others."""
    files = [File("user", 0o644, user.encode()), File("db/password", 0o600, password.encode())]
    files += [File(name, 0o644, contents) for name, contents in others.items()]
    return MountReply({"user": "1"}, plan(files, readable_by_group=False))


def composed(reply: MountReply, **fields: Any) -> Leaf:
    """The one file that is composed with these fields."""
    values = {"path": "app.env", "format": "", "template": "", "objects": OBJECTS, **fields}
    found: Leaf | Tree = with_composed_files(reply, [ComposedFile(**values)], 100).payload[values["path"]]
    assert isinstance(found, Leaf)
    return found


@pytest.mark.parametrize(
    ("kind", "contents"),
    [
        ("dotenv", b"user=app\npassword=s3cret\n"),
        ("json", b'{\n  "user": "app",\n  "password": "s3cret"\n}\n'),
        ("properties", b"user=app\npassword=s3cret\n"),
    ],
)
def test_formats(kind: str, contents: bytes) -> None:
    """Scenario: a format. Expected: an entry for each object, in the class's order, readable by whom all of its objects
    are readable; the objects' own files are still there."""
    leaf = composed(reply(), format=kind)
    assert leaf == Leaf(0o600, contents)


def test_dotenv_is_read_back_by_a_shell() -> None:
    """Scenario: values with every character that a shell interprets. Expected: sh reads them back exactly."""
    for value in (HOSTILE, "it's", "$HOME", "a b", "", "line\nline", 'say "hi"'):
        script = composed(reply(password=value), format="dotenv").contents.decode() + 'printf %s "$password"'
        read = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
        assert read.stdout.decode() == value


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("postgres://${user}:${password}@db/app", "postgres://app:p@ss/w?rd@db/app"),
        ("postgres://${user}:${password|url}@db/app", "postgres://app:p%40ss%2Fw%3Frd@db/app"),
        ('{"u": "${user}", "p": "${password|json}"}', '{"u": "app", "p": "p@ss/w?rd"}'),
        ("${user}${ password | base64 }", "appcEBzcy93P3Jk"),
        ("${password}$${user} $user ${user}$", "p@ss/w?rd${user} $user app$"),
    ],
)
def test_templates(template: str, text: str) -> None:
    """Scenario: a template. Expected: its placeholders replaced and filtered, all else as it is."""
    assert composed(reply(password="p@ss/w?rd"), template=template).contents.decode() == text


def test_values_are_not_templates() -> None:
    """Scenario: a value that looks like a placeholder. Expected: it is not replaced again."""
    assert composed(reply(user="${password}"), template="${user} ${password}").contents == b"${password} s3cret"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": "yaml"}, "spec.files[0]: format yaml is unknown: use json, dotenv, properties, or template"),
        ({}, "set either format (json, dotenv or properties) or template, and not both"),
        ({"format": "json", "template": "x"}, "set either format"),
        ({"format": "json", "path": ""}, "path is empty"),
        ({"format": "json", "path": "../x"}, "spec.files: invalid path '../x'"),
        ({"format": "json", "path": "a\nb"}, "path 'a\\nb' must be text without control characters"),
        ({"format": "json", "path": "user"}, "path user is also the name of an object"),
        ({"format": "json", "path": "user/x"}, "is a file of the same payload"),
        ({"format": "json", "objects": ()}, "objects is empty"),
        ({"format": "json", "objects": (("nothing", "x"),)}, "file matching objectName nothing not found"),
        ({"format": "json", "objects": (("", "x"),)}, "an objectName is empty"),
        ({"format": "json", "objects": (("user", ""),)}, "the key of objectName user is empty"),
        ({"format": "json", "objects": (("user", "x"), ("db/password", "x"))}, "key x is listed twice"),
        ({"format": "dotenv", "objects": (("user", "a-b"),)}, "key a-b cannot be a variable"),
        ({"format": "json", "objects": (("binary", "b"),)}, "objectName binary is not UTF-8 text"),
        ({"template": "${none}"}, "template: none is no key of objects: user, password"),
        ({"template": "${user|upper}"}, "filter upper is unknown: use url, json, base64"),
        ({"template": "${user"}, "a ${ is not closed"),
        ({"template": "${}"}, "a placeholder without a name is no key"),
        ({"template": "${user:-x}"}, "user:-x is no key of objects"),
        ({"template": "${user|url|json}"}, "filter url|json is unknown"),
        ({"template": "no placeholder"}, "key user of objects is not in it: write ${user}, or remove the key"),
        ({"template": "${user}"}, "key password of objects is not in it"),
        ({"template": "{{ .user }}"}, "key user of objects is not in it"),
        ({"template": "$user:$password"}, "key user of objects is not in it"),
        ({"template": "$${user} ${password}"}, "key user of objects is not in it"),
        ({"template": "%(user)s"}, "key user of objects is not in it"),
        ({"template": "${a}", "objects": (("user", "a"), ("user", "b}c"))}, "key b}c of objects is not in it"),
        ({"template": "${user}" * (limits.MAX_COMPOSED_OBJECTS + 1)}, "placeholders"),
    ],
)
def test_mistakes(fields: dict[str, Any], sentence: str) -> None:
    """Scenario: a mistake in spec.files. Expected: a sentence that names the field and what to write, and no value."""
    with pytest.raises(PreconditionFailed) as raised:
        composed(reply(password="v4lue", binary=b"\xff"), **fields)
    assert sentence in str(raised.value) and "v4lue" not in str(raised.value)


def test_too_large() -> None:
    """Scenario: a placeholder repeated until the file would have more than its limit. Expected: a sentence."""
    with pytest.raises(PreconditionFailed, match=str(limits.MAX_COMPOSED_BYTES)):
        composed(reply(user="x" * 100_000), template="${user}" * 20)


def test_a_provider_that_writes_itself() -> None:
    """Scenario: a reply without files. Expected: a sentence that says why nothing can be composed."""
    with pytest.raises(PreconditionFailed, match="the provider wrote the files to the volume itself"):
        composed(MountReply({"user": "1"}, {}), format="json")


def repeated(name: str) -> tuple[tuple[str, str], ...]:
    """One object as often as a file may have objects."""
    return tuple((name, f"k{number}") for number in range(limits.MAX_COMPOSED_OBJECTS))


@pytest.mark.parametrize(
    ("content", "item"),
    [
        (b"x" * 250_000, ComposedFile("f", "json", "", repeated("o"))),
        ("\U0001f600".encode() * 60_000, ComposedFile("f", "json", "", repeated("o"))),
        (b"\1" * 250_000, ComposedFile("f", "properties", "", repeated("o"))),
        (b"'\"" * 125_000, ComposedFile("f", "dotenv", "", repeated("o"))),
        (b"\1" * 1_000_000, ComposedFile("f", "json", "", (("o", "k"),))),
        (b"x" * 4_000_000, ComposedFile("f", "", "${k1|json}" * 256, repeated("o"))),
        (b"/" * 900_000, ComposedFile("f", "", "${k|url}" * 256, (("o", "k"),))),
    ],
)
def test_much_out_of_little(content: bytes, item: ComposedFile) -> None:
    """Scenario: one object again and again, or characters of which a format makes six. Expected: refused before more
    is made than a file may have a few times over; once it was hundreds of MiB, and minutes in which nobody was
    answered."""
    reply = MountReply({"o": "1"}, plan([File("o", 0o644, content)], readable_by_group=False))
    tracemalloc.start()
    try:
        with pytest.raises(
            PreconditionFailed, match=f"at most {limits.MAX_COMPOSED_BYTES}|{limits.MAX_COMPOSED_BYTES} b"
        ):
            with_composed_files(reply, [item], 100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * limits.MAX_COMPOSED_BYTES  # pieces of a substitution among them


def test_many_files_of_one_object() -> None:
    """Scenario: as many files as possible, each as large as possible, of one small object. Expected: refused at the
    bound on all of them."""
    files = [ComposedFile(f"f{n}", "", "${k}" * 4, (("user", "k"),)) for n in range(limits.MAX_COMPOSED_FILES)]
    with pytest.raises(PreconditionFailed, match=f"at most {limits.MAX_ALL_COMPOSED_BYTES} are possible in all"):
        with_composed_files(reply(user="x" * 250_000), files, 100)


@pytest.mark.parametrize("room", [2**40, 2**20])
def test_large_files_have_a_thread_and_reserved_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Scenario: small and large files, with room in the container's memory and without. Expected: the small one is
    made at once; the large one by a thread, its payload counts as large, and its memory is reserved until the volume
    is written, or it is refused in a way that is tried again."""
    threads: list[threading.Thread] = []

    def slow(values: Mapping[str, str]) -> str:
        threads.append(threading.current_thread())
        return "x" * 50_000

    monkeypatch.setattr(memory, "rooms", lambda: [memory.Room(2**41, 2**41 - room)])
    monkeypatch.setitem(vars(formats)["WRITERS"], "json", slow)
    files = [ComposedFile(f"f{number}", "json", "", (("user", "k"),)) for number in range(40)]

    async def run() -> None:
        budget, workers = MemoryBudget(1), DiskWorkers()
        pool = ProviderPool(ProviderSockets((str(tmp_path),)), workers, budget, 2**22)
        async with AsyncExitStack() as held:
            await add_composed_files(reply(), files[:1], 100, pool, held)
            assert threads == [threading.main_thread()]
            adding = add_composed_files(reply(user="x" * 50_000), files, 100, pool, held)
            if room < 2**22:
                with pytest.raises(ResourceExhausted, match="do not fit into the memory"):
                    await adding
            else:
                assert (await adding).large and threading.main_thread() not in threads[1:]
                with pytest.raises(ResourceExhausted), budget.reserve(room - limits.MAX_ALL_COMPOSED_BYTES):
                    pass
        workers.close()

    asyncio.run(run())

"""Replies of providers through the check: what it accepts and refuses, compared with a plain list of the rules."""

import os
from collections import Counter
from collections.abc import Iterator

from driver import limits
from driver.metrics.labels import is_error_type
from driver.providers.wire import ProviderFailure, check_reply
from driver.volume.payload import Leaf, Tree
from protos import provider_pb2
from runtime import rpc
from tests.fuzz.effort import scaled, source, tally
from tests.fuzz.replies import read, reply

COUNT = 20_000
MILLION = 1_000_000
LONGEST_SENTENCE = 1024


def leaves(tree: Tree, above: str = "") -> Iterator[tuple[str, Leaf]]:
    """The files of a tree by their paths."""
    for name, node in tree.items():
        if isinstance(node, Leaf):
            yield above + name, node
        else:
            yield from leaves(node, f"{above}{name}/")


def is_valid_path(path: str) -> bool:
    """Whether a file of this path may be in a volume: kubelet's rules, and ours of length."""
    names = path.split("/")
    return (
        0 < len(path.encode()) <= 4096
        and len(names) <= limits.MAX_PATH_DEPTH
        and not names[0].startswith("..")
        and all(name not in ("", ".", "..") and "\0" not in name and len(name.encode()) <= 255 for name in names)
    )


def is_valid(message: provider_pb2.MountResponse) -> bool:
    """The rules for a whole reply."""
    paths = [file.path for file in message.files]
    directories = {path[:at] for path in paths for at, character in enumerate(path) if character == "/"}
    versions = {item.id: item.version for item in message.object_version}
    texts = [len(text.encode()) for pair in versions.items() for text in pair]
    return (
        not message.error.code
        and 0 < len(message.object_version) <= limits.MAX_VOLUME_ENTRIES
        and max(texts) <= limits.MAX_VERSION_BYTES
        and sum(texts) <= limits.MAX_VERSIONS_BYTES
        and all(map(is_valid_path, paths))
        and directories.isdisjoint(paths)
        and len(paths) <= limits.MAX_VOLUME_ENTRIES
        and len(set(paths)) + len(directories) <= limits.MAX_VOLUME_ENTRIES
    )


def check(message: provider_pb2.MountResponse, readable_by_group: bool) -> bool:
    """Check one reply and the result; returns whether it was accepted."""
    try:
        result = check_reply(message, readable_by_group=readable_by_group)
    except ProviderFailure as failure:
        assert not is_valid(message), failure
        sentence = str(failure)
        assert 0 < len(sentence) <= LONGEST_SENTENCE and sentence.isprintable(), sentence
        assert rpc.code_of(failure) is rpc.StatusCode.UNKNOWN
        assert is_error_type(failure.error_type), failure.error_type
        return False
    assert is_valid(message)
    assert dict(result.objects) == {item.id: item.version for item in message.object_version}
    written = dict(leaves(result.payload))
    assert {path: leaf.contents for path, leaf in written.items()} == {f.path: f.contents for f in message.files}
    modes = {file.path: file.mode for file in message.files}  # of a path that is listed twice the last file counts
    assert set(result.repeated) == {path for path, times in Counter(f.path for f in message.files).items() if times > 1}
    for path, leaf in written.items():
        assert os.path.normpath(f"/volume/{path}") == f"/volume/{path}", path
        assert 0 <= leaf.mode <= 0o777
        if readable_by_group:  # the group reads what it may, or the owner may, and writes nothing; the rest stays
            assert bool(leaf.mode & 0o040) == bool(modes[path] & 0o440) and not leaf.mode & 0o020
            assert leaf.mode & ~0o060 == modes[path] & 0o777 & ~0o060
        else:
            assert leaf.mode == modes[path] & 0o777
    return True


def test_generated_replies() -> None:
    """Replies of odd and of ordinary parts, some damaged on the wire → each is either accepted, and then all of it and
    nothing else is what will be written, within the volume; or refused with one printable sentence, because it breaks
    one of the rules. In `make test-fuzz` there are a million."""
    numbers = source("replies")
    outcomes: Counter[str] = Counter()
    for _ in range(scaled(COUNT, MILLION)):
        wire = reply(numbers)
        tally("replies of providers")
        message = read(wire)
        if message is None:
            outcomes["unreadable"] += 1
            continue
        try:
            outcomes["accepted" if check(message, numbers.random() < 0.5) else "refused"] += 1
        except Exception as error:
            raise AssertionError(f"the reply {wire[:2000].hex()}") from error
    assert min(outcomes.values()) > COUNT / 100 and len(outcomes) == 3, outcomes

"""What a response becomes: the value of an object, or the sentence that says what is wrong with its entry."""

import difflib
import json
from typing import Any
from urllib.parse import unquote

from provider_kit import Failure, InvalidRequest, NotFound, PermissionDenied, Unavailable
from provider_kit.objects import decode
from provider_openbao.client import Answer
from provider_openbao.objects import Call, WantedObject
from provider_openbao.texts import brief

# Of the whole response, the only part that is another one each time.
_REQUEST_ID = "request_id"
_WRONG_KV_PATH = "Invalid path for a versioned K/V secrets engine"


def value(item: WantedObject, response: dict[str, Any]) -> bytes:
    """The content of the object's file. Without ``secretKey`` it is the whole response as JSON, from which only the
    request's id is taken, so that equal secrets are equal files."""
    if not item.key:
        whole = {key: part for key, part in response.items() if key != _REQUEST_ID}
        return decode(item.name, _json(whole), item.encoding)
    data = _data(response)
    found = data.get(item.key)
    if found is None:
        raise NotFound(f"{item.place}: secretKey {brief(item.key)!r} {_absence(item, data)}")
    contents = found.encode() if isinstance(found, str) else _json(found)
    return decode(item.name, contents, item.encoding)


def strings(response: dict[str, Any]) -> list[str]:
    """The texts in a response's data, for masking."""
    found, pending = [], [response.get("data")]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
        elif isinstance(part, str):
            found.append(part)
    return found


def refusal(item: WantedObject, answer: Answer, mount: dict[str, Any], who: str) -> Failure:
    """The failure for a response of 4xx or 500. ``mount`` is what the server says of the secrets engine at the path,
    empty if it says nothing; ``who`` is the role or login."""
    path, said = brief(unquote(item.call.path)), answer.errors
    hint = _kv_hint(item.call, mount, said)
    if hint:
        return InvalidRequest(f"{item.place}: secretPath {path}: {hint}")
    if answer.status == 404:
        deletion = _deletion(answer.data)
        if deletion:
            return NotFound(f"{item.place}: {path}: {deletion}")
        if "no handler for route" in said or "unsupported path" in said:
            return NotFound(f"{item.place}: secretPath {path}: no secrets engine serves it ({said}): correct its mount")
        version = f" with {brief(item.call.query)}" if item.call.query else ""
        return NotFound(
            f"{item.place}: secretPath {path} does not exist{version}: correct secretPath or write the secret"
        )
    if answer.status == 403:
        return PermissionDenied(
            f"{item.place}: {who} may not {'read' if item.call.method == 'GET' else 'write'} {path} (HTTP 403): "
            "grant it "
            "by a policy, or correct secretPath; for KV version 2 it has data/ after the mount, for version 1 "
            "it has not"
        )
    if answer.status == 405:
        return InvalidRequest(f"{item.place}: {path} does not support method {item.call.method}: set method GET or PUT")
    what = f"(HTTP {answer.status}{': ' + said if said else ''})"
    if answer.status >= 500:
        return Unavailable(
            f"{item.place}: the secrets engine at {path} failed {what}; the server's log has the details"
        )
    return InvalidRequest(f"{item.place}: {path} refused the call {what}; correct secretPath or secretArgs")


def _absence(item: WantedObject, data: dict[str, Any]) -> str:
    """What is said of a key that has no value."""
    path = unquote(item.call.path)
    if item.key in data:
        return f"has no value in {brief(path)}, but null: write one, or correct secretKey"
    close = difflib.get_close_matches(item.key, data, 1)
    hint = f", but it has {close[0]!r}" if close else f"; it has {len(data)} other keys"
    remedy = "correct secretKey"
    if "/metadata/" in path:  # of KV version 2
        remedy += f", or secretPath to {brief(path.replace('/metadata/', '/data/', 1))}"
    return f"is not in {brief(path)}{hint}: {remedy}"


def _data(response: dict[str, Any]) -> dict[str, Any]:
    data = response.get("data")
    if not isinstance(data, dict):
        return {}
    inner = data.get("data")
    # What a KV version 2 answers: exactly these two, and metadata with a version.
    metadata = data.get("metadata")
    if set(data) == {"data", "metadata"} and isinstance(metadata, dict) and "version" in metadata:
        return inner if isinstance(inner, dict) else {}
    return data


def _kv_hint(call: Call, mount: dict[str, Any], said: str) -> str:
    if mount.get("type") not in ("kv", "generic"):
        return _versioned(call.path, call.path.split("/")[0]) if _WRONG_KV_PATH in said else ""
    where = str(mount.get("path", "")).strip("/")
    rest = unquote(call.path).removeprefix(where).strip("/")
    second = str((mount.get("options") or {}).get("version")) == "2"
    if second and rest.split("/")[0] not in ("data", "metadata", "subkeys"):
        return _versioned(unquote(call.path), where)
    if not second and rest.startswith("data/"):
        return (
            f"the mount {where}/ is KV version 1, whose paths have no data/: write {where}/{rest.removeprefix('data/')}"
        )
    return ""


def _versioned(path: str, where: str) -> str:
    right = f"{where}/data/{unquote(path).removeprefix(where).strip('/') or 'NAME'}"
    return f"the mount {where}/ is KV version 2, whose paths have data/ after the mount: write {brief(right)}"


def _deletion(body: dict[str, Any]) -> str:
    data = body.get("data")
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if not isinstance(metadata, dict):
        return ""
    version = metadata.get("version")
    if metadata.get("destroyed"):
        return f"version {version} was destroyed: write the secret again, or name another version in secretPath"
    if metadata.get("deletion_time"):
        return (
            f"version {version} was deleted: undelete it, write the secret again, or name another version in secretPath"
        )
    return ""


def _json(part: Any) -> bytes:
    return json.dumps(part, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

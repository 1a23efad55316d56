"""Which pods may have the same reply of a provider: those whose requests differ in nothing but what cannot matter."""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field

from driver.ports import ClassRef, ProviderClass
from driver.publish.attributes import PERMISSION, MountAttributes
from driver.publish.fetching.account import Account
from driver.publish.request import POD_NAME, POD_UID, SERVICE_ACCOUNT_TOKENS, PublishRequest

# Two pods of one Deployment always differ in these. Besides, each has a target path of its own.
_OF_THE_POD = frozenset({POD_NAME, POD_UID, SERVICE_ACCOUNT_TOKENS})
# The digests are compared within this process only, and say nothing outside of it.
_DIGEST_KEY = secrets.token_bytes(32)


@dataclass(frozen=True)
class FetchKey:
    """``digest`` is that of everything else: the version of the class, the volume's attributes and secrets, the group
    that owns the files."""

    class_ref: ClassRef
    account: str
    digest: bytes = field(repr=False)


def key_of(
    request: PublishRequest, provider_class: ProviderClass, account: Account, mount: MountAttributes
) -> FetchKey:
    """The key of a request. All of the request is in it except the pod's name and UID, its tokens and the target path:
    a provider whose reply depends on these must not be used with the annotations."""
    attributes = {key: value for key, value in json.loads(mount.attributes).items() if key not in _OF_THE_POD}
    content = [
        version_of(provider_class),
        account.name,
        account.audiences,
        sorted(attributes.items()),
        sorted((key, value) for key, value in request.secrets.items() if key != SERVICE_ACCOUNT_TOKENS),
        request.group,
        PERMISSION,
    ]
    digest = hashlib.blake2b(json.dumps(content).encode("utf-8", "surrogatepass"), key=_DIGEST_KEY).digest()
    return FetchKey(request.class_ref, account.uid, digest)


def version_of(provider_class: ProviderClass) -> str:
    """What changes with the class: it was created anew, or its spec or refresh annotation was changed."""
    content = [
        provider_class.uid,
        provider_class.fingerprint,
        provider_class.provider,
        sorted(provider_class.parameters.items()),
        [asdict(item) for item in provider_class.secret_objects],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()

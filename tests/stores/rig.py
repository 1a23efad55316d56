"""A whole driver with the OpenBao provider, in the test's own process."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from provider_kit.testing import RunningProvider, running
from provider_openbao.main import OpenBaoConfig, make
from tests.stores.identities import Issuer
from tests.stores.openbao import OpenBao
from tests.support.rig import Rig, Volume, rig


class StoreRig:
    """``rig`` is the driver, ``provider`` the provider with its recorded requests."""

    def __init__(self, rig: Rig, bao: OpenBao, issuer: Issuer, provider: RunningProvider) -> None:
        self.rig, self.bao, self.issuer, self.provider = rig, bao, issuer, provider

    def write_class(self, *objects: Mapping[str, Any], name: str = "app", spec: Any = None, **parameters: str) -> None:
        """A class; ``parameters`` are added to, or replace, those that the server needs."""
        standard = {"vaultAddress": self.bao.url, "vaultAuthMountPath": "jwt", "roleName": "app"}
        text = yaml.safe_dump([dict(item) for item in objects])
        merged = {"objects": text, **standard, **parameters}
        self.rig.write_class(name, provider="openbao", parameters=merged, **(spec or {}))

    def volume(self, pod: str = "pod-1", account: str = "default", audience: str = "vault", **options: Any) -> Volume:
        """A volume of a pod with a token of its service account; ``lifetime`` is the token's."""
        token = {key: options.pop(key) for key in ("lifetime",) if key in options}
        return self.rig.volume(pod, attributes=self.issuer.attributes(account, audience, **token), **options)


def secret(name: str, path: str, key: str = "password", **fields: Any) -> dict[str, Any]:
    """An entry of ``objects``."""
    return {"objectName": name, "secretPath": path, "secretKey": key, **fields}


@asynccontextmanager
async def store_rig(directory: Path, bao: OpenBao, issuer: Issuer, **options: Any) -> AsyncIterator[StoreRig]:
    """A started rig; ``options`` are flags of the provider, and ``config`` those of the driver."""
    config = options.pop("config", {})
    provider = make(OpenBaoConfig(**options))
    async with rig(directory, **config) as made, running(provider, made.providers_dir / "openbao.sock") as served:
        yield StoreRig(made, bao, issuer, served)

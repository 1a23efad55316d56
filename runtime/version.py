"""The version of this build, for ``--version``, GetPluginInfo and the API client's user agent."""

import json
import os
from functools import cache
from importlib import metadata
from typing import NamedTuple

DISTRIBUTION = "secrets-store-csi"


class Build(NamedTuple):
    """The version, the commit and the time of the build (RFC 3339); the image sets the last two."""

    version: str
    commit: str
    date: str

    def to_json(self) -> str:
        """One line with the Go driver's keys, in the Go driver's order."""
        return json.dumps({"BuildVersion": self.version, "GitCommit": self.commit, "BuildDate": self.date})


@cache
def build() -> Build:
    """This build; cached, because finding the distribution scans directories."""
    try:
        version = "v" + metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        version = "local-dev"
    return Build(version, os.environ.get("SECRETS_STORE_COMMIT", ""), os.environ.get("SECRETS_STORE_BUILD_DATE", ""))

"""YAML files instead of an API server: ``directory`` implements the driver's port with them, ``search`` finds a class
or says why not, ``documents`` reads, and ``schema`` checks an object against its CRD, as an API server would. The
command ``secrets-store validate`` reads and checks with the same code. ``crds/`` has the CRDs of the chart."""

from driver.manifests.directory import Manifests

__all__ = ["Manifests"]

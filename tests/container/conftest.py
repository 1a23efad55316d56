"""The container that the tests of this folder share."""

from tests.container.test_whole import container

__all__ = ["container"]

"""All tests run in one private mount namespace, so that nothing they mount reaches the machine; without root also in
a user namespace."""

from tests.support import namespaces

namespaces.enter_private()

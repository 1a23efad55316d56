"""The providers of this repository keep the contract: the conformance suite, against real stores."""

import pytest

from tests.stores.conformance import SECRET, all_results, shown, table
from tests.stores.identities import Issuer
from tests.stores.moto import Moto
from tests.stores.openbao import OpenBao


@pytest.mark.timeout(400)
def test_conformance(bao: OpenBao, moto: Moto, issuer: Issuer) -> None:
    """The stub, the OpenBao provider and the AWS example, each killed and started again → no check fails, no reason
    quotes a secret, and the page has this table."""
    results = all_results(bao, moto, issuer)
    text = table(results)
    assert not [item for column in results.values() for item in column if item.outcome == "FAIL"], text
    assert SECRET not in text and "alice" not in text
    assert text == shown(), f"python -m tests.stores.conformance --update\n{text}"

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates of the ledger hold back a phase."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import barrier
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

DATES = {"issuer": "key", "issued": "2029-10-01T00:00:00Z", "not_after": "2030-01-01T00:00:00Z"}
APP = barrier.Live("client", "app1/shop/app", "a1", **DATES)
SERVER = barrier.Live("server", "db1", "a2", **DATES)


def test_a_certificate_whose_holder_was_seen_without_one_holds_back_nothing() -> None:
    in_use = {"client": [{"id": APP.id, "serial": ""}], "server": []}
    assert barrier.still_held([APP, SERVER], in_use) == [SERVER]
    other = {"client": [{"id": "app1/shop/other", "serial": ""}, {"id": APP.id, "serial": "b3"}]}
    assert barrier.still_held([APP, SERVER], other) == [APP, SERVER]
    with pytest.raises(TlsError, match="app1/shop/app"):
        barrier.refuse_unproven(barrier.still_held([APP], other), other, "switch")


def test_a_certificate_that_holds_back_a_phase_is_named_with_the_time_since_when_nobody_saw_its_holder() -> None:
    told = r"app1/shop/app \(client certificate a1 of 2029-10-01T00:00:00Z, until 2030-01-01T00:00:00Z\) is in use"
    with pytest.raises(TlsError, match=told):
        barrier.refuse_unproven([APP, SERVER], {"server": [{"id": "db1", "serial": "a2"}]}, "switch")
    assert "app1/shop/app (client certificate a1 of " in barrier.behind([APP])

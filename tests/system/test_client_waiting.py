# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of identities that come in a later run: the others do not wait for them, and nothing is lost."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.clients import Clients, User, chains, identity, snapshot, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")


def both(user: User) -> list[dict[str, Any]]:
    return [identity(user, "app"), identity(user, "report")]


def roles(user: User) -> set[str]:
    return {path.name for path in (user.store / "current").iterdir() if path.is_dir()}


def test_an_identity_without_its_first_certificate_is_left_out(clients: Clients, alice: User) -> None:
    app, report = f"{alice.name}/app", f"{alice.name}/report"
    first = clients.call(identities=both(alice))
    came = chains(first)
    second = clients.call(identities=both(alice), certificates={app: came[app], report: ""})
    assert second["requests"] == []
    assert roles(alice) == {"app"}
    waiting = alice.store / "pending" / "report.key"
    key = waiting.read_text()
    third = clients.call(identities=both(alice))
    assert [one["id"] for one in third["requests"]] == [report]
    assert waiting.read_text() == key, "the same key waits"
    clients.call(identities=both(alice), certificates={report: came[report]})
    assert roles(alice) == {"app", "report"}
    assert clients.call(identities=both(alice))["changed"] is False


def test_nothing_happens_to_an_os_user_all_of_whose_certificates_wait(clients: Clients, alice: User) -> None:
    first = clients.call()
    before = snapshot(alice.home)
    done = clients.call(certificates={first["requests"][0]["id"]: ""})
    assert (done["changed"], done["requests"]) == (False, [])
    assert snapshot(alice.home) == before


def test_a_renewal_that_waits_keeps_the_certificate_and_the_rest_converges(clients: Clients, alice: User) -> None:
    clients.converge()
    before, app = used(alice), f"{alice.name}/app"
    later = TODAY + 80 * DAY
    asked = clients.call(now=later)
    assert [one["id"] for one in asked["requests"]] == [app]
    done = clients.call(now=later, certificates={app: ""})
    assert (done["changed"], done["requests"]) == (False, [])
    assert used(alice) == before
    roots = AUTHORITIES["server"].root.pem + AUTHORITIES["client"].root.pem
    more = clients.call(now=later, certificates={app: ""}, roots=roots)
    assert more["changed"]
    assert len(certificate.read_pem((alice.default / "root.crt").read_text(), "root.crt")) == 2
    leaf = certificate.read_pem((alice.default / "postgresql.crt").read_text(), "chain")[0]
    assert f"{leaf.serial:x}" == more["identities"][0]["serial"] == asked["identities"][0]["serial"]


def test_one_that_waits_with_an_ended_certificate_stops_no_other(clients: Clients, alice: User) -> None:
    app, report = f"{alice.name}/app", f"{alice.name}/report"
    asked = clients.call(identities=both(alice))
    ended, came = chains(asked, start=TODAY - 2 * DAY, days=1), chains(asked)
    with pytest.raises(TlsError, match="expired"):
        clients.call(identities=both(alice), certificates={app: ended[app], report: came[report]})
    start = int(time.time()) - DAY + 5
    clients.call(
        identities=both(alice), certificates={app: chains(asked, start=start, days=1)[app], report: came[report]}
    )
    time.sleep(6)
    now = int(time.time())
    asked = clients.call(identities=both(alice), now=now, renew=True)
    before = used(alice)
    clients.call(identities=both(alice), now=now, renew=True, certificates={app: "", report: chains(asked)[report]})
    changed = {path for path, traits in used(alice).items() if before[path] != traits}
    assert {path.rpartition("/current/")[2] for path in changed if path.endswith(".crt")} == {"report/postgresql.crt"}

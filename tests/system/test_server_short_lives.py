# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of a company that live for a day, in its own style, with a run in every hour."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.servers import TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

HOUR = 3600
COMPANY = companies.company(start=TODAY - 400 * DAY)
NAMES = ["localhost", "127.0.0.1"]
MORE = ["db1.example", "database.example"]  # which nobody asked for


def signed(request: str, now: int, turn: int) -> str:
    """Return a chain for a day, with more names and both usages, from one issuing CA and then from the other."""
    public_key: Any = x509.load_pem_x509_csr(request.encode()).public_key()
    issuer = COMPANY.issuing[turn % 2]
    leaf = companies.leaf(issuer, public_key, "db1.example", [*NAMES, *MORE], start=now - 300, days=1)
    chain = (leaf, issuer.certificate, COMPANY.policy.certificate)
    return b"".join(one.public_bytes(Encoding.PEM) for one in chain).decode()


def test_a_run_in_every_hour_renews_once_after_two_thirds_and_changes_nothing_else(server: Server) -> None:
    """OpenSSL looks at the clock of the machine, so this day ends now."""
    other = companies.authority("Clients", start=TODAY - 400 * DAY).pem
    server.options |= {"roots": COMPANY.root.pem, "issuing": COMPANY.root.pem, "trusted_clients": other}
    changed = {}
    for hour in range(-22, 1):
        now = TODAY + hour * HOUR
        outcome = server.converge(now=now)
        if outcome.request:
            outcome = server.converge(now=now, certificate=signed(outcome.request, now, len(changed)))
        if outcome.changes:
            changed[hour] = outcome.plan.reasons
    first, renewal = sorted(changed)
    assert changed[first] == ["no_certificate"]
    assert 14 <= renewal - first <= 16
    assert [one.partition("_in_")[0] for one in changed[renewal]] == ["expires"]
    leaf = certificate.read_pem((server.directory / "current" / "server.crt").read_text(), "server.crt")[0]
    assert (leaf.issuer_common_name, leaf.sha256) == ("Example Issuing 2", server.served())

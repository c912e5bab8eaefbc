# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of a CA that issues in its own style: at least what was asked for, from any CA below the root."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, exchange, spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, chain
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography.hazmat.primitives.asymmetric import ec

COMPANY, OTHER = companies.company(), companies.company("Other")
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
NAMES = (Name("dns", "db1.example"),)
MORE = ("db1.example", "db1", "192.0.2.1")
ROOT = COMPANY.root.read
WISH = spec.Spec(None, NAMES, "P-256", certificate.SERVER_AUTH, [ROOT])
HOUR = 3600


def chain_of(
    turn: int = 0, names: Sequence[str] = MORE, *, of: companies.Company = COMPANY, **more: object
) -> list[Certificate]:
    leaf = companies.leaf(of.issuing[turn], KEY, "db1.example", names, **more)  # type: ignore[arg-type]
    return of.chain(leaf, turn)


def needed(found: Sequence[Certificate], wish: spec.Spec = WISH, now: int = NOW + DAY) -> list[str]:
    return due.needed(due.Present(found, True, True), wish, now)


@pytest.mark.parametrize("turn", [0, 1])
def test_more_names_both_usages_and_any_ca_below_the_root_are_as_wished(turn: int) -> None:
    assert needed(chain_of(turn)) == []
    exchange.refuse_another(chain_of(turn), WISH, "certificate", NOW + DAY)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (chain_of(names=["other.example"]), ["san_missing: db1.example"]),
        (chain_of(usages=[certificate.CLIENT_AUTH]), ["profile: extended key usage"]),
        (chain_of(usages=[]), ["profile: extended key usage"]),
        (chain_of(of=OTHER), ["issuer_changed"]),
        (chain_of()[:1], ["issuer_changed"]),
        (chain_of()[:2], ["issuer_changed"]),
        (chain_of(days=1.5), ["expires_in_12h"]),
    ],
)
def test_less_is_not(found: list[Certificate], expected: list[str]) -> None:
    assert needed(found) == expected
    with pytest.raises(TlsError, match=f"did not issue what was asked for: {expected[0]}"):
        exchange.refuse_another(found, WISH, "certificate", NOW + DAY)


def test_the_own_authority_still_has_to_issue_exactly_what_was_asked_for() -> None:
    exact = WISH._replace(issuing=[COMPANY.issuing[0].read])
    assert needed(chain_of(), exact) == [
        "san_not_wanted: db1",
        "san_not_wanted: 192.0.2.1",
        "profile: extended key usage",
    ]
    assert "issuer_changed" in needed(chain_of(1), exact)


def test_which_names_the_next_certificate_has_is_known_when_it_has_come_or_if_the_own_authority_adds_none() -> None:
    assert WISH.names_to_come(None) is None
    assert WISH._replace(issuing=[COMPANY.issuing[0].read]).names_to_come(None) == NAMES
    came = chain_of()[0]
    assert WISH.names_to_come(came) == came.names
    assert len(came.names) == len(MORE)


def test_a_chain_that_only_known_cas_complete_is_sent_again() -> None:
    known = WISH._replace(issuing=[COMPANY.issuing[0].read, COMPANY.policy.read, ROOT])
    assert needed(chain_of()[:1], known) == ["chain_incomplete"]
    assert needed(chain_of(), known) == []


def test_of_a_leaf_alone_nobody_can_say_whether_its_issuer_changed() -> None:
    assert due.reasons(chain_of()[0], WISH, NOW + DAY) == []


def test_a_life_of_a_day_is_renewed_after_two_thirds_and_not_in_every_run() -> None:
    short = chain_of(days=1)
    at = [hour for hour in range(24) if needed(short, now=NOW + hour * HOUR)]
    assert at[0] in (14, 15, 16)
    assert at == list(range(at[0], 24))
    with pytest.raises(TlsError, match="renew_before: certificates are renewed 30d before they end"):
        exchange.refuse_another(short, WISH._replace(renew_before=30 * DAY), "certificate", NOW)


def test_a_chain_keeps_every_ca_on_its_way_to_the_root_and_loses_the_root() -> None:
    found = chain_of()
    shuffled = [found[0], ROOT, OTHER.policy.read, found[2], found[1]]
    assert chain.fitting(shuffled, [ROOT], [ROOT], NOW) == found
    assert chain.fitting(found, [ROOT], [OTHER.root.read], NOW) == found


def test_another_root_is_refused_and_another_ca_below_the_same_root_is_not() -> None:
    offer = spec.Offer([ROOT], [ROOT])
    due.refuse_another_root(chain_of(1), "server.crt", offer, NOW + DAY)
    with pytest.raises(TlsError, match="below another root"):
        due.refuse_another_root(chain_of(of=OTHER), "server.crt", offer, NOW + DAY)
    assert due.is_from(chain_of(1), [ROOT])
    assert not due.is_from(chain_of(of=OTHER), [ROOT])

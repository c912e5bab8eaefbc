# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates a chain on disk keeps: judged as the strictest clients that are known do it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, chain
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography.hazmat.primitives.asymmetric import ec

OLD, NEW, OTHER = (issuing.new_authority("client", "P-256", NOW - DAY) for _number in range(3))
RENEWED = issuing.below("client", NEW.root, NEW.root_key, NOW - DAY) if NEW.root_key else NEW


def cross_signed() -> Certificate:
    assert OLD.root_key is not None
    made = issuing.cross_signed(NEW.root, OLD.root, OLD.root_key, NOW)
    assert made is not None
    return made


CROSS = cross_signed()


def leaf(authority: issuing.Authority) -> Certificate:
    made = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        certificate.CLIENT_AUTH,
        issuing.Holder("app", ()),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        issuing.Validity(NOW - DAY, NOW + 90 * DAY),
    )
    return certificate.read_der(made, "leaf")


LEAF = leaf(NEW)
CROSSED = [LEAF, NEW.issuing, CROSS]
OFFERED = [NEW.issuing, CROSS]


def is_sent_by_pgjdbc(found: Sequence[Certificate], advertised: Sequence[Certificate]) -> bool:
    """Return whether pgjdbc shows its certificate: what LazyKeyManager.getClientAliases compares."""
    return found[-1].issuer in [one.subject for one in advertised]


def leads_somewhere(found: Sequence[Certificate], roots: Sequence[Certificate]) -> bool:
    """Return whether no certificate of a chain is one that nobody needs who trusts these roots."""
    issuers = [*found[1:], *roots]
    is_needed = [any(chain.is_issued_by(below, one) for below in found) for one in found[1:]]
    return all(is_needed) and all(any(chain.is_issued_by(one, above) for above in issuers) for one in found)


def test_a_chain_is_as_it_is_while_both_roots_are_trusted() -> None:
    assert chain.fitting(CROSSED, OFFERED, [OLD.root, NEW.root], NOW) == CROSSED
    assert is_sent_by_pgjdbc(CROSSED, [OLD.root, NEW.root])
    assert is_sent_by_pgjdbc(CROSSED, [OLD.root]), "a server that nobody manages, and that trusts the old one alone"


@pytest.mark.parametrize(
    ("offered", "roots"),
    [([NEW.issuing], [OLD.root, NEW.root]), (OFFERED, [NEW.root]), ([NEW.issuing], [NEW.root])],
    ids=["given out no longer", "trusted no longer", "neither"],
)
def test_the_old_root_leaves_a_chain_with_the_certificate_that_leads_to_it(
    offered: list[Certificate], roots: list[Certificate]
) -> None:
    assert not is_sent_by_pgjdbc(CROSSED, [NEW.root]), "what the rule is for"
    found = chain.fitting(CROSSED, offered, roots, NOW)
    assert found == [LEAF, NEW.issuing]
    assert is_sent_by_pgjdbc(found, [NEW.root])
    assert chain.difference(CROSSED, found) == f"without {NEW.root.common_name!r} signed by {OLD.root.common_name!r}"


def test_every_chain_becomes_one_that_the_strictest_clients_get_in_with() -> None:
    """All orders and selections of what there is, for all that can be trusted."""
    above = [NEW.issuing, CROSS, NEW.root, RENEWED.issuing, OLD.issuing]
    for roots in ([OLD.root], [NEW.root], [OLD.root, NEW.root], [NEW.root, OLD.root]):
        for number in range(len(above) + 1):
            for selected in itertools.permutations(above, number):
                found = chain.fitting([LEAF, *selected], [RENEWED.issuing, *OFFERED], roots, NOW)
                is_whole = NEW.issuing in selected and (NEW.root in roots or CROSS in selected)
                if is_whole:
                    assert is_sent_by_pgjdbc(found, roots), selected
                    assert leads_somewhere(found, roots), selected
                    assert chain.fitting(found, [RENEWED.issuing, *OFFERED], roots, NOW) == found
                else:
                    assert found == [LEAF, *selected], "its certificate is issued anew"


def test_what_a_renewed_authority_has_issued_keeps_its_own_issuer() -> None:
    found = [LEAF, NEW.issuing]
    assert chain.fitting(found, [RENEWED.issuing, NEW.issuing], [NEW.root], NOW) == found


def test_a_certificate_that_has_ended_leads_nowhere() -> None:
    ended = CROSS.not_after
    offered, roots = [NEW.issuing._replace(not_after=ended + DAY), CROSS], [OLD.root, NEW.root]
    assert chain.fitting([LEAF, offered[0], CROSS], offered, roots, ended) == [LEAF, offered[0]]


@pytest.mark.parametrize("found", [[LEAF], [LEAF, CROSS], [LEAF, OLD.issuing], [leaf(OTHER), OTHER.issuing]])
def test_a_chain_that_leads_to_no_root_stays_for_those_who_issue_certificates(found: list[Certificate]) -> None:
    assert chain.fitting(found, OFFERED, [OLD.root, NEW.root], NOW) == found


def test_a_chain_in_a_wrong_order_is_told_as_such() -> None:
    found = [LEAF, CROSS, NEW.issuing]
    assert chain.difference(found, CROSSED) == "in the order of its issuers"

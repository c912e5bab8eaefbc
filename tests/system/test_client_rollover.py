# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chains of OS users while the root of clients is replaced: what they hold when, and that it needs no new key."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.tests.clients import Clients, User, chains, snapshot
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
OLD, NEW = AUTHORITIES["client"], issuing.new_authority("client", "P-256", TODAY)


def cross_signed() -> Certificate:
    assert OLD.root_key is not None
    made = issuing.cross_signed(NEW.root, OLD.root, OLD.root_key, TODAY)
    assert made is not None
    return made


CROSS = cross_signed()
BOTH_BUNDLE = "".join(one.pem for one in (OLD.issuing, NEW.issuing, OLD.root, NEW.root))
SWITCHED = {"trusted_clients": BOTH_BUNDLE, "issuing": NEW.issuing.pem + CROSS.pem}
DETACHED = {"trusted_clients": BOTH_BUNDLE, "issuing": NEW.issuing.pem}
RETIRED = {"trusted_clients": NEW.issuing.pem + NEW.root.pem, "issuing": NEW.issuing.pem}
WITHOUT = f"postgresql.crt without {NEW.root.common_name!r} signed by {OLD.root.common_name!r}"


def files(user: User) -> tuple[list[Certificate], bytes]:
    """Return the chain that programs of a user show, and its key."""
    text = (user.default / "postgresql.crt").read_text()
    return certificate.read_pem(text, "postgresql.crt"), (user.default / "postgresql.key").read_bytes()


@pytest.fixture
def switched(clients: Clients) -> Clients:
    """Give clients that have a certificate of the new authority, which the old root convinces, too."""
    clients.converge()
    first = clients.call(**SWITCHED)
    assert [one["reasons"] for one in first["requests"]] == [["issuer_changed"]]
    crossed = {id_: chain + CROSS.pem for id_, chain in chains(first, authority=NEW).items()}
    clients.call(**SWITCHED, certificates=crossed)
    assert not clients.call(**SWITCHED)["changed"]
    return clients


@pytest.mark.parametrize("told", [DETACHED, RETIRED], ids=["while it is trusted", "by a late run"])
def test_the_old_root_leaves_a_chain_and_leaf_and_key_stay(
    switched: Clients, alice: User, told: dict[str, Any]
) -> None:
    before, key = files(alice)
    assert before[-1] == CROSS
    look = switched.call(**told, check_mode=True)
    assert look["changes"] == [f"{alice.name}/app: {WITHOUT}"]
    assert files(alice) == (before, key)
    done = switched.call(**told)
    assert (done["changes"], done["requests"], done["reasons"]) == (look["changes"], [], [])
    assert files(alice) == (before[:2], key)
    after = snapshot(alice.home)
    assert not switched.call(**told)["changed"]
    assert snapshot(alice.home) == after


def test_an_old_root_that_left_a_chain_does_not_come_back_to_it(switched: Clients, alice: User) -> None:
    switched.call(**DETACHED)
    with pytest.raises(TlsError, match="It has the same files as 0003, so a roll-back would change nothing"):
        switched.roll_back(**DETACHED)
    switched.converge(**RETIRED, roots=AUTHORITIES["server"].root.pem + NEW.root.pem)
    switched.roll_back(**RETIRED)
    assert files(alice)[0][1:] == [NEW.issuing]


def test_a_chain_that_comes_is_put_down_as_the_authorities_are_now(clients: Clients, alice: User) -> None:
    """The old root may have left while the request was under way."""
    first = clients.call(**SWITCHED)
    clients.call(**RETIRED, certificates={id_: one + CROSS.pem for id_, one in chains(first, authority=NEW).items()})
    assert files(alice)[0][1:] == [NEW.issuing]
    assert not clients.call(**RETIRED)["changed"]

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real server while its authorities are renewed and replaced: what changes, and whom its chain convinces."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server, sign


def renewed(name: str) -> issuing.Authority:
    """Return an authority with a new issuing CA below the same root."""
    old = AUTHORITIES[name]
    assert old.root_key is not None
    return issuing.below(name, old.root, old.root_key, TODAY)


def convinces(server: Server, *roots: Certificate) -> bool:
    """Return whether a client that trusts these roots takes the server's chain, names and all."""
    context = ssl.create_default_context(cadata="".join(root.pem for root in roots))
    try:
        wire.observe(wire.Endpoint("127.0.0.1", server.cluster.port, name="localhost"), context)
    except TlsError as error:
        if "certificate verify failed" not in error.message:
            raise
        return False
    return True


def who_is_convinced(server: Server, old: Certificate, new: Certificate) -> list[str]:
    trusts: dict[str, Sequence[Certificate]] = {"old": [old], "new": [new], "both": [old, new]}
    return [who for who, roots in trusts.items() if convinces(server, *roots)]


def test_a_renewed_issuing_ca_leaves_the_certificate_as_it_is(managed: Server) -> None:
    server, client = AUTHORITIES["server"], AUTHORITIES["client"]
    before = managed.served()
    several = renewed("server").issuing.pem + server.issuing.pem
    assert managed.converge(issuing=several).changes == []
    bundle = client.issuing.pem + renewed("client").issuing.pem + client.root.pem
    outcome = managed.converge(issuing=several, trusted_clients=bundle)
    assert (outcome.changes, outcome.request) == (["trusted-clients.crt: changed"], None)
    assert managed.served() == before
    assert managed.converge(issuing=several, trusted_clients=bundle).changes == []


@pytest.mark.parametrize("is_crossed", [True, False])
def test_a_root_is_replaced_before_the_eyes_of_clients(
    managed: Server, monkeypatch: pytest.MonkeyPatch, *, is_crossed: bool
) -> None:
    """With the new root signed by the old one, who knows the old one alone is convinced until that one retires."""
    old, new = AUTHORITIES["server"], issuing.new_authority("server", "P-256", TODAY)
    assert old.root_key is not None
    cross = issuing.cross_signed(new.root, old.root, old.root_key, TODAY)
    assert cross is not None
    above = cross.pem if is_crossed else ""
    given_out = {"roots": old.root.pem + new.root.pem, "issuing": new.issuing.pem + above}
    both = old.root.pem + new.root.pem
    assert managed.converge(roots=both, issuing=old.issuing.pem).changes == []  # staged
    assert who_is_convinced(managed, old.root, new.root) == ["old", "both"]

    monkeypatch.setitem(AUTHORITIES, "server", new)  # switched
    outcome = managed.converge(**given_out)
    assert (outcome.plan.reasons, outcome.request is None) == (["issuer_changed"], False)
    assert outcome.request is not None
    chain = sign(outcome.request, ["localhost", "127.0.0.1"]) + above
    managed.converge(**given_out, certificate=chain)
    assert managed.used()["server.crt"].decode() == chain
    assert managed.converge(**given_out).changes == []
    convinced = ["old", "new", "both"] if is_crossed else ["new", "both"]
    assert who_is_convinced(managed, old.root, new.root) == convinced

    leaf, key = managed.served(), managed.used()["server.key"]
    signed = f"{new.root.common_name!r} signed by {old.root.common_name!r}"
    without = [f"server.crt: without {signed}"] if is_crossed else []
    assert managed.converge(roots=both, check_mode=True).changes == without
    outcome = managed.converge(roots=both)  # the old root leaves chains, while clients trust it still
    assert (outcome.changes, outcome.request, outcome.plan.reasons) == (without, None, [])
    assert managed.used()["server.crt"].decode() == chain.removesuffix(above)
    assert (managed.served(), managed.used()["server.key"]) == (leaf, key)
    assert who_is_convinced(managed, old.root, new.root) == ["new", "both"]
    assert managed.converge(roots=both).changes == []

    assert managed.converge().changes == []  # retired: clients forget, the server has nothing to do
    managed.restart()
    assert who_is_convinced(managed, old.root, new.root) == ["new", "both"]
    if is_crossed:
        with pytest.raises(TlsError, match="It has the same files as 0003"):  # what left a chain does not come back
            managed.roll_back()


def test_a_server_that_no_run_has_reached_loses_the_old_root_with_the_trust_in_it(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here nothing tells of the chain but the roots: what leads to none of them goes."""
    old, new = AUTHORITIES["server"], issuing.new_authority("server", "P-256", TODAY)
    assert old.root_key is not None
    cross = issuing.cross_signed(new.root, old.root, old.root_key, TODAY)
    assert cross is not None
    monkeypatch.setitem(AUTHORITIES, "server", new)
    given_out = {"roots": old.root.pem + new.root.pem, "issuing": new.issuing.pem + cross.pem}
    request = managed.converge(**given_out).request or ""
    managed.converge(**given_out, certificate=sign(request, ["localhost", "127.0.0.1"]) + cross.pem)
    before = managed.served()
    (change,) = managed.converge(**{**given_out, "roots": new.root.pem}).changes
    assert change.startswith("server.crt: without ")
    assert managed.served() == before


def test_a_generation_from_before_the_new_root_does_not_come_back_once_it_issues(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients with certificates from the new client CA would be shut out."""
    old, new = AUTHORITIES["client"], issuing.new_authority("client", "P-256", TODAY)
    both = old.issuing.pem + new.issuing.pem + old.root.pem + new.root.pem
    managed.settle(trusted_clients=both)
    with pytest.raises(TlsError, match=f"does not trust '{new.root.common_name}', which is trusted now"):
        managed.roll_back(trusted_clients=both)
    monkeypatch.setitem(AUTHORITIES, "client", new)
    managed.settle()
    managed.roll_back()  # to both: nobody is shut out, and the next run takes the old root away again
    assert "trusted-clients.crt: changed" in managed.converge().changes

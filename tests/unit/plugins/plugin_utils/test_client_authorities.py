# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which client authority the servers of an identity trust."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import client_authorities, gaps
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust

GROUPS = {
    "all": ["shop1", "shop2", "billing1", "hr1", "app1"],
    "shop": ["shop1", "shop2"],
    "billing": ["billing1"],
    "hr": ["hr1"],
    "postgres_servers": ["shop1", "shop2", "billing1", "hr1"],
    "postgres_clients": ["app1"],
}


def fleet(**authorities: str) -> dict[str, dict[str, Any]]:
    """Return the variables of all hosts; servers that are named have an authority of their own."""
    return {
        host: {"postgres_server_client_authority": authorities[host]} if host in authorities else {}
        for host in GROUPS["all"]
    }


def identity(*servers: str, role: str = "app") -> dict[str, Any]:
    return {"role": role, "os_user": "web", **({"servers": list(servers)} if servers else {})}


def test_servers_that_say_nothing_trust_the_usual_one() -> None:
    trust = Trust.of_fleet(fleet(), GROUPS)
    assert (trust.names, trust.exceptions) == (["client"], {})
    assert trust.of(identity()) == "client"
    assert Trust.of_fleet({}, {}).names == ["client"]


@pytest.mark.parametrize(
    ("authorities", "names", "usual"),
    [
        ({"billing1": "billing"}, ["client", "billing"], "client"),
        ({"billing1": "billing", "hr1": "hr"}, ["client", "billing", "hr"], "client"),
        (dict.fromkeys(GROUPS["postgres_servers"], "own"), ["own"], "own"),
        ({**dict.fromkeys(GROUPS["postgres_servers"], "b"), "hr1": "a"}, ["a", "b"], "a"),
    ],
)
def test_the_fleet_needs_what_its_servers_trust(authorities: dict[str, str], names: list[str], usual: str) -> None:
    trust = Trust.of_fleet(fleet(**authorities), GROUPS)
    assert (trust.names, trust.usual) == (names, usual)
    for server in GROUPS["postgres_servers"]:
        assert trust.of_server(server) == authorities.get(server, "client")


@pytest.mark.parametrize(
    ("servers", "found"),
    [(["billing"], "billing"), (["billing1"], "billing"), (["shop"], "client"), (["hr"], "client")],
)
def test_an_identity_has_the_authority_of_its_servers(servers: list[str], found: str) -> None:
    assert Trust.of_fleet(fleet(billing1="billing"), GROUPS).of(identity(*servers)) == found


@pytest.mark.parametrize("servers", [[], ["shop", "billing"], ["all"]])
def test_servers_of_two_authorities_are_refused(servers: list[str]) -> None:
    trust = Trust.of_fleet(fleet(billing1="billing"), GROUPS)
    with pytest.raises(TlsError, match=r"^x\.servers: the servers of identity web/app trust .* billing \(billing1\)"):
        trust.of(identity(*servers), "x")


def test_authorities_that_no_client_host_has_both_of_cannot_be_tried_at_each_others_servers() -> None:
    known = fleet(billing1="billing", hr1="hr")
    known["app1"]["postgres_client_identities"] = [identity("billing"), identity("shop", role="b")]
    assert Trust.of_fleet(known, GROUPS).apart(known) == [("client", "hr"), ("billing", "hr")]
    first, _second = gaps.authorities_apart(known, GROUPS)
    assert first.endswith(
        "that servers of client authority client refuse certificates of hr, and the other way around."
    )
    assert gaps.authorities_apart(fleet(), GROUPS) == []


def test_the_id_of_a_certificate_leads_to_its_authority() -> None:
    known = fleet(billing1="billing")
    known["app1"]["postgres_client_identities"] = [identity("billing"), identity("shop", role="b")]
    assert Trust.of_fleet(known, GROUPS).by_id(known) == {"app1/web/app": "billing", "app1/web/b": "client"}


def test_services_name_their_authorities_and_have_no_servers() -> None:
    known = fleet(billing1="billing")
    known["app1"]["postgres_client_identities"] = [
        identity("billing"),
        {"role": "backup1", "os_user": "web", "authority": "backup"},
        {"name": "exporter", "os_user": "web", "names": ["app1"], "authority": "metrics"},
        {"name": "plain", "os_user": "web", "names": ["app1"]},
    ]
    trust = Trust.of_fleet(known, GROUPS)
    assert trust.by_id(known) == {
        "app1/web/app": "billing",
        "app1/web/backup1": "backup",
        "app1/web/exporter": "server",
        "app1/web/plain": "server",
    }
    assert trust.names == ["client", "billing"]
    assert client_authorities.needed(known, GROUPS) == ["client", "billing", "backup", "metrics"]
    assert trust.apart(known) == [("client", "billing")]
    known["app1"]["postgres_client_identities"] = [{"role": "b", "os_user": "web", "authority": "server"}]
    with pytest.raises(TlsError, match=r"identities\.authority: found 'server', expected the name of a client auth"):
        client_authorities.needed(known, GROUPS)


def test_modules_get_the_client_authorities_beside_their_own() -> None:
    texts = ("roots", "issuing", "bundle", "crls")
    made = {
        name: {**{text: f"{text} of {name}" for text in texts}, "revoked": [name], "phase": "steady"}
        for name in ("server", "client", "billing")
    }
    assert client_authorities.as_former(made, "client") == [
        {"name": "billing", "trusted_clients": "bundle of billing", "crls": "crls of billing"}
    ]
    assert client_authorities.as_others(made, "billing") == [
        {
            "name": "client",
            "issuing": "issuing of client",
            "trusted_clients": "bundle of client",
            "revoked": ["client"],
            "trusted_clients_crls": "crls of client",
        }
    ]
    assert client_authorities.as_former({"server": made["server"], "client": made["client"]}, "client") == []

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils import problems
from ansible_collections.pgops.tls.tests import clients, servers

SERVER_VARIABLES = {
    "postgres_server_names": ["db1.example"],
    "postgres_server_extra_names": [],
    "postgres_server_existing": {},
    "postgres_server_ssl": {},
    "postgres_server_hba": [],
    "postgres_server_ident": [],
}
CLIENT_VARIABLES = {"postgres_client_identities": []}
LIFETIME = "postgres_ca_certificate_lifetime"


@pytest.fixture(params=["server", "client"])
def checked(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Give a function that checks the variables of either role with a renew_before and perhaps more."""
    role = str(request.param)
    check, variables = {
        "server": (problems.of_server, SERVER_VARIABLES),
        "client": (problems.of_client, CLIENT_VARIABLES),
    }[role]

    def call(renew_before: str, **others: Any) -> list[str]:
        return check({**variables, f"postgres_{role}_renew_before": renew_before, **others})

    return call


@pytest.mark.parametrize("renew_before", ["90d", "2160h", "13w", "1y"])
def test_a_renewal_as_long_before_the_end_as_a_certificate_lives_is_refused(
    checked: Callable[..., list[str]], renew_before: str
) -> None:
    (found,) = checked(renew_before, **{LIFETIME: "90d"})
    assert f"_renew_before: {renew_before} is not shorter than" in found
    assert f"{LIFETIME}: 90d" in found
    assert "every run would renew every certificate. Choose less" in found


@pytest.mark.parametrize(("renew_before", "lifetime"), [("89d", "90d"), ("90d", "91d"), ("", "1d"), ("90d", None)])
def test_a_shorter_one_and_none_are_right(
    checked: Callable[..., list[str]], renew_before: str, lifetime: str | None
) -> None:
    assert checked(renew_before, **({LIFETIME: lifetime} if lifetime else {})) == []


def test_what_others_renew_may_need_more_time_than_our_certificates_live() -> None:
    files = {"certificate": "/etc/tls.crt", "key": "/etc/tls.key"}
    given = {**SERVER_VARIABLES, LIFETIME: "90d", "postgres_server_renew_before": "120d"}
    assert problems.of_server({**given, "postgres_server_existing": files}) == []
    assert len(problems.of_server(given)) == 1


def test_what_is_no_duration_is_named(checked: Callable[..., list[str]]) -> None:
    assert [found.split(":")[0].split("_", 2)[2] for found in checked("soon", **{LIFETIME: "90d"})] == ["renew_before"]
    assert [found.split(":")[0] for found in checked("1d", **{LIFETIME: "long"})] == [LIFETIME]


@pytest.mark.parametrize(
    ("role", "option"), [("server", "postgres_server_extra_trusted_clients"), ("client", "postgres_client_extra_roots")]
)
def test_authorities_of_others_have_to_be_such(role: str, option: str) -> None:
    check, variables = {
        "server": (problems.of_server, SERVER_VARIABLES),
        "client": (problems.of_client, CLIENT_VARIABLES),
    }[role]
    root = servers.AUTHORITIES["client"].root.pem
    leaf = clients.sign(clients.ec.generate_private_key(clients.ec.SECP256R1()).public_key(), "app")

    def told(pem: str) -> list[str]:
        return check({**variables, f"postgres_{role}_renew_before": "", option: pem})

    assert told("") == told(" \n") == told(root) == told(f"# the old one\n{root}{root}") == []
    [wrong] = told("old-ca.crt")
    assert wrong.startswith(f"{option}: expected PEM certificates, found 10 characters")
    assert told(root + leaf) == [
        f"{option}: expected certificates of authorities, or self-signed ones, found one of 'app', a leaf. Remove it."
    ]

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which identities keep their certificate until their servers follow."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.client import holding, target, user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography.hazmat.primitives.asymmetric import ec

SERVER, CLIENT, BILLING, STRANGE = (
    issuing.new_authority(name, "P-256", NOW - 9 * DAY) for name in ("server", "client", "billing", "strange")
)


def credential(authority: issuing.Authority, start: int) -> user_files.Credential:
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        certificate.CLIENT_AUTH,
        issuing.Holder("app", ()),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        issuing.Validity(start, start + 5 * DAY),
    )
    text = certificate.read_der(leaf, "leaf").pem + authority.issuing.pem
    return user_files.Credential(text.encode(), b"key", certificate.read_pem(text, "chain")[0])


def held(
    issuer: issuing.Authority | None = CLIENT, *, start: int = NOW - DAY, is_revoked: bool = False, **identity: Any
) -> list[tuple[str, str]]:
    """Return authority and login of an identity that is held, where it has a certificate of ``issuer``."""
    installed = None if issuer is None else credential(issuer, start)
    declared = {"role": "app", "os_user": "alice", "servers_ready": False, "authority": "billing", **identity}
    other = {"name": "billing", "issuing": BILLING.issuing.pem, "trusted_clients": BILLING.root.pem}
    wanted = target.read(
        {
            "identities": [declared],
            "key_type": "P-256",
            "roots": SERVER.root.pem,
            "issuing": CLIENT.issuing.pem,
            "trusted_clients": CLIENT.root.pem,
            "revoked": [f"{installed.leaf.serial:x}"] if installed and is_revoked else [],
            "other_authorities": [other],
        },
        NOW,
    )
    found = {wanted.identities[0]: installed} if installed else {}
    contents = {path: file.content for path, file in user_files.contents(found, wanted).items()}
    files = HomeFiles("0001", contents, {}, {}, {}, b"")
    return [(one.authority, one.login) for one in holding.held(wanted.identities, files, wanted, NOW)]


def test_a_certificate_of_the_former_authority_stays() -> None:
    assert held() == [("", "certificate")]
    assert held(login="both") == [("", "both")]
    assert held(BILLING, authority="") == [("billing", "certificate")]


def test_a_certificate_stays_in_place_of_a_password() -> None:
    assert held(login="password", authority="") == [("", "certificate")]
    assert held(BILLING, login="password") == [("billing", "certificate")]


@pytest.mark.parametrize(
    "others",
    [
        {"servers_ready": True},
        {"authority": ""},
        {"authority": "", "login": "both"},
        {"start": NOW - 5 * DAY},
        {"start": NOW + 1},
        {"is_revoked": True},
    ],
)
def test_nothing_is_held_that_is_as_declared_or_no_use(others: dict[str, Any]) -> None:
    assert held(**others) == []


def test_nothing_is_held_without_a_certificate_of_a_known_authority() -> None:
    assert held(None) == []
    assert held(STRANGE) == []

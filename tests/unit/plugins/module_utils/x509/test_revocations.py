# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which authorities a list of revoked certificates is about."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, revocation_list


def test_an_authority_is_known_by_the_name_that_the_list_is_issued_by() -> None:
    client, server = AUTHORITIES["client"], AUTHORITIES["server"]
    lists = (revocation_list(server) + "\n" + revocation_list(client)).encode()
    everybody = [client.root, client.issuing, server.root, server.issuing]
    assert revocations.about(lists, everybody) == [client.issuing, server.issuing]
    assert revocations.about(revocation_list(client, of_root=True).encode(), everybody) == [client.root]


def test_what_is_no_list_is_about_nobody() -> None:
    server = AUTHORITIES["server"]
    assert revocations.about(server.root.pem.encode(), [server.root]) == []
    assert revocations.about(b"\xff nonsense", [server.root]) == []


def test_a_damaged_list_is_about_nobody() -> None:
    client = AUTHORITIES["client"]
    damaged = b"-----BEGIN X509 CRL-----\nabc\n-----END X509 CRL-----\n"
    assert revocations.about(damaged + revocation_list(client).encode(), [client.issuing]) == [client.issuing]

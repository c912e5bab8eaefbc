# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions, put together by application."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.server import applications


def session(application: str | None, serial: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a session as module session_info returns it."""
    return {
        "application": application, "role": "app", "database": "shop", "address": "192.0.2.1", "encryption": "tls",
        "protocol": "TLSv1.3", "cipher": "x", "serial": serial, "issuer": "/CN=ca" if serial else None, **changes,
    }  # fmt: skip


def test_a_row_for_each_application_role_database_and_address() -> None:
    found = applications.of(
        [
            session("web", "2"),
            session("web", "1", protocol="TLSv1.2"),
            session("web", encryption="none", protocol=None, cipher=None),
            session("web", address="192.0.2.2", encryption="gss", protocol=None, cipher=None),
            session("web", role="other"),
            session(None, database=None),
            session("psql", address=None),
        ]
    )
    assert [(one["application"], one["role"], one["database"], one["address"], one["sessions"]) for one in found] == [
        ("", "app", "", "192.0.2.1", 1),
        ("web", "app", "shop", "192.0.2.1", 3),
        ("web", "app", "shop", "192.0.2.2", 1),
        ("web", "other", "shop", "192.0.2.1", 1),
    ]
    assert [(one["tls"], one["client_certificate"]) for one in found] == [
        ("all", "none"),
        ("some", "some"),
        ("none", "none"),
        ("all", "none"),
    ]
    assert (found[1]["protocols"], found[1]["serials"], found[1]["issuers"]) == (
        ["TLSv1.2", "TLSv1.3"],
        ["1", "2"],
        ["/CN=ca"],
    )
    assert applications.of([]) == []

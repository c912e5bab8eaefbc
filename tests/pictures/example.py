# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of an example: who connects where is the inventory's, what servers have seen of it is made up.

Nothing here is by chance or by the clock, so the pictures of it change with the code that draws them, and only then.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import facts
from ansible_collections.pgops.tls.plugins.module_utils.server import applications
from ansible_collections.pgops.tls.plugins.plugin_utils import connections
from ansible_collections.pgops.tls.tests.clusters import edges
from ansible_collections.pgops.tls.tests.shared import DAY

INVENTORY = Path(__file__).with_name("inventory.yml")
NOW = clock.seconds("2026-11-30T02:05:00Z")
CLUSTERS = ("shop", "billing")
# What a look at each server saw: role, database, address, application, and how it was encrypted
SEEN = {
    "shop1.example.com": [
        ("pgbouncer", "shop", "192.0.2.20", "", "certificate"),
        ("migrations", "shop", "192.0.2.31", "flyway", "old"),
        ("report", "shop", "192.0.2.31", "nightly", "certificate"),
        ("standby", "", "192.0.2.12", "shop2", "certificate"),
    ],
    "shop2.example.com": [("report", "shop", "192.0.2.31", "nightly", "certificate")],
    "billing1.example.com": [
        ("invoices", "billing", "192.0.2.31", "invoices", "certificate"),
        ("clerk", "billing", "192.0.2.44", "DBeaver 24", "password"),
        ("auditor", "billing", "198.51.100.7", "psql", "certificate"),
        ("import", "billing", "192.0.2.99", "legacy-import", "plaintext"),
    ],
    "archive1.example.com": [],
}
ENDS = {"shop1.example.com": 62, "shop2.example.com": 62, "billing1.example.com": 33, "archive1.example.com": 71}
LIFE = {"root": 3650, "issuing": 1824}


def serial(name: str) -> str:
    """Return the serial number of a certificate that does not exist."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def data() -> dict[str, Any]:
    """Return the report."""
    inventory = yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))
    groups, hostvars = edges.groups(inventory), edges.hosts(inventory)
    own = {host: name for name in CLUSTERS for host in groups[name]}
    learned = facts.Learned(
        servers={host: _server(host) for host in groups["postgres_servers"]},
        clients={host: _client(host, hostvars[host]) for host in groups["postgres_clients"]},
        authorities={},
        authority_changes=[],
        clusters=own,
        poolers={host: _pooler(host) for host in groups["postgres_poolers"]},
        kits={
            one["name"]: {"certificate": _kit(one["name"])} for one in hostvars["shop1.example.com"]["postgres_ca_kits"]
        },
        connections=connections.of_fleet(hostvars, groups),
    )
    made = facts.report(learned, {}, NOW)
    made["last_successful_run"] = _after(0)
    made["authorities"] = {name: _authority(name) for name in ("server", "client", "billing")}
    return made


def _after(days: int) -> str:
    return clock.instant(NOW + days * DAY)


def _certificate(name: str, days: int) -> dict[str, Any]:
    made = {"serial": serial(name), "sha256": serial(f"{name} whole"), "names": []}
    return {**made, "not_after": _after(days), "renewal": _after(days - 30), "reasons": []}


def _session(role: str, database: str, address: str, application: str, how: str) -> dict[str, Any]:
    has_certificate = how in ("certificate", "old")
    findings = {"old": ["old_certificate"], "plaintext": ["plaintext"]}.get(how, [])
    tls = {"encryption": "tls", "protocol": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"}
    return {
        "role": role, "database": database, "address": address, "application": application, "type": "client backend",
        "since": clock.instant(NOW - 3 * DAY if how == "old" else NOW - 3600),
        **(tls if how != "plaintext" else {"encryption": "none", "protocol": None, "cipher": None}),
        "serial": serial(f"{role} {how}".replace(" certificate", "")) if has_certificate else None,
        "subject": f"/CN={role}" if has_certificate else None,
        "issuer": "/CN=PostgreSQL client issuing CA" if has_certificate else None, "findings": findings,
    }  # fmt: skip


def _server(host: str) -> dict[str, Any]:
    sessions = [_session(*one) for one in SEEN[host]]
    plain = sum("plaintext" in one["findings"] for one in sessions)
    return {
        "server_version": 170007, "certificate": _certificate(host, ENDS[host]), "sessions": sessions,
        "counts": {"TLSv1.3": len(sessions) - plain, **({"plaintext": plain} if plain else {})},
        "applications": applications.of(sessions),
    }  # fmt: skip


def _client(host: str, variables: dict[str, Any]) -> dict[str, Any]:
    found = []
    for one in variables["postgres_client_identities"]:
        known = _certificate(one["role"], 47)
        if one.get("login") == "password":
            continue  # module client returns those with a certificate
        if host == "shop1.example.com":
            known["serial"] = serial(host)
        found.append({**known, "id": f"{one['os_user']}/{one['role']}", "role": one["role"], "os_user": one["os_user"]})
    return {"identities": found, "requests": []}


def _pooler(host: str) -> dict[str, Any]:
    certificates = {"front": _certificate(f"{host} front", 55), "back": _certificate("pgbouncer", 55)}
    return {"requests": [], "certificates": certificates}


def _kit(name: str) -> dict[str, Any]:
    days = {"anna": 12, "audit-ltd": 140}[name]
    return _certificate({"audit-ltd": "auditor"}.get(name, name), days)


def _authority(name: str) -> dict[str, Any]:
    kinds = {"root": "root", "issuing": "issuing CA"}
    return {
        "phase": "steady",
        "certificates": [
            {"kind": kind, "name": f"PostgreSQL {name} {word}", "not_after": _after(LIFE[kind] - 40)}
            for kind, word in kinds.items()
        ],
        "source": "own",
        "crls": [
            {
                "name": f"PostgreSQL {name} issuing CA",
                "next_update": _after(24),
                "made_by": "own",
                "act_from": _after(10),
            }
        ],
        "revoked": 0,
    }

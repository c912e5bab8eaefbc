# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of one host as the authority gets them: what a certificate says comes from the inventory alone."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.pooler import target as pooler
from ansible_collections.pgops.tls.plugins.module_utils.restapi import target as restapi
from ansible_collections.pgops.tls.plugins.plugin_utils import patroni_members, poolers


def of_server(found: Mapping[str, Any], names: Sequence[str], host: str) -> list[dict[str, Any]]:
    """Return the request in what module server ``found`` ([]: it has no reason for one), with the inventory's names.

    Of what the host says only the CSR ('' in check mode) and the reasons are taken.
    """
    reasons = [str(one) for one in found.get("reasons", ())]
    request = {"id": host, "csr": found.get("request") or "", "names": list(names), "reasons": reasons}
    return [{**request, **_replaces(found.get("certificate"))}] if reasons else []


def _replaces(certificate: Mapping[str, Any] | None) -> dict[str, str]:
    """Return which certificate is in use, as its host says: no source then takes it for the one that it asks for."""
    serial = (certificate or {}).get("serial")
    return {"replaces": str(serial)} if serial else {}


def of_pooler(found: Mapping[str, Any], options: Mapping[str, Any], host: str, authority: str) -> list[dict[str, Any]]:
    """Return the requests in what module pgbouncer ``found``, with the names and the role in its ``options``.

    ``authority`` signs the certificate for PostgreSQL. Of what the host says only CSR and reasons are taken.
    """
    declared: dict[str, dict[str, Any]] = {
        pooler.FRONT: {"authority": profiles.SERVER, "names": list(options.get("names") or ())},
        pooler.BACK: {"authority": authority, "role": options.get("role")},
    }
    return _declared(found, declared, poolers.ids(host))


def of_patroni(found: Mapping[str, Any], names: Sequence[str], host: str, authority: str) -> list[dict[str, Any]]:
    """Return the requests in what module server ``found`` of Patroni, with the inventory's names.

    ``authority`` signs the client certificate. Of what the host says only CSR and reasons are taken.
    """
    declared: dict[str, dict[str, Any]] = {
        restapi.API: {"authority": profiles.SERVER, "names": list(names)},
        restapi.CTL: {"authority": authority, "role": restapi.ROLE},
    }
    return _declared(found, declared, patroni_members.ids(host))


def _declared(
    found: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]], ids: Mapping[str, str]
) -> list[dict[str, Any]]:
    return [
        {
            "id": ids[one["id"]],
            "csr": one.get("csr") or "",
            "reasons": list(map(str, one.get("reasons", ()))),
            **declared[one["id"]],
            **_replaces((found.get("certificates") or {}).get(one["id"])),
        }
        for one in found.get("requests") or ()
        if one.get("id") in declared
    ]


def complete(
    asked: Sequence[Mapping[str, Any]],
    declared: Sequence[Mapping[str, Any]],
    host: str,
    authority: str,
    in_use: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return the requests that a host ``asked`` for, with unique ids, and the inventory's roles and names.

    ``authority`` signs for the identities that name no other. ``in_use`` are the certificates that the host has. Of
    what the host says only these, the CSR ('' in check mode) and the reasons are taken. Raises TlsError when it asks
    for an identity that the inventory does not give it, or that has no certificate.
    """
    having = {str(one.get("id")): one for one in in_use}
    known = {identity.id: identity for identity in identities.parse(declared) if identity.has_certificate}
    foreign = [one["id"] for one in asked if one["id"] not in known]
    if foreign:
        raise TlsError(
            f"{host} asks for a certificate for {foreign[0]!r}, which is none of its identities with a certificate in "
            f"the inventory ({', '.join(known) or 'it has none'}). Nothing is signed for it; see what runs on that "
            "host.",
            code="request_not_an_identity",
        )
    return [
        {
            "id": f"{host}/{one['id']}",
            **_holder(known[one["id"]], authority),
            "csr": one.get("csr") or "",
            "reasons": list(one["reasons"]),
            **_replaces(having.get(one["id"])),
        }
        for one in asked
    ]


def _holder(identity: identities.Identity, authority: str) -> dict[str, Any]:
    """Return what the certificate of an identity says, and who signs it: ``authority``, if it names no other."""
    if identity.names:
        return {"authority": profiles.SERVER, "names": [name.value for name in identity.names]}
    return {"authority": identity.authority or authority, "role": identity.role}

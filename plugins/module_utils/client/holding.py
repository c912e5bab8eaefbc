# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities that keep what they log in with until their servers follow, which would refuse anything else.

An identity moves to another client authority, or gives up its certificate for a password. A server that failed in this
run, or is not part of it, still trusts the former authority alone, or still asks for the certificate.
"""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.postgres import logins
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_chain


def held(identities: Sequence[Identity], found: HomeFiles, target: Target, now: int) -> list[Identity]:
    """Return the identities that keep their certificate, as it is. ``now`` is in Unix seconds."""
    kept = (_as_in_use(one, found, target, now) for one in identities if not one.servers_ready)
    return [one for one in kept if one is not None]


def in_words(identity: Identity) -> str:
    """Return a warning about an identity that keeps its certificate."""
    return (
        f"{identity.id}: it keeps its certificate until all of its servers follow. They do not in this run, because "
        "they failed or are not part of it. Rerun for all of them."
    )


def _as_in_use(identity: Identity, found: HomeFiles, target: Target, now: int) -> Identity | None:
    """Return an identity as its valid certificate has it; None if that is as declared, or there is none."""
    credential = user_files.installed(found, identity.name)
    if credential is None or not credential.leaf.not_before <= now < credential.leaf.not_after:
        return None
    leaf, chain = credential.leaf, read_chain(credential.chain, CERTIFICATE)
    issuers = (name for name, one in target.authorities.items() if due.is_from(chain, one.issuing))
    authority = next(issuers, None)
    if authority is None or f"{leaf.serial:x}" in target.authorities[authority].revoked:
        return None
    if identity.has_certificate and authority == identity.authority:
        return None
    login = identity.login if identity.has_certificate else logins.CERTIFICATE
    return identity._replace(authority=authority, login=login)

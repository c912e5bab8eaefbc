# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server that others have set up loses when this collection takes it over, and what a return will need."""

from __future__ import annotations

import os
from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import anchors
from ansible_collections.pgops.tls.plugins.module_utils.server.native_tls import NativeTls
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import der
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

_SNAKEOIL = "ssl-cert-snakeoil.pem"  # Debian creates it on every host; clients do not verify it


def warnings(chain: Sequence[Certificate], target: Target, own: NativeTls, coming: Sequence[Name]) -> list[str]:
    """Return what is lost with the ``chain`` that the server shows (leaf first, maybe alone; none without TLS).

    ``coming`` are the names of the certificate that follows.
    """
    if not chain:
        return []
    found = [*_lost_names(chain[0], coming), *_lost_issuer(chain, target, own)]
    if own.needs_passphrase():
        found.append(
            f"The server's own key {own.key} has a passphrase, which the server cannot get at a reload: "
            f"{own.cannot_ask()}. So the server cannot return to it by a reload: pgops.tls.remove would stop, and if "
            f"this run fails halfway, the server shows its own certificate only after a restart. {own.remedy()}"
        )
    return found


def _lost_names(leaf: Certificate, names: Sequence[Name]) -> list[str]:
    """Return a warning about names in the current certificate that the new one will not have.

    Clients that verify a self-signed one, such as Debian's, trust nothing else and need our root anyway.
    """
    if leaf.is_self_issued:
        return []
    coming = {name.value for name in names}
    found = [name.value for name in leaf.names] or [leaf.common_name]
    lost = ", ".join(name for name in found if name and name not in coming)
    warning = (
        f"The certificate that the server shows is for {lost}, but its new one is not: clients that verify the name "
        f"and connect by one of these names will refuse it. Add these names to {option('names')}."
    )
    return [warning] if lost else []


def _lost_issuer(chain: Sequence[Certificate], target: Target, own: NativeTls) -> list[str]:
    """Return a warning about the authority that verifies the current certificate, but not the new one."""
    if chain[0].is_self_issued and os.path.basename(own.certificate) == _SNAKEOIL:
        return []
    roots = anchors(target.roots, "roots")
    root = _root_of(chain, [*target.issuing, *roots])
    if root in (one.subject for one in roots):
        return []
    new = ", ".join(repr(one.common_name) for one in roots)
    warning = (
        f"The certificate that the server shows is verified by {der.in_words(root)!r}, but its new one is not: clients "
        f"that verify the server (sslmode verify-ca or verify-full) and do not trust {new} will refuse it. Before this "
        "run, add the new root to the root certificates of these clients. If this collection manages them, "
        f"{option('client.roots')} keeps the old root beside the new one."
    )
    return [warning]


def _root_of(chain: Sequence[Certificate], known: Sequence[Certificate]) -> bytes:
    """Return the name of the last issuer on the way up from the leaf; the root itself is rarely sent along."""
    at, others = chain[0], [*chain[1:], *known]
    for _step in others:
        above = next((one for one in others if one.subject == at.issuer and _fits(one, at)), None)
        if above is None or at.is_self_issued:
            break
        at = above
    return at.issuer


def _fits(issuer: Certificate, below: Certificate) -> bool:
    return below.authority_key_id in ("", issuer.subject_key_id)

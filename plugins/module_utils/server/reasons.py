# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server needs a new certificate: a pure decision on what was found."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.server.found import CERTIFICATE, KEY, Found
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import reissue
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


def needed(target: Target, found: Found, chain: Sequence[Certificate], now: int) -> list[str]:
    """Return why a new certificate is needed; an empty list means that the one in use stays.

    ``chain`` is the one in use, leaf first; ``now`` is in Unix seconds. Each reason begins with a stable word.
    """
    leaf = chain[0] if chain else None
    found_reasons = reissue.reasons(leaf, target.wish, now)
    if leaf is None:
        return found_reasons
    if KEY not in found.generation:
        return [*found_reasons, "key_missing"]
    return found_reasons or _unusable(target, found, chain)


def refuse_another_root(target: Target, chain: Sequence[Certificate], now: int) -> None:
    """Raise TlsError when the chain in use is from authorities that are replaced, unless a renewal is asked for."""
    if chain and not target.renew:
        place = reissue.Place(f"{target.directory}/current/{CERTIFICATE}", "postgres_server_renew")
        reissue.refuse_another_root(chain, place, target.offer, now)


def _unusable(target: Target, found: Found, chain: Sequence[Certificate]) -> list[str]:
    """Return why a certificate that is as wished does not do all the same."""
    if reissue.issuer_of(chain[0], target.issuing) not in chain:
        return ["chain_incomplete"]
    return [f"unusable: {found.unfit}"] if found.unfit else []

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What identities trust at servers outside the inventory, and whether those servers fit that now.

Their roots are in the directory of the identity, never among those for the servers of the inventory.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client.home import TRUST, TRUSTSTORE, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres.wire import Endpoint, Handshake, observe
from ansible_collections.pgops.tls.plugins.module_utils.verification import endpoint as endpoints
from ansible_collections.pgops.tls.plugins.module_utils.verification import trust
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names, pkcs12
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain

_WAIT = 3.0  # seconds for an endpoint's answer
_NAMED = 5  # roots in a change


def files(identities: Sequence[Identity], target: Target) -> dict[str, bytes]:
    """Return what the identities trust, by paths in a generation."""
    coming: dict[str, bytes] = {}
    for one in identities:
        roots = target.trust.get(one.id, ())
        if roots:
            coming[f"{one.name}/{TRUST}"] = "".join(root.pem for root in roots).encode("ascii")
            coming.update({f"{one.name}/{TRUSTSTORE}": pkcs12.truststore(roots)} if one.has_truststore else {})
    return coming


def in_words(identities: Sequence[Identity], found: HomeFiles, coming: Mapping[str, bytes]) -> list[str]:
    """Return how these files change."""
    changes = []
    for one in identities:
        path, store = f"{one.name}/{TRUST}", f"{one.name}/{TRUSTSTORE}"
        before, after = (read_chain(content.get(path), TRUST) for content in (found.contents, coming))
        if found.contents.get(path) != coming.get(path):
            changes.append(f"{one.id}: {TRUST}: {_difference(before, after)}")
        if found.contents.get(store) != coming.get(store):
            changes.append(f"{one.id}: {TRUSTSTORE}: {'changed' if store in coming else 'removed'}")
    return changes


def _difference(before: Sequence[Certificate], after: Sequence[Certificate]) -> str:
    parts = [
        f"{word} {_listed([one for one in some if one not in others])}"
        for word, some, others in (("without", before, after), ("with", after, before))
        if any(one not in others for one in some)
    ]
    return f"{len(after)} roots, {' and '.join(parts) or 'in another order'}" if after else "removed"


def _listed(found: Sequence[Certificate]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(repr(one.common_name or trust.named(one)) for one in found[:_NAMED]) + more


def look(identities: Sequence[Identity], target: Target, found: HomeFiles, now: int) -> list[dict[str, Any]]:
    """Return a row for each endpoint outside the inventory. ``now`` is in Unix seconds.

    Raises TlsError if an endpoint that fits the roots in use does not fit those that would come: nothing changed yet.
    """
    return [row for one in identities for row in _rows(one, target.trust.get(one.id, ()), found, now)]


def _rows(identity: Identity, roots: Sequence[Certificate], found: HomeFiles, now: int) -> Iterator[dict[str, Any]]:
    in_use = read_chain(found.contents.get(f"{identity.name}/{TRUST}"), TRUST)
    for one in identity.endpoints if roots else ():
        place = Endpoint(one.host, one.port, _WAIT)
        row: dict[str, Any] = {"id": identity.id, "host": one.host, "port": one.port, "problem": ""}
        try:
            shown = observe(place)
            row.update(_against(place, shown, roots, now))
            if in_use and "root_missing" in row["findings"] and not _against(place, shown, in_use, now)["verify_ca"]:
                _refuse_loss(identity, place, row["root"])
        except TlsError as error:
            if error.code == "trust_without_root":
                raise
            row.update(problem=error.message, findings=[])
        yield row


def _against(place: Endpoint, shown: Handshake, roots: Sequence[Certificate], now: int) -> dict[str, Any]:
    return endpoints.against(place, shown, roots, [names.parse(place.host, "endpoints")], now)


def _refuse_loss(identity: Identity, place: Endpoint, root: str) -> None:
    raise TlsError(
        f"{option('trust')}: {identity.id}: {place} shows a chain to the root {root}. The roots in use have it, and "
        "the new ones do not: connections with sslmode=verify-full would fail. Nothing was changed.",
        remedy="Keep the bundle with that root until the provider has changed it.",
        code="trust_without_root",
    )


def warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with endpoints, in words."""
    return [text for text in map(_warning, rows) if text]


def _warning(row: Mapping[str, Any]) -> str:
    who = f"{row['id']} at {row['host']}:{row['port']}"
    if row["problem"]:
        return f"{row['id']}: its endpoint could not be checked. {row['problem']}"
    if "root_missing" in row["findings"]:
        return (
            f"{who}: the server shows a chain to the root {row['root']}, which its {TRUST} does not have. Connections "
            f"with sslmode=verify-full fail. Add the provider's current bundle to {option('trust')}."
        )
    failing = [code for code in row["findings"] if trust.FINDINGS[code]]
    reason = row["verify_ca"] or next(filter(None, row["verify_full"].values()), "")
    return f"{who}: connections with sslmode=verify-full fail: {reason}." if failing else ""

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of each kit, and what is to be done about it."""

from __future__ import annotations

import hashlib
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger, requests
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import authorities as read_authorities
from ansible_collections.pgops.tls.plugins.module_utils.kit import archive, contents, keyfiles, plan
from ansible_collections.pgops.tls.plugins.module_utils.kit.declared import Kit
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import (
    Certificate,
    read_option,
    requested_key,
)

SERVER = "server"
Authorities = Mapping[str, Mapping[str, Any]]


class Basis(NamedTuple):
    """What all kits are judged by. ``now`` is in Unix seconds."""

    options: plan.Options
    authorities: Mapping[str, plan.Authority]
    trust: contents.Trust
    now: int

    def spec(self, kit: Kit, leaf: Certificate | None = None) -> Spec:
        """Return what the certificate of a kit must be."""
        return plan.spec(kit, self.authorities[kit.authority], self.options, leaf)

    def given(self, kit: Kit, leaf: Certificate, issued: int) -> contents.Given:
        """Return what a kit has with this certificate."""
        return contents.Given(leaf, issued, due.due_at(leaf, self.spec(kit, leaf)))


class Outlook(NamedTuple):
    """A kit, its archive, what that has, and why it must be made anew (empty: it need not).

    ``rewrites``: only files that are no secret differ, such as its services. ``refusal``: why it stays as it is, '' if
    it may change.
    """

    kit: Kit
    found: archive.Found | None
    given: contents.Given | None
    reasons: list[str]
    rewrites: bool = False
    refusal: str = ""

    def rewritten(self, trust: contents.Trust) -> dict[str, bytes]:
        """Return the files of the kit with the certificate and the key that it has."""
        if self.found is None or self.given is None:
            raise ValueError(self.kit.name)
        names = (contents.CERTIFICATE, *contents.SECRET)
        kept = {name: self.found.files[name] for name in names if name in self.found.files}
        return {**contents.public(self.kit, self.given, trust), **kept}

    def differs(self, trust: contents.Trust) -> bool:
        """Return whether its files are others. Lists are renewed again and again, so they alone do not count."""
        present = dict(self.found.files) if self.found else {}
        expected = self.rewritten(trust)
        return {**present, contents.LISTS: b""} != {**expected, contents.LISTS: b""}


def basis(kits: Sequence[Kit], authorities: Authorities, options: plan.Options, now: int) -> Basis:
    """Return what kits are judged by. ``authorities`` are as module certificate_authority returns them.

    Raises TlsError.
    """
    users = {SERVER: "", **{kit.authority: kit.name for kit in kits}}
    for name, user in users.items():
        if name not in authorities:
            raise TlsError(
                f"authorities: expected authority {shown(name)}{f' of kit {user}' if user else ''}, found "
                f"{', '.join(authorities) or 'none'}.",
                remedy="Correct the name, or run site.yml first, which makes the authorities.",
                code="authority_unknown",
            )
    issuers = {
        name: plan.Authority(
            read_authorities(str(authorities[name]["issuing"]), f"authorities.{name}.issuing"),
            [str(one) for one in authorities[name].get("revoked") or ()],
        )
        for name in {kit.authority for kit in kits}
    }
    roots = read_option(str(authorities[SERVER]["roots"]), f"authorities.{SERVER}.roots")
    trust = contents.Trust("".join(one.pem for one in roots), str(authorities[SERVER].get("crls") or ""))
    return Basis(options, issuers, trust, now)


def look(kits: Sequence[Kit], place: str, authorities: Authorities, by: Basis) -> list[Outlook]:
    """Return what is to be done about each kit. ``place`` is the directory of the authorities.

    Raises TlsError for a weak or unproven request, for a key in two of them, and for an archive that is somebody
    else's.
    """
    keys = {kit: _requested(kit) for kit in kits}
    plan.refuse_shared_keys(keys)
    found = {kit: archive.look(kit) for kit in kits}
    prints = {kit: hashlib.sha256(key).hexdigest() for kit, key in keys.items() if key}
    needles = [plan.NEEDLE, *(f'"key_sha256": "{one}"'.encode() for one in prints.values())]
    lines = list(ledger.matching(place, needles)) if kits else []
    revoked = {name: [str(one) for one in known.get("revoked") or ()] for name, known in authorities.items()}
    newest = plan.newest_serials(lines)
    outlooks = [_outlook(kit, plan.Present(found[kit], keys[kit], newest.get(kit.id, "")), by) for kit in kits]
    return [_refused(one, prints.get(one.kit, ""), lines, revoked) for one in outlooks]


def _refused(
    one: Outlook, key_sha256: str, lines: Sequence[Mapping[str, Any]], revoked: Mapping[str, Sequence[str]]
) -> Outlook:
    """Return an outlook with why nothing may be done about it, if the key in its request is used or revoked."""
    try:
        plan.refuse_used_key(one.kit, key_sha256, lines, revoked)
    except TlsError as error:
        return one._replace(rewrites=False, refusal=error.message)
    return one


def _requested(kit: Kit) -> bytes:
    """Return the public key (DER) in the request that somebody brings, b'' for none. Raises TlsError."""
    if not kit.csr:
        return b""
    requests.leaf_key(kit.csr, f"{option('kits')}[{kit.name}].csr")
    return requested_key(kit.csr).public_key


def _outlook(kit: Kit, present: plan.Present, by: Basis) -> Outlook:
    found = present.found
    leaf = found.chain[0] if found and found.chain else None
    why = plan.reasons(kit, present, by.spec(kit, leaf), by.trust, by.now)
    if found is None or leaf is None:
        return Outlook(kit, found, None, why)
    if kit.has_key and not why and not keyfiles.opens(found.files, kit.password, leaf.public_key):
        why = ["password_changed"]
    one = Outlook(kit, found, by.given(kit, leaf, clock.seconds(found.record["issued"])), why)
    return one._replace(rewrites=not why and one.differs(by.trust))

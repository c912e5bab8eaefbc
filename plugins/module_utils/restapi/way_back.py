# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a member with the files from before, and others that have not gone back, would make of each other.

Patroni takes a member that it refuses, or that refuses it, for one that is down.
"""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi import members, rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.restapi.members import Member, Trial
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_chain
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import ClientFiles


def refuse_split(found: Found, after: Settings, shown: bytes, others: Sequence[Member], roots: str) -> list[Trial]:
    """Return what the other members say to this one with the settings ``after``.

    ``shown`` is what it then has in restapi.certfile (b'': no TLS), ``roots`` (PEM) are those declared. Raises TlsError
    for members that would refuse it, or that it would refuse, unless that is so already.
    """
    in_use = members.files_of(found.settings)
    tried = _tried(others, members.files_of(after))
    failed = [one for one in tried if one.verdict == members.REFUSED]
    before = rehearsal.tried_before([one.member for one in failed], in_use)
    worked = {one.member for one in before if one.verdict == members.ACCEPTED}
    faults = [f"{one.member.name} ({one.member.at}): {one.words}" for one in failed if one.member in worked]
    chain = read_chain(shown, after.restapi.get("certfile", ""))
    if chain and not chains.leads_to(chain, read_chain(found.own_trust, "cacert")):
        # Members are configured alike: those with certificates of this collection trust what this one does
        faults += [
            f"{one.name} ({one.at}): it trusts no authority of the certificate in {after.restapi['certfile']}"
            for one in _of_collection(others, in_use, roots)
        ]
    if faults:
        raise TlsError(
            f"{found.config}: with the files from before, this member and others of its cluster would refuse each "
            f"other: {'; '.join(faults)}. Nothing was changed.",
            remedy="On all members, set ctl.cacert to a file with the roots of both authorities, and if "
            "restapi.verify_client asks for certificates, set it to none. Reload Patroni, then rerun.",
            code="patroni_member_refused",
        )
    return tried


def _tried(others: Sequence[Member], files: ClientFiles) -> list[Trial]:
    """Ask as Patroni does: who has no client certificate verifies nobody."""
    verifies = bool(files.certificate)
    try:
        return members.trials(others, files, verifies=verifies)
    except TlsError:  # a key with a password, which only Patroni reads
        return members.trials(others, files._replace(certificate="", key=""), verifies=verifies)


def _of_collection(others: Sequence[Member], files: ClientFiles, roots: str) -> list[Member]:
    """Return the members that do not show a certificate of another authority."""
    try:
        left = rehearsal.left_behind(others, files, roots)
    except TlsError:  # what is in use cannot be loaded, so nobody knows
        left = []
    of_others = {one.member for one in left if one.verdict == members.REFUSED}
    return [one for one in members.secure(others) if one not in of_others]

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a new generation: handshakes in memory, and requests to other members; nothing is touched."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.restapi import members
from ansible_collections.pgops.tls.plugins.module_utils.restapi.members import Member, Trial
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import ClientFiles, memory_file


def with_members(found: Sequence[Member], files: ClientFiles, before: ClientFiles) -> list[Trial]:
    """Ask other members with the files of the client; ``before`` are those in use.

    Raises TlsError for members that refuse this one, or that it refuses, unless that is so already.
    """
    tried = members.trials(found, files)
    failed = [one.member for one in tried if one.verdict == members.REFUSED]
    members.refuse(tried, {one.member: one.verdict for one in tried_before(failed, before)})
    return tried


def left_behind(found: Sequence[Member], files: ClientFiles, roots: str) -> list[Trial]:
    """Return the trials that fail once nothing but ``roots`` (PEM) is trusted: these members have not moved yet.

    Raises TlsError for files that cannot be loaded; OSError.
    """
    with memory_file(roots.encode()) as path:
        return [one for one in members.trials(found, files._replace(roots=path)) if one.verdict != members.ACCEPTED]


def tried_before(failed: Sequence[Member], files: ClientFiles) -> list[Trial]:
    """Ask members with the files in use."""
    try:
        return members.trials(failed, files)
    except TlsError:  # what is in use cannot even be loaded
        return [Trial(one, members.REFUSED) for one in failed]

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to PostgreSQL with files that nothing uses yet, and with the same files once PgBouncer uses them."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import backend
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.backend import Trial, Way
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import ClientFiles


def of_ways(
    to: Sequence[Way], files: ClientFiles, before: ClientFiles | None, account: Account
) -> tuple[Sequence[Trial], list[str]]:
    """Try ways with files that nothing uses yet; return that, and what is not proven, in words.

    ``before`` are the files in use, None if there are none. Raises TlsError for a way that would break.
    """
    found = backend.trials(to, files, account)
    failed = [one.way for one in found if one.verdict == backend.REFUSED]
    again = backend.trials(failed, before, account) if before is not None else []
    verdicts = {one.way: one.verdict for one in again}
    backend.refuse(found, verdicts)
    return found, backend.warnings(found, verdicts)


def prove(tried: Sequence[Trial], files: ClientFiles, account: Account, serial: int) -> None:
    """Try each way that worked once more, with the files that PgBouncer uses now. Raises TlsError.

    ``serial`` is the number of the client certificate that PostgreSQL must see.
    """
    worked = [one.way for one in tried if one.verdict in (backend.ACCEPTED, backend.ROLE_REFUSED)]
    again = backend.trials(worked, files, account)
    backend.refuse(again, {})
    backend.refuse_other_serial(again, serial)

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server is consistent, if nobody knows what an interrupted run changed."""

from __future__ import annotations

from typing import Iterator

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, rules
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CERTIFICATE, Found, leaf_of


def half(found: Found, state: ServerState, included: str) -> Iterator[str]:
    """Return what is inconsistent, in words.

    A consistent server shows the certificate on disk, and would load all of its files.
    """
    yield from (f"{one['file']} line {one['line']}: {one['error']}" for one in state.faults)
    yield from map(str, rules.faults(state.bad_lines, state.major))
    for name, text in (("pg_hba.conf", found.hba), ("pg_ident.conf", found.ident)):
        try:
            configuration.with_block(text, "", name)
        except TlsError as error:
            yield error.message
    is_included = any(row.file == included for row in state.on_disk)
    if not found.generation and not is_included:
        return  # nothing of ours is in use
    leaf = leaf_of(found.generation.get(CERTIFICATE))
    if leaf is None or found.served != leaf.sha256:
        yield "the server shows another certificate than the one on disk"
    else:
        yield from found.drift
    if not is_included:
        yield f"its configuration does not include {included}"
    if found.unfit:
        yield found.unfit

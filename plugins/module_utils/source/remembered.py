# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source said of itself in the last run that could ask it: hosts that need nothing signed go on with that.

It is a file beside the ledger. It counts only as long as the inventory declares the same source.
"""

from __future__ import annotations

import json
import os
from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source import registry
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import CREDENTIALS, Declared
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, revocations

# What passes without a change of the inventory
_AWAY = frozenset(
    (
        "source_unreachable",
        "source_sealed",
        "source_redirects",  # a standby of OpenBao redirects to a leader that died, until there is another
        "source_answer_unreadable",
        "source_command_unusable",
        "source_library_missing",
    )
)


def trust(one: Declared, directory: str, now: int, *, are_lists_used: bool) -> Trust:
    """Return what to trust of a source: what it says, else what it said before. ``now`` is in Unix seconds.

    Its lists of revoked certificates stay in use once they are. Raises TlsError for a source that cannot be asked and
    never was, and for what is wrong with it otherwise.
    """
    before = _read(one, directory)
    are_used = are_lists_used or bool(before and before.crls)
    try:
        return registry.source(one, directory, are_lists_used=are_used).trust(now)
    except TlsError as error:
        if before is None or error.code not in _AWAY:
            raise
        is_ending = bool(revocations.ending(before.crls, "crls", now))
        taken_away = [_without_lists(one)] if is_ending else []
        crls = "" if is_ending else before.crls  # an ended list would refuse everybody
        return before._replace(crls=crls, warnings=[_warning(error), *taken_away])


def write(found: Mapping[str, Trust], declared: Mapping[str, Declared], directory: str) -> None:
    """Remember what sources have said in this run. The caller holds the lock. Raises OSError."""
    for name, one in found.items():
        path, text = _path(directory, name), _text(one, declared[name])
        if not one.is_remembered and text != files.read(path):
            files.write_atomically(path, text, 0o644)


def _path(directory: str, name: str) -> str:
    return os.path.join(directory, f"source-{name}.json")


def _text(found: Trust, declared: Declared) -> bytes:
    content = {
        "declared": _without_credentials(declared),
        "roots": [one.pem for one in found.roots],
        "issuing": [one.pem for one in found.issuing],
        "crls": found.crls,
        "revoked": list(found.revoked),
    }
    return f"{json.dumps(content, indent=1, sort_keys=True)}\n".encode("ascii")


def _without_credentials(declared: Declared) -> dict[str, Any]:
    return {"type": declared.type, **{key: one for key, one in declared.options.items() if key not in CREDENTIALS}}


def _read(one: Declared, directory: str) -> Trust | None:
    """Return what is remembered of a source; None without it, for another source, and for a damaged file."""
    try:
        found = json.loads(files.read(_path(directory, one.authority)) or b"{}")
        if found.get("declared") != _without_credentials(one):
            return None
        roots, issuing = (
            [each for pem in found[key] for each in certificate.read_pem(pem, key)] for key in ("roots", "issuing")
        )
        crls, revoked = str(found["crls"]), [str(serial) for serial in found["revoked"]]
    except (TlsError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Trust(one.type, roots, issuing, crls, revoked, is_remembered=True) if roots else None


def _without_lists(one: Declared) -> str:
    return (
        f"{option('sources')}.{one.authority}: the lists of revoked certificates that it gave before end, and there "
        "are no newer ones, so this run takes them away: revoked certificates are accepted again. To shut a role out, "
        "take its right to log in (ALTER ROLE ... NOLOGIN)."
    )


def _warning(error: TlsError) -> str:
    return f"{error.message} This run trusts what that source said before. Hosts that need a certificate from it fail."

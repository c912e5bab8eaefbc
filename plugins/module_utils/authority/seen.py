# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that hosts show and the ledger does not hold, as after a restore from an older backup.

A rollover and a revocation ask the ledger alone. So what is in use goes back into it, once its signature is checked.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, ledger
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

_TOLD = 8  # certificates that a warning names


class Issuers(NamedTuple):
    """The CAs of an authority that are trusted, and the type of its source, '' for an own one."""

    certificates: Sequence[Certificate]
    source: str = ""


class Lost(NamedTuple):
    """The lines that the ledger lacks, and what there is to say about them."""

    lines: list[dict[str, Any]]
    changes: list[str]
    warnings: list[str]


def look(
    directory: str, shown: Mapping[str, Sequence[Mapping[str, Any]]], authorities: Mapping[str, Issuers], now: int
) -> Lost:
    """Return what the ledger lacks of ``shown``: by authority, {id, certificate (PEM)}. ``now`` is in Unix seconds.

    What none of the ``authorities`` has signed is left out: a host may show what it likes. Raises TlsError when the
    ledger cannot be written to, OSError.
    """
    if not any(shown.values()):
        return Lost([], [], [])
    known = {name: set(serials) for name, serials in ledger.unexpired(directory, now).items()}
    lines = [
        line
        for name, issuers in authorities.items()
        for line in _lines(name, issuers, shown.get(name) or (), now)
        if line["serial"] not in known.get(name, ())
    ]
    if lines:
        ledger.check_writable(directory)
    changes = [f"put back into the ledger: {_in_words(line)}" for line in lines]
    return Lost(lines, changes, [_warning(lines)] if lines else [])


def write(directory: str, lost: Lost) -> None:
    """Put the lines into the ledger. The caller holds the lock. Raises OSError."""
    if lost.lines:
        ledger.append(directory, lost.lines)


def _lines(name: str, known: Issuers, shown: Sequence[Mapping[str, Any]], now: int) -> Iterator[dict[str, Any]]:
    issuers = {one.subject_key_id: one for one in known.certificates}
    for one in shown:
        with contextlib.suppress(TlsError):  # text of a host that is no certificate
            leaf = certificate.read_option(str(one["certificate"]), "certificate")[0]
            issuer = issuers.get(leaf.authority_key_id)
            if issuer is not None and leaf.not_after > now and not leaf.is_ca and issuing.is_signed_by(leaf, issuer):
                host = str(one["id"]).partition("/")[0]
                reason = f"not_in_ledger: shown by {host} at {clock.instant(now)}"
                yield ledger.entry(name, str(one["id"]), leaf, [reason], leaf.not_before, source=known.source)


def _in_words(line: Mapping[str, Any]) -> str:
    return f"{line['id']} ({line['authority']} certificate {line['serial']}, until {line['not_after']})"


def _warning(lines: Sequence[Mapping[str, Any]]) -> str:
    listed = ", ".join(_in_words(line) for line in lines[:_TOLD])
    more = f" and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return (
        f"{ledger.FILE} did not hold certificates that are in use: {listed}{more}. They are added again. Was the "
        "directory of the authorities restored from an older backup? Then certificates of hosts outside this inventory "
        "may be missing, too, and no run sees those. Sign new ones for them before you replace a root."
    )

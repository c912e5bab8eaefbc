# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are revoked: what the inventory says, checked against the ledger, and the record of it.

The record is ``DIRECTORY/revoked.jsonl``, one JSON object for each certificate. What is in it stays revoked, whatever
the inventory says later, and stays in the lists: no list revokes less than the one before, which hosts rely on. That it
exists means that lists of revoked certificates are in use.
"""

from __future__ import annotations

import json
import os
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger, profiles
from ansible_collections.pgops.tls.plugins.module_utils.authority.revocation_entries import UNSPECIFIED, Entry
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

UNKNOWN = ""  # in place of what a certificate is for, and of its issuer, where the ledger does not know it
_TOLD = 8  # serial numbers that a message lists
_Key = tuple[str, str, str]
_KEPT = ("serial", "authority", "id", "subject", "not_after", "issuer")  # of a line of the ledger


class Revoked(NamedTuple):
    """What is revoked at present. ``lines`` are of certificates that have not ended, ``ended`` of others.

    ``is_in_use``: whether there must be lists of revoked certificates; ``is_new``: whether the record must be
    written before anything else.
    """

    lines: list[dict[str, Any]]
    is_in_use: bool
    is_new: bool
    changes: list[str]
    warnings: list[str]
    ended: Sequence[dict[str, Any]] = ()

    @property
    def all(self) -> list[dict[str, Any]]:
        """Return what lists have in them: also certificates that have ended."""
        return [*self.ended, *self.lines]

    def serials(self, authority: str) -> list[str]:
        """Return the serial numbers (hexadecimal) of an authority's revoked certificates."""
        return [str(line["serial"]) for line in self.lines if line["authority"] == authority]


def look(directory: str, entries: Sequence[Entry], option: str, now: int) -> Revoked:
    """Return what is revoked ``now`` (Unix seconds): what the record holds, and what the entries add to it.

    Without entries and without a record nothing is read. Raises TlsError for an entry that no certificate was ever
    issued for, OSError.
    """
    record = read(directory)
    ended = [line for line in record or () if _has_ended(line, now)]
    known = [line for line in record or () if line not in ended]
    added, warnings = _added(directory, entries, _Recorded(known, ended), option, now) if entries else ([], [])
    is_in_use = record is not None or bool(added)
    return Revoked([*known, *added], is_in_use, bool(added), [_in_words(line) for line in added], warnings, ended)


class _Recorded(NamedTuple):
    """The lines of the record: of certificates that have not ended, and of others."""

    known: Sequence[dict[str, Any]]
    ended: Sequence[dict[str, Any]]


def _added(
    directory: str, entries: Sequence[Entry], recorded: _Recorded, option: str, now: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the lines that the entries add to the record, and warnings of entries that have become useless."""
    keys = {key for line in recorded.known for key in _keys(line)}
    open_ones = [one for one in entries if one.kind != "serial" or one.key not in keys]
    issued = _issued(directory, open_ones, recorded.ended)
    serials = {line["serial"] for line in [*recorded.known, *recorded.ended]}
    warnings, added = [], []
    for entry in open_ones:
        lines = issued[entry.key] or _unknown(entry, now)
        if not lines and entry.key not in keys:
            raise TlsError(_in_no_ledger(entry, option), code="revocation_unknown")
        fresh = [one for one in lines if one["serial"] not in serials and (entry.authority or not _has_ended(one, now))]
        if not fresh and entry.key not in keys and all(_has_ended(line, now) for line in lines):
            warnings.append(_of_ended(entry, lines, option))
        serials |= {line["serial"] for line in fresh}
        added += [_record(line, entry, now) for line in fresh]
    return added, warnings


def _issued(
    directory: str, entries: Sequence[Entry], ended: Sequence[Mapping[str, Any]]
) -> dict[_Key, list[Mapping[str, Any]]]:
    """Return what was issued that each entry is about, by the keys of the entries: from the ledger, else the record."""
    lines = ledger.matching(directory, [needle for one in entries for needle in one.needles()])
    issued = _by_key(lines, entries)
    _add_of_same_key(directory, issued)
    for line in ended:
        for key in issued.keys() & {*_keys(line)}:
            issued[key] = issued[key] or [line]
    return issued


def _of_ended(entry: Entry, lines: Sequence[Mapping[str, Any]], option: str) -> str:
    end = max(str(line["not_after"]) for line in lines)
    return f"{option}: {entry.in_words()}: its last certificate expired on {end}. Remove this entry."


def _unknown(entry: Entry, now: int) -> list[dict[str, Any]]:
    """Return a line for a serial number that the ledger does not know, if the entry says whose it is.

    It is unknown when such a certificate ends, and which CA of its authority has issued it.
    """
    if not entry.authority:
        return []
    end = clock.instant(now + profiles.ISSUING_LIFE)
    texts = {"serial": entry.value, "authority": entry.authority, "id": UNKNOWN, "subject": UNKNOWN}
    return [{**texts, "not_after": end, "issuer": UNKNOWN}]


def _in_no_ledger(entry: Entry, option: str) -> str:
    lost = (
        " If the ledger was restored from an older backup, say which authority signed it: "
        f'{{serial: "{entry.value}", authority: client}} (or server).'
        if entry.kind == "serial"
        else ""
    )
    return (
        f"{option}: {entry.in_words()}: no certificate of it is in {ledger.FILE}, so there is nothing to revoke. Is it "
        f"misspelled?{lost} Nothing was changed."
    )


def read(directory: str) -> list[dict[str, Any]] | None:
    """Return the lines of the record, None when nothing was ever revoked. Raises TlsError for damage, OSError."""
    path = os.path.join(directory, ledger.REVOKED)
    content = files.read(path)
    if content is None:
        return None
    try:
        lines = [json.loads(line) for line in content.splitlines()]
        for line in lines:
            int(line["serial"], 16)
            (
                clock.seconds(line["not_after"]),
                clock.seconds(line["revoked"]),
                line["authority"],
                line["id"],
                line["issuer"],
            )
    except (ValueError, TypeError, KeyError) as error:
        raise TlsError(
            f"{path}: expected one JSON object a line, for each revoked certificate, found something else ({error!r}).",
            remedy="Restore it from its backup: without it, revoked certificates would be accepted again.",
            code="revocation_record_damaged",
        ) from None
    return lines


def refuse_lost(directory: str, listed: Mapping[tuple[str, str], Iterable[int]], revoked: Revoked | None) -> None:
    """Raise TlsError where lists revoke what no entry does, as there is no record.

    ``listed`` has serial numbers by authority and path. The record is written before any list, so it got lost, and
    without it the lists would be dropped.
    """
    known = {line["serial"] for line in revoked.all} if revoked else set()
    lost = {
        f"{serial:x}": place for place, serials in listed.items() for serial in serials if f"{serial:x}" not in known
    }
    if lost:
        entries = [f'{{serial: "{serial}", authority: {lost[serial][0]}}}' for serial in sorted(lost)]
        more = f" and {len(lost) - _TOLD} more" if len(lost) > _TOLD else ""
        raise TlsError(
            f"{os.path.join(directory, ledger.REVOKED)} is missing, although {next(iter(lost.values()))[1]} revokes "
            f"{', '.join(sorted(lost)[:_TOLD])}{more}, so revoked certificates would be accepted again.",
            remedy=(
                f"Restore the file from its backup, or revoke them once more: {option('revoked')}: "
                f"[{', '.join(entries[:_TOLD])}]. Nothing was changed."
            ),
            code="revocation_record_missing",
        )


def write(directory: str, revoked: Revoked) -> None:
    """Replace the record by one rename if it must change. The caller holds the lock. Raises OSError."""
    if not revoked.is_new:
        return
    content = b"".join(json.dumps(line).encode("ascii") + b"\n" for line in revoked.all)
    files.write_atomically(os.path.join(directory, ledger.REVOKED), content, 0o644)


def revoked_at(line: Mapping[str, Any]) -> int:
    """Return when a certificate of the record was revoked, in Unix seconds."""
    return clock.seconds(str(line["revoked"]))


def _record(line: Mapping[str, Any], entry: Entry, now: int) -> dict[str, Any]:
    return {**{key: line[key] for key in _KEPT}, "revoked": clock.instant(now), "reason": entry.reason}


def _in_words(line: Mapping[str, Any]) -> str:
    why = "" if line["reason"] == UNSPECIFIED else f" ({line['reason']})"
    return (
        f"revoke the {line['authority']} certificate of {line['id'] or 'an unknown holder'}, serial {line['serial']}, "
        f"valid until {line['not_after']}{why}"
    )


def _keys(line: Mapping[str, Any]) -> list[_Key]:
    """Return by what an entry may mean a line of the ledger, or of the record: kind, value, and a role's authority."""
    found = [("serial", line["serial"], ""), ("host", line["id"].partition("/")[0], "")]
    if line["authority"] == profiles.SERVER:
        return found
    role = line["subject"]
    return [*found, ("role", role, ""), ("role", role, line["authority"])]


def _by_key(lines: Iterable[Mapping[str, Any]], entries: Sequence[Entry]) -> dict[_Key, list[Mapping[str, Any]]]:
    """Return the lines that each entry is about, by the keys of the entries."""
    found: dict[_Key, list[Mapping[str, Any]]] = {entry.key: [] for entry in entries}
    for line in lines:
        for key in _keys(line):
            if key in found:
                found[key].append(line)
    return found


def _add_of_same_key(directory: str, issued: dict[_Key, list[Mapping[str, Any]]]) -> None:
    """Add what else was issued for the key of a certificate that is named by its serial number.

    The holder of that key can use all of them, and clients keep their key from one certificate to the next.
    """
    named = [(entry, line) for entry, lines in issued.items() if entry[0] == "serial" for line in lines]
    needles = {needle for _entry, line in named for needle in _needles_of_key(line)}
    for other in ledger.matching(directory, sorted(needles)):
        for entry, line in named:
            if _may_have_one_key(line, other) and other["serial"] not in {one["serial"] for one in issued[entry]}:
                issued[entry].append(other)


def _needles_of_key(line: Mapping[str, Any]) -> list[bytes]:
    """Return texts of which each line of the ledger holds one that may be of the same key."""
    texts = {name: line[name] for name in ("key_sha256", "id") if name in line}
    return [f'"{name}": {json.dumps(value)}'.encode() for name, value in texts.items()]


def _may_have_one_key(line: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two certificates may be for one key.

    Lines of earlier versions do not say which key it was, and each had one of its own. The last of them may be the one
    that its holder kept.
    """
    known = [one["key_sha256"] for one in (line, other) if "key_sha256" in one]
    if len(known) == 1:
        return (line["authority"], line["id"]) == (other["authority"], other["id"])
    return len(known) == 2 and known[0] == known[1]


def _has_ended(line: Mapping[str, Any], now: int) -> bool:
    return clock.seconds(str(line["not_after"])) <= now

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates must be seen in use before trust moves on: the newest one of each identity.

The ledger knows them all, whether the inventory does or not.
"""

from __future__ import annotations

from typing import Any, Collection, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

_TOLD = 8  # certificates that a message lists; all are in the result


class Live(NamedTuple):
    """The newest certificate of an identity, which has not ended. ``issuer`` is the key identifier of its issuer.

    ``issued`` is the last moment at which its holder was certainly there.
    """

    authority: str
    id: str
    serial: str
    not_after: str
    issuer: str
    issued: str

    def as_result(self) -> dict[str, str]:
        """Return what a module's result holds of it."""
        return {
            "authority": self.authority,
            "id": self.id,
            "serial": self.serial,
            "issued": self.issued,
            "not_after": self.not_after,
        }

    def in_words(self) -> str:
        """Return it for a message."""
        since = "given to its holder at" if self.is_kit else "of"
        return f"{self.id} ({self.authority} certificate {self.serial} {since} {self.issued}, until {self.not_after})"

    @property
    def is_kit(self) -> bool:
        """Return whether it is in a kit, which no run sees in use."""
        return self.id.startswith(ledger.KIT)


def newest(directory: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the newest certificate of each identity, by authority and id, as the ledger has it.

    An identity that has moved to another client authority has one there, and its last one from before does not count.
    Raises TlsError for a damaged ledger, OSError.
    """
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for line in ledger.matching(directory, [b"{"]):
        key = profiles.purpose(line["authority"]), line["id"]
        # By its own date, and not by its place: a line that was lost is put back at the end.
        if str(line.get("not_before", "")) >= str(found.get(key, {}).get("not_before", "")):
            found[key] = line
    return {(line["authority"], line["id"]): line for line in found.values()}


def live(found: Iterable[Mapping[str, Any]], revoked: Mapping[str, Collection[str]], now: int) -> list[Live]:
    """Return the newest certificates that have not ended and are not revoked. ``now`` is in Unix seconds.

    ``revoked`` has the serial numbers by authority.
    """
    return [
        Live(*(str(line.get(field, "")) for field in Live._fields))
        for line in found
        if clock.seconds(line["not_after"]) > now and line["serial"] not in revoked.get(line["authority"], ())
    ]


def still_held(found: Iterable[Live], in_use: Mapping[str, Sequence[Mapping[str, str]]]) -> list[Live]:
    """Return the certificates without those of identities that this run has seen without one: with no serial number.

    Such an identity has none of any authority.
    """
    without = {one["id"] for all_ in in_use.values() for one in all_ if not one["serial"]}
    return [one for one in found if one.id not in without]


def unproven(
    found: Iterable[Live],
    in_use: Mapping[str, Sequence[Mapping[str, str]]],
    outside: Collection[tuple[str, str]] = (),
) -> list[Live]:
    """Return the certificates that were not observed in this run: ``in_use`` by authority, {id, serial}.

    Such a certificate may still depend on what a phase removes. ``outside`` are those, by authority and id, that a
    person answers for.
    """
    proven = {(name, one["id"], one["serial"].lower().lstrip("0")) for name, all_ in in_use.items() for one in all_}
    return [
        one
        for one in found
        if (one.authority, one.id, one.serial) not in proven and (one.authority, one.id) not in outside
    ]


def behind(missing: Sequence[Live]) -> str:
    """Return what is said when a new root is staged although these certificates were not seen."""
    return (
        f"phase: stage continues without certificates that this run has not seen: {listed(missing)}. It only adds "
        "trust, so no host is shut out. Phase switch waits until a run has seen them."
    )


def refuse_unproven(
    found: Iterable[Live],
    in_use: Mapping[str, Sequence[Mapping[str, str]]],
    phase: str,
    outside: Collection[tuple[str, str]] = (),
) -> None:
    """Raise TlsError unless each certificate was observed in this run, see ``unproven``."""
    missing = unproven(found, in_use, outside)
    if missing:
        seen = {(name, one["id"]) for name, all_ in in_use.items() for one in all_}
        others = sorted(one.id for one in missing if (one.authority, one.id) in seen and not one.is_kit)
        renew = (
            f" Seen with another certificate, as after an interrupted renewal: {', '.join(others)}. Renew there, with "
            f"{option('server.renew')}, {option('client.renew')} or {option('pgbouncer.renew')}: true."
        )
        raise TlsError(
            f"phase: {phase} is not safe yet: {in_words(missing)} in use according to the ledger, but not seen in this "
            "run with that certificate. Nothing was changed.",
            remedy=(
                "Add the host to the inventory and rerun. If it must stay outside, name it in "
                f"{option('outside_holders')}. If the certificate is no longer in use, revoke it, or wait until it "
                f"expires.{renew if others else ''}{_of_kits(missing)}"
            ),
            code="certificates_unproven",
            unproven=[one.as_result() for one in missing],
        )


def _of_kits(found: Iterable[Live]) -> str:
    """Return what to do about those of them that are in kits."""
    if not any(one.is_kit for one in found):
        return ""
    return (
        f" A kit is seen once {option('client_kit.kits')} has, in fetched, the serial number that its holder tells. "
        "Before that, run playbook client_kit and hand out what it makes."
    )


def unseen(found: Iterable[Live], in_use: Mapping[str, Sequence[Mapping[str, str]]]) -> list[Live]:
    """Return the certificates of identities that were not seen in this run with any certificate.

    A host has what this run gave it, whatever its certificate. A kit has what it was made with.
    """
    seen = {(name, one["id"]) for name, all_ in in_use.items() for one in all_}
    missing = unproven(found, in_use)
    return sorted(one for one in found if (one.authority, one.id) not in seen or (one.is_kit and one in missing))


def without_old_kits(
    in_use: Mapping[str, Sequence[Mapping[str, str]]], found: Iterable[Live], since: str
) -> dict[str, list[Mapping[str, str]]]:
    """Return what was seen without kits that were given before ``since``: they cannot have a root that is newer."""
    old = {(one.authority, one.id) for one in found if one.is_kit and one.issued < since}
    return {name: [one for one in all_ if (name, one["id"]) not in old] for name, all_ in in_use.items()}


def refuse_old(found: Iterable[Live], issuers: Collection[str], name: str) -> None:
    """Raise TlsError when the newest certificate of an identity of authority ``name`` is from an issuer that retires.

    ``issuers`` are the key identifiers of those that stay.
    """
    old = [one for one in found if one.authority == name and one.issuer not in issuers]
    if old:
        raise TlsError(
            f"phase: retire is not safe yet: {in_words(old)} from below the root to retire, and would be refused "
            "everywhere. Nothing was changed.",
            remedy=(
                "Run site.yml, which issues new certificates, and playbook client_kit, which replaces kits. For hosts "
                "outside the inventory, sign new ones with module pgops.tls.certificate and install them there."
            ),
            code="certificates_below_old_root",
            unproven=[one.as_result() for one in old],
        )


def in_words(found: Sequence[Live]) -> str:
    """Return certificates for a message, ending with the verb ``is`` or ``are``."""
    return f"{listed(found)} {'is' if len(found) == 1 else 'are'}"


def listed(found: Iterable[Live]) -> str:
    """Return certificates for a message."""
    ordered = sorted(found)
    more = f" and {len(ordered) - _TOLD} more" if len(ordered) > _TOLD else ""
    return ", ".join(one.in_words() for one in ordered[:_TOLD]) + more

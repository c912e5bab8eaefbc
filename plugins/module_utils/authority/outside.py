# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no run reaches: holders of our certificates, and copies of our roots, outside the inventory. A person answers.

A holder is named by the id of its certificate, for a limited time. Copies of a root are in no ledger. So before the old
root goes, somebody has to say that they have the new one, by its name: that answer is worth nothing for the next root.
"""

from __future__ import annotations

import datetime
import difflib
from typing import TYPE_CHECKING, Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import CLIENT_AUTH, SERVER_AUTH

if TYPE_CHECKING:  # the check of the inventory needs neither of them, nor what they import
    from ansible_collections.pgops.tls.plugins.module_utils.authority.barrier import Live
    from ansible_collections.pgops.tls.plugins.module_utils.authority.lineage import Lineage

NONE = "none"
_KEYS = ("authority", "id", "until", "by")
_DAY = 86400
_TOLD = 8  # certificates that a message names
# Where copies of the roots of an authority are usually found
_PLACES: Mapping[str, str] = {
    SERVER_AUTH: "sslrootcert and truststores of clients, server_tls_ca_file of poolers, partners, bundles",
    CLIENT_AUTH: "client_tls_ca_file of poolers, ssl_ca_file of other servers, proxies, partners, bundles",
}


class Holder(NamedTuple):
    """Who has certificates by the id ``id``, outside the inventory. It counts until the end of the day ``until``.

    ``by`` is who answers for it.
    """

    authority: str
    id: str
    until: str
    by: str

    @property
    def key(self) -> tuple[str, str]:
        """Return what it has in common with the certificates that it is about."""
        return self.authority, self.id


def coming() -> str:
    """Return what is said early, since the answer may take days to find out."""
    return (
        "Phase retire is going to ask who trusts the old roots outside this inventory, where no run sees it: poolers, "
        f"partners, exported bundles. Find out now. If there is nobody, set {option('outside_trust')}: none."
    )


def parse(items: Sequence[Mapping[str, Any]]) -> list[Holder]:
    """Return the holders. Raises TlsError for the first one that cannot be meant."""
    return [parse_one(item, number) for number, item in enumerate(items)]


def parse_one(item: Mapping[str, Any], number: int) -> Holder:
    """Return the holder that is the item of this number. Raises TlsError."""
    place = f"{option('outside_holders')}[{number}]"
    if not isinstance(item, Mapping):
        raise TlsError(
            f"{place}: found {shown(item)}, expected a dictionary with {', '.join(_KEYS)}.",
            code="outside_holder_invalid",
        )
    texts = {key: str(item.get(key) or "").strip() for key in _KEYS}
    for key, text in texts.items():
        if not text or not text.isprintable():
            raise TlsError(
                f"{place}.{key}: found {shown(item.get(key))}, expected {_EXPECTED[key]}.",
                code="outside_holder_invalid",
            )
    if not profiles.is_authority_name(texts["authority"]):
        raise TlsError(
            f"{place}.authority: found {shown(texts['authority'])}, expected {_EXPECTED['authority']}.",
            code="outside_holder_invalid",
        )
    try:
        datetime.datetime.strptime(texts["until"], "%Y-%m-%d")
    except ValueError:
        raise TlsError(
            f"{place}.until: found {shown(texts['until'])}, expected {_EXPECTED['until']}.",
            code="outside_holder_invalid",
        ) from None
    return Holder(**texts)


_EXPECTED: Mapping[str, str] = {
    "authority": "the name of the authority that signed the certificate, such as server or client",
    "id": "the id by which the certificate was signed, as ledger.jsonl has it",
    "until": "the last day on which it counts, such as 2027-02-28",
    "by": "who answers for it",
}


def counting(holders: Iterable[Holder], now: int) -> tuple[list[Holder], list[str]]:
    """Return the holders that count ``now`` (Unix seconds), and a warning for each that does not any more."""
    kept, warnings = [], []
    for number, one in enumerate(holders):
        if clock.seconds(f"{one.until}T00:00:00Z") + _DAY > now:
            kept.append(one)
        else:
            warnings.append(
                f"{option('outside_holders')}[{number}]: {one.id} ({one.authority}) counted until {one.until} and "
                f"no longer does. Ask {one.by} about it, then set a later date or remove the entry."
            )
    return kept, warnings


def refuse_unknown(holders: Iterable[Holder], known: Iterable[tuple[str, str]]) -> None:
    """Raise TlsError for a holder that is not in ``known``, by authority and id; it names the nearest."""
    known = list(known)
    for holder in holders:
        if holder.key not in known:
            near = difflib.get_close_matches(holder.id, {id_ for _name, id_ in known}, n=3, cutoff=0.6)
            named = [f"{id_} ({name})" for name, id_ in sorted(known) if id_ in near]
            meant = f"Did you mean {' or '.join(named)}? " if named else ""
            raise TlsError(
                f"{option('outside_holders')}: {holder.id} ({holder.authority}) has no certificate in ledger.jsonl.",
                remedy=f"{meant}Correct or remove the entry. Nothing was changed.",
                code="outside_holder_unknown",
            )


def refuse_unanswered(
    due: Iterable[Lineage], answer: Sequence[str], unseen: Sequence[Live], holders: Iterable[Holder]
) -> None:
    """Raise TlsError unless a person has said that nothing outside the inventory needs the root that is to go.

    ``answer`` names the new root of each authority that is due, or is ``none``. ``unseen`` are the certificates that no
    host of the inventory has shown. Their holders most likely trust our roots, so ``none`` cannot be right then.
    """
    due, given = list(due), [str(one).strip() for one in answer]
    open_ones = [one for one in due if not _names(one) & {*given}]
    if not open_ones or (given == [NONE] and not unseen):
        return
    questions = " ".join(_question(one) for one in open_ones)
    known = _known(unseen, {one.key: one for one in holders})
    trust, digits = option("outside_trust"), ",".join(min(_names(one), key=len) for one in due)
    remedy = "" if known else f" If there is nobody, rerun with {trust}: none."
    raise TlsError(
        f"phase: retire needs an answer. {_wrong(given, len(open_ones) == len(due))}{questions}{known}",
        remedy=f"Give each of them the new root, then rerun with {trust}: {digits}.{remedy} Nothing was changed.",
        code="outside_trust_unanswered",
    )


def _wrong(given: Sequence[str], is_unanswered: bool) -> str:
    """Return what is wrong with an answer that is no use; '' when there is none, or it answers for one authority."""
    trust = option("outside_trust")
    if given == [NONE]:
        return f"{trust}: none is wrong, because holders outside are known. "
    return f"{trust}: {shown(','.join(given))} names no new root. " if given and is_unanswered else ""


def _question(found: Lineage) -> str:
    new = found.current
    old = dict.fromkeys(one.root.common_name for one in found.numbered if one.root.der != new.root.der)
    return (
        f"From then on, whatever trusts {', '.join(map(repr, old))} but not {new.root.common_name!r} "
        f"({new.folder}/root.crt) refuses every {found.name} certificate. No run sees copies outside the inventory: "
        f"{_PLACES[profiles.purpose(found.name)]}."
    )


def _known(unseen: Sequence[Live], holders: Mapping[tuple[str, str], Holder]) -> str:
    """Return who is known to be outside the inventory and must be asked, too; '' if there is none."""
    if not unseen:
        return ""
    words = []
    for one in unseen[:_TOLD]:
        named = holders.get((one.authority, one.id))
        words.append(f"{one.in_words()}{f', ask {named.by}' if named else ''}")
    more = f" and {len(unseen) - _TOLD} more" if len(unseen) > _TOLD else ""
    return f" Known to be outside, by their certificates: {'; '.join(words)}{more}."


def _names(found: Lineage) -> set[str]:
    """Return what names the new root in an answer: its common name, or the last word of it."""
    name = found.current.root.common_name
    return {name, name.rpartition(" ")[2]}

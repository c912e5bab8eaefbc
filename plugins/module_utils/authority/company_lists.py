# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates of a company's CAs above ours: they come as a file, and the newest ones are kept.

Who checks lists wants one of every CA in a chain. Only the company can sign those of its own.
"""

from __future__ import annotations

import os
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Generation
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source import list_file
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.revocations import RevocationList

KEPT = "company.crl"  # in the folder of a generation
_WARNED_AT = 1 / 4  # of a list's life that is left


class Theirs(NamedTuple):
    """The lists by the DER of the CAs they are of, which files are to be written, and what there is to say."""

    of: dict[bytes, RevocationList]
    writes: dict[str, bytes]
    warnings: list[str]


def look(name: str, generations: Sequence[Generation], given: Sequence[RevocationList], now: int) -> Theirs:
    """Return the lists of the companies' CAs above some generations on disk. ``now`` is in Unix seconds.

    A list that revokes the issuing CA in use is left out: the one before is kept until another issuing CA has come.
    One that has ended since a run kept it is a warning here. It fails the hosts that check lists, and nobody else.
    Raises TlsError where a list is missing, or has ended before any run kept one; OSError.
    """
    done, place = Theirs({}, {}, []), f"{option('sources')}.{name}.crls"
    current = generations[-1]
    for one in generations:
        if one.company is not None:
            owners = [*one.above, one.root]
            kept = os.path.join(one.folder, KEPT)
            before = files.read(kept) or b""
            known = list_file.parse(before)
            lists = [*given, *known]
            usable = [each for each in lists if not _revokes(each, current)]
            if list_file.newest(usable, owners) != list_file.newest(lists, owners):
                done.warnings.append(_revoked(current, place))
            found = list_file.newest(usable, owners)
            without = [one for one in owners if one.der not in list_file.newest(known, owners)]
            _refuse_gaps(found, without, place, now)
            done.of.update(found)
            done.warnings.extend(_ending(found.values(), place, now))
            text = "".join(found[owner.der].pem for owner in owners).encode("ascii")
            if text != before:
                done.writes[kept] = text
    return done._replace(warnings=list(dict.fromkeys(done.warnings)))


def _revokes(one: RevocationList, current: Generation) -> bool:
    return any(one.issuer == ca.issuer and ca.serial in one.serials() for ca in (current.issuing, *current.above))


def _revoked(current: Generation, place: str) -> str:
    return (
        f"{place}: the company has revoked the issuing CA {current.issuing.common_name!r} or one above it. Its newest "
        "list is not deployed, because hosts would refuse every certificate. Have the request for another issuing CA "
        "signed now."
    )


def _refuse_gaps(found: Mapping[bytes, RevocationList], owners: Sequence[Certificate], place: str, now: int) -> None:
    for owner in owners:
        one = found.get(owner.der)
        if one is None or not one.this_update <= now < one.next_update:
            what = "nothing" if one is None else f"one that ended on {clock.instant(one.next_update)}"
            raise TlsError(
                f"{place}: expected a current list of revoked certificates of {owner.common_name!r}, found {what}. "
                "Certificates are revoked, and hosts that check lists want one of every CA in a chain. Nothing was "
                "changed.",
                remedy="Put the company's newest lists into that file, in PEM or DER.",
                code="revocation_list_missing",
            )


def _ending(found: Iterable[Any], place: str, now: int) -> list[str]:
    return [
        f"{place}: the list of {one.issuer_common_name!r} {'ends' if now < one.next_update else 'has ended'} on "
        f"{clock.instant(one.next_update)}. From then on hosts that check lists refuse every certificate. Put the "
        "company's newest list into that file."
        for one in found
        if one.next_update - now < (one.next_update - one.this_update) * _WARNED_AT
    ]

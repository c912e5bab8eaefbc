# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates (CRLs): one for each trusted CA, kept beside it, and replaced before it ends.

Software that checks certificates against lists needs one of every CA of a chain. So from the first revocation on, each
trusted root and each trusted issuing CA has one, even if it has revoked nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import (
    issuing,
    keys,
    profiles,
    revocation,
    revocation_entries,
    store,
)
from ansible_collections.pgops.tls.plugins.module_utils.authority.issuing import Generation
from ansible_collections.pgops.tls.plugins.module_utils.authority.revocation import Revoked
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations, files
from ansible_collections.pgops.tls.plugins.module_utils.core.durations import UNITS
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.source import list_file
from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.revocations import RevocationList

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.authority import company_lists
else:
    company_lists = lazy_import("authority.company_lists")

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography import x509

# When a list that cannot be replaced has less left, runs fail: before certificates and lists end, with time to act.
REFUSED_AT = 30 * UNITS["d"]


class Issuer(NamedTuple):
    """A CA that needs a list. ``paths`` are where one may be, newest first, and where a new one goes: the first.

    ``key`` opens its private key, which is in ``key_path``; None when it is kept elsewhere. ``life`` is in seconds.
    """

    certificate: Certificate
    paths: tuple[str, ...]
    key: Callable[[], Any]
    key_path: str
    life: int


class Lists(NamedTuple):
    """The lists by the DER of the CAs they are of, which files are to be written, and what there is to say."""

    of: dict[bytes, RevocationList]
    writes: dict[str, bytes]
    changes: list[str]
    warnings: list[str]

    def text(self, trusted: Sequence[Generation]) -> str:
        """Return the lists (PEM) of all CAs of some generations; those that were just made bring theirs along.

        Of two lists of a CA it is the newer one, and if in doubt the one that was just made, as the next run finds it.
        '' where a company's lists are not needed: no certificate below its root was ever revoked.
        """
        known = dict(self.of)
        for each in trusted:
            owners = (each.issuing,) if each.company else (each.root, each.issuing)
            for certificate, made in zip(owners, each.crls):
                (found,) = revocations.read_pem(made, "a list that was just made")
                if certificate.der not in known or found.number >= known[certificate.der].number:
                    known[certificate.der] = found
        wanted = dict.fromkeys(one.der for each in trusted for one in (each.issuing, *each.above, each.root))
        return "".join(known[der].pem for der in wanted) if all(der in known for der in wanted) else ""


class Making(NamedTuple):
    """What lists are made with: the passphrase of keys, and how many seconds certificates live.

    ``given`` are the lists of companies that have signed issuing CAs of ours, by the names of authorities.
    """

    passphrase: str | None
    lifetime: int
    given: Mapping[str, Sequence[RevocationList]] = {}


def plan(trusted: Mapping[str, Sequence[Generation]], revoked: Revoked, making: Making, now: int) -> Lists:
    """Return the lists of the trusted generations on disk, which are given by the names of their authorities.

    ``now`` is in Unix seconds. What is due is made, and nothing is written. Raises TlsError for a list that is due, or
    about to end, and cannot be made; OSError.
    """
    done = Lists({}, {}, [], [])
    for name, generations in trusted.items():
        lines = [line for line in revoked.all if line["authority"] == name]
        for issuer in _issuers(generations, making.passphrase, making.lifetime):
            done.of[issuer.certificate.der] = _kept(issuer, lines, done, now)
        if lines and any(one.company for one in generations):
            theirs = company_lists.look(name, generations, making.given.get(name, ()), now)
            done.of.update(theirs.of)
            done.writes.update(theirs.writes)
            done.warnings.extend(theirs.warnings)
    return done


def write(lists: Lists) -> None:
    """Write the files of a plan, each by one rename. The caller holds the lock. Raises OSError."""
    for path, content in lists.writes.items():
        files.write_atomically(path, content, 0o644)


def listed(trusted: Mapping[str, Sequence[Generation]]) -> dict[tuple[str, str], frozenset[int]]:
    """Return what the lists of issuing CAs on disk revoke (serial numbers), by authority and path. Raises OSError."""
    found = {}
    for name, generation in ((name, one) for name, all_ in trusted.items() for one in all_):
        path = os.path.join(generation.folder, "issuing.crl")
        text = (files.read(path) or b"").decode("ascii", "replace")
        with contextlib.suppress(TlsError, ValueError, IndexError, StopIteration):  # a damaged one says nothing
            own = [one for one in revocations.read_pem(text, path) if one.is_of(generation.issuing)]
            found[name, path] = frozenset().union(*(one.serials() for one in own))
    return found


def _issuers(generations: Sequence[Generation], passphrase: str | None, lifetime: int) -> Iterator[Issuer]:
    """Return the CAs of some generations (oldest first), each once."""
    for one in generations:
        key, key_path = _issuing_key(one, passphrase), os.path.join(one.folder, "issuing.key")
        life = max(profiles.ISSUING_LIST_LIFE, lifetime)
        yield Issuer(one.issuing, (os.path.join(one.folder, "issuing.crl"),), key, key_path, life)
    for root in {one.root.der: one.root for one in generations if one.company is None}.values():
        same = [one for one in reversed(generations) if one.root.der == root.der]
        paths = tuple(os.path.join(one.folder, "root.crl") for one in same)
        yield Issuer(root, paths, _root_key(same, passphrase), store.root_key_path(same[0]), profiles.ROOT_LIST_LIFE)


def _issuing_key(generation: Generation, passphrase: str | None) -> Callable[[], Any]:
    return lambda: store.issuing_key(generation, passphrase)


def _root_key(generations: Iterable[Generation], passphrase: str | None) -> Callable[[], Any]:
    """Return what opens the key of a root, which may be beside any of the generations below it."""

    def opened() -> keys.AuthorityKey | None:
        found = (store.root_key(one, passphrase) for one in generations)
        return next((key for key in found if key is not None), None)

    return opened


def _kept(issuer: Issuer, lines: Iterable[Mapping[str, Any]], done: Lists, now: int) -> RevocationList:
    """Return the list of a CA: the existing one if it is usable, else a new one, which is noted in ``done``."""
    issuers = [issuer.certificate.subject_key_id]
    if not issuer.certificate.is_self_issued:  # roots issue none of them
        issuers.append(revocation.UNKNOWN)
    own = [line for line in lines if line["issuer"] in issuers]
    found = _found(issuer)
    if found is not None and not _is_due(found, own, now):
        return found
    key = issuer.key()
    if key is None:
        return _insisted_on(found, issuer, done, now)
    text = _signed(issuer, key, own, now, found.number if found else 0)
    made = revocations.read_pem(text, issuer.paths[0])[0]
    done.writes[issuer.paths[0]] = text.encode("ascii")
    done.changes.append(
        f"make the list of revoked certificates of {issuer.certificate.common_name!r}: {len(own)} in it, until "
        f"{clock.instant(made.next_update)}"
    )
    return made


def _found(issuer: Issuer) -> RevocationList | None:
    """Return the newest list of a CA; None when there is none, or none that this CA has signed."""
    lists = []
    for path in issuer.paths:
        text = (files.read(path) or b"").decode("ascii", "replace")
        with contextlib.suppress(TlsError):  # a damaged one is replaced
            lists += [one for one in revocations.read_pem(text, path) if list_file.is_from(one, issuer.certificate)]
    return max(lists, key=lambda one: one.number, default=None)


def _is_due(found: RevocationList, lines: Iterable[Mapping[str, Any]], now: int) -> bool:
    """Return whether a list must be replaced: at half of its life, or because it lacks a certificate."""
    half = found.this_update + (found.next_update - found.this_update) // 2
    return not found.this_update <= now < half or not {int(line["serial"], 16) for line in lines} <= found.serials()


def _insisted_on(found: RevocationList | None, issuer: Issuer, done: Lists, now: int) -> RevocationList:
    """Return a list that is due, but whose CA has its key elsewhere. Raises TlsError if a new one is needed now."""
    path, name = issuer.paths[0], issuer.certificate.common_name
    remedy = f"Put {issuer.key_path} back, run site.yml once, then remove it again."
    if found is None or not found.this_update <= now:
        raise TlsError(
            f"{path}: there is no usable list of revoked certificates of {name!r}, and its key is not here to sign "
            "one. Hosts that check lists would refuse every certificate. Nothing was changed.",
            remedy=remedy,
            code="revocation_list_missing",
        )
    left = found.next_update - now
    if left < REFUSED_AT:
        raise TlsError(
            f"{path}: the list of revoked certificates of {name!r} ends in {durations.in_words(left)}, on "
            f"{clock.instant(found.next_update)}. From then on every certificate would be refused. Its key is not here "
            "to make a new one. Nothing was changed.",
            remedy=remedy,
            code="revocation_list_expiring",
        )
    done.warnings.append(
        f"{path}: the list of revoked certificates of {name!r} ends on {clock.instant(found.next_update)}, and its key "
        f"is not here to make a new one. Runs fail from {clock.instant(found.next_update - REFUSED_AT)} on. {remedy}"
    )
    return found


def _signed(issuer: Issuer, key: keys.AuthorityKey, lines: Iterable[Mapping[str, Any]], now: int, before: int) -> str:
    """Return a new list (PEM). ``before`` is the number of the previous one. Numbers also rise if that was lost."""
    validity = issuing.Validity(now - profiles.BACKDATED, now + issuer.life)
    entries = [_entry(line) for line in lines]
    return issuing.Issuer.of(issuer.certificate, key).sign_list(entries, validity, max(before + 1, now))


def _entry(line: Mapping[str, Any]) -> Any:
    builder = x509.RevokedCertificateBuilder().serial_number(int(line["serial"], 16))
    builder = builder.revocation_date(_moment(revocation.revoked_at(line)))
    if line["reason"] != revocation_entries.UNSPECIFIED:  # which RFC 5280 wants left out
        builder = builder.add_extension(x509.CRLReason(x509.ReasonFlags(line["reason"])), critical=False)
    return builder.build()


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When and why a certificate must be reissued: pure decisions on certificate, spec and clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Offer, Spec, roots_among
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.chain import is_issued_by, leads_to

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import durations
else:
    durations = lazy_import("core.durations")

RENEWED_AT = 2 / 3  # of its life, at the latest; what ACME clients and cert-manager do by default
SPREAD = 1 / 12  # of its life, by which a certificate may be renewed earlier: a week of 90 days


# Beginnings of the reasons for which a new certificate may have the key of the one before; any other asks for a new key
_OF_CERTIFICATES_ALONE = (
    "expires_in_",
    "expired_",
    "not_valid_for_another_",
    "common_name: ",
    "profile: ",
    "issuer_changed",
    "forced",
    "trust_changed",
    "chain_changed",
)


class Present(NamedTuple):
    """What there is of a certificate and its key.

    ``chain`` has its leaf first, and is empty where there is none or it is damaged. ``is_there``: a file for it
    exists. ``unfit`` says why certificate and key cannot be used although each exists and is sound.
    """

    chain: Sequence[Certificate]
    is_there: bool
    has_key: bool
    unfit: str = ""


def needed(present: Present, spec: Spec, now: int) -> list[str]:
    """Return why a host needs a new certificate; an empty list means that the present one is as it must be.

    ``now`` is in Unix seconds.
    """
    if not present.chain:
        return ["certificate_damaged" if present.is_there and present.has_key else "no_certificate"]
    found = reasons(present.chain[0], spec, now, present.chain[1:])
    if not present.has_key:
        return [*found, "key_missing"]
    return found or _unusable(present, spec)


def of_installed(present: Present, spec: Spec, offered: Offer, path: str, now: int, *, comes_later: bool) -> list[str]:
    """Return why a host needs another certificate than the one at ``path``, as ``needed`` does.

    ``comes_later``: the next one comes in a later run, so the present one may stay until then. Raises TlsError, unless
    a renewal is asked for, when its authorities are replaced.
    """
    if present.chain and not spec.forced:
        refuse_another_root(present.chain, path, offered, now)
    why = needed(present, spec, now)
    return [] if comes_later and _may_wait(present, why, now) else why


def _may_wait(present: Present, why: Sequence[str], now: int) -> bool:
    """Return whether a certificate can stay until the next one comes, which is wanted for the reasons ``why``."""
    is_whole = bool(present.chain) and present.has_key and not present.unfit
    is_for_renewal = all(is_by_age(one) or one == "forced" for one in why)
    return is_whole and is_for_renewal and present.chain[0].not_before <= now < present.chain[0].not_after


def unusable(why: str) -> str:
    """Return the reason that a rehearsal gives, by what it says."""
    return f"unusable: {why}"


def reasons(leaf: Certificate | None, spec: Spec, now: int, above: Sequence[Certificate] | None = None) -> list[str]:
    """Return why ``leaf`` must be reissued; an empty list means that it is as wished.

    ``now`` is in Unix seconds. ``above`` are the CAs that came with it, None if they are not known: then nobody can say
    whether a root is above it. Each reason is short and stable: ``expires_in_12d``, ``san_missing: db2.example``.
    """
    if leaf is None:
        return ["no_certificate"]
    return [
        *_by_clock(leaf, spec, now),
        *_by_identity(leaf, spec),
        *_by_issuer(leaf, spec, above),
        *(["revoked"] if f"{leaf.serial:x}" in spec.revoked else []),
        *(["forced"] if spec.forced else []),
    ]


def may_keep_key(why: Sequence[str]) -> bool:
    """Return whether a certificate that is issued again for these reasons may have its key again."""
    return all(one.startswith(_OF_CERTIFICATES_ALONE) for one in why)


def is_by_age(why: str) -> bool:
    """Return whether a reason is only that a certificate, which is still valid, is to be renewed."""
    return why.startswith("expires_in_")


def due_at(leaf: Certificate, spec: Spec) -> int:
    """Return the Unix second from which on a certificate is to be renewed.

    Each certificate has its own within a twelfth of its life, so that a fleet that was set up in one night is not
    renewed in one night.
    One that ends with its issuer cannot be followed by one that ends later. It stays for two thirds of its life at
    least, or a wish for an early renewal would be due again as soon as it was fulfilled.
    """
    life = leaf.not_after - leaf.not_before
    at_two_thirds = leaf.not_before + int(life * RENEWED_AT)
    if spec.renew_before is None:
        wished = at_two_thirds - spread(leaf.sha256, life)
    else:
        wished = leaf.not_after - min(spec.renew_before, life)
    return max(wished, at_two_thirds) if leaf.not_after >= spec.issuing[0].not_after else wished


def spread(fingerprint: str, life: int) -> int:
    """Return how many seconds before two thirds of its ``life`` a certificate is due, by its hexadecimal SHA-256."""
    return int(life * SPREAD * int(fingerprint[:4], 16) / 0x10000)


def refuse_endless_renewal(leaf: Certificate, spec: Spec, now: int) -> None:
    """Raise TlsError when a certificate that just came is due again, and only because of ``renew_before``."""
    if spec.renew_before is None or not due_at(leaf, spec) <= now < due_at(leaf, spec._replace(renew_before=None)):
        return
    times = (leaf.not_after - now, leaf.not_after - leaf.not_before, spec.renew_before)
    left, life, before = map(durations.in_words, times)
    raise TlsError(
        f"renew_before: certificates are renewed {before} before they end, but the new one has {left} left of its "
        f"life of {life}, so it would be renewed again in every run.",
        remedy=(
            "Choose a renew_before that is shorter than the certificates' lifetime, leave it out (a third of their "
            "life), or have certificates issued for longer."
        ),
        code="renew_before_too_long",
    )


def refuse_another_root(chain: Sequence[Certificate], path: str, offered: Offer, now: int) -> None:
    """Raise TlsError when a chain in use (leaf first) was issued below a root that is none of those offered.

    New authorities in place of the old ones look like this. Accepting them would shut out all hosts that still trust
    the old ones. Only a valid leaf below a CA that is no root counts, as the authority makes them; ``now`` is in Unix
    seconds.
    """
    leaf = chain[0]
    if not leaf.not_before <= now < leaf.not_after or issuer_of(leaf, offered.issuing):
        return
    if roots_among(offered.issuing) and leads_to(chain, offered.roots):
        return
    issuing = next((one for one in chain[1:] if one.is_ca and not one.is_self_issued and is_issued_by(leaf, one)), None)
    if issuing is None or leads_to([issuing, *offered.issuing], offered.roots):
        return
    raise TlsError(
        f"{path}: this certificate is from {leaf.issuer_common_name!r}, below the root "
        f"{issuing.issuer_common_name!r}; now {offered.issuing[0].common_name!r} would issue, below another root. "
        "Hosts that still trust the old authorities would be shut out. Nothing was changed on this host.",
        remedy=(
            f"Is {option('certificate_authority.directory')} another one than before (another machine, another copy "
            "of the inventory), or was it lost and recreated? Then name the right one, or restore it from its backup. "
            f"To replace the authorities, run with {option('renew')}: true, which issues from the new ones, "
            "servers first: clients keep theirs for as long as no server has followed."
        ),
        code="root_changed",
    )


def _unusable(present: Present, spec: Spec) -> list[str]:
    """Return why a certificate cannot be used although it is as wished."""
    is_whole = leads_to(present.chain, spec.roots) if spec.roots else _holds_issuer(present.chain, spec.issuing)
    if not is_whole:
        return ["chain_incomplete"]
    return [unusable(present.unfit)] if present.unfit else []


def _by_clock(leaf: Certificate, spec: Spec, now: int) -> list[str]:
    if now >= leaf.not_after:
        return [f"expired_{durations.in_words(now - leaf.not_after)}_ago"]
    if now < leaf.not_before:
        return [f"not_valid_for_another_{durations.in_words(leaf.not_before - now)}"]
    return [f"expires_in_{durations.in_words(leaf.not_after - now)}"] if now >= due_at(leaf, spec) else []


def _by_identity(leaf: Certificate, spec: Spec) -> list[str]:
    wanted, found = set(spec.names), set(leaf.names)  # the order of names is no reason
    changed = [f"san_missing: {name.value}" for name in spec.names if name not in found]
    if not spec.roots:
        changed += [f"san_not_wanted: {name.value}" for name in leaf.names if name not in wanted]
    if spec.common_name is not None and leaf.common_name != spec.common_name:
        changed.append(f"common_name: {leaf.common_name} instead of {spec.common_name}")
    if leaf.key_type != spec.key_type:
        changed.append(f"key_type: {leaf.key_type} instead of {spec.key_type}")
    usages = leaf.extended_key_usage
    if spec.extended_key_usage not in usages or (len(usages) > 1 and not spec.roots):
        changed.append("profile: extended key usage")
    return changed


def _by_issuer(leaf: Certificate, spec: Spec, above: Sequence[Certificate] | None) -> list[str]:
    if spec.roots and above is None:
        return []
    return [] if is_from([leaf, *(above or ())], spec.issuing) else ["issuer_changed"]


def is_from(chain: Sequence[Certificate], issuing: Sequence[Certificate]) -> bool:
    """Return whether one of the issuing CAs, or any CA below a root among them, issued the leaf of a chain."""
    if issuer_of(chain[0], issuing):
        return True
    return leads_to([*chain, *issuing], roots_among(issuing))


def _holds_issuer(chain: Sequence[Certificate], issuing: Sequence[Certificate]) -> bool:
    return issuer_of(chain[0], issuing) in chain


def issuer_of(leaf: Certificate, issuing: Sequence[Certificate]) -> Certificate | None:
    """Return which of the issuing CAs is the one that a certificate names, None when it is none of them."""
    return next((one for one in issuing if is_issued_by(leaf, one)), None)

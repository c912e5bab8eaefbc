# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate and key that somebody else puts on a server's host and renews: read, checked, and never requested.

What fits is copied into a generation like a certificate of our own. What does not is refused with the difference, and
the generation in use stays.
"""

from __future__ import annotations

from typing import Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import borrowed, clock, durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.postgres import passphrase
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server import rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.server.found import Existing, Offered
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal as handshakes
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import SERVER_AUTH, Certificate, read_pem
from ansible_collections.pgops.tls.plugins.module_utils.x509.chain import leads_to
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import covers

# Of its life: certbot and cert-manager renew at a third of it, so what has less left than this was forgotten.
LEFT_AT_LEAST = 1 / 6
_WHO = "whoever keeps this file (certbot, Puppet, the company's CA)"


def look(paths: Existing, account: Account) -> Offered:
    """Return what the declared files hold. Raises TlsError."""
    where = f"{option('existing')}.certificate"
    text = borrowed.read(paths.certificate, where, account).decode("ascii", "replace")
    key = borrowed.read(paths.key, f"{option('existing')}.key", account)
    return Offered(read_pem(text, f"{where}: {paths.certificate}"), key)


def reasons(chain: Sequence[Certificate], unfit: str, offered: Offered, *, has_key: bool) -> list[str]:
    """Return why the offered files are to be taken; none if they are in use. ``chain`` is in use, leaf first."""
    if not chain:
        return ["no_certificate"]
    if chain[0].der != offered.chain[0].der:
        return ["file_changed"]
    if not has_key:
        return ["key_missing"]
    return [f"unusable: {unfit}"] if unfit else []


def refuse_another_root(chain: Sequence[Certificate], offered: Offered, target: Target, now: int) -> None:
    """Raise TlsError when a valid chain in use leads to another root than the offered one, unless that is confirmed.

    Clients that trust the former root alone would be shut out.
    """
    roots = target.offer.roots
    if target.renew or not chain or not chain[0].not_before <= now < chain[0].not_after:
        return
    coming = [one for one in roots if leads_to(offered.chain, [one])]
    if coming and not any(leads_to(chain, [one]) for one in coming):
        raise TlsError(
            f"{_place(target)}: its root is {coming[0].common_name!r}, and the certificate in use is from "
            f"{chain[0].issuer_common_name!r}, below another root. Clients that trust only the former root would be "
            "shut out. Nothing was changed on this host.",
            remedy=f"Give all clients the new root first ({option('client.roots')}). Then confirm the change in one "
            f"run with {option('renew')}: true.",
            code="root_changed",
        )


def refuse_unfit(offered: Offered, target: Target, place: rehearsal.DataDirectory, now: int) -> None:
    """Raise TlsError, with each difference, for files that the server or its clients could not use."""
    wrong = list(_differences(offered.chain, target, now))
    if not wrong:
        try:
            _rehearse(offered, target, place)
        except TlsError as error:
            wrong = [error.fault.rstrip(".")]
    if wrong:
        raise TlsError(
            f"{_place(target)}: {'; '.join(wrong)}. The server keeps what it has. Nothing was changed.",
            remedy=f"Have {_WHO} correct it. Or correct {option('existing')} or {option('names')}. Then rerun.",
            code="existing_unfit",
        )


def refuse_passphrase(offered: Offered, target: Target, settings: Mapping[str, str], state: ServerState) -> None:
    """Raise TlsError for a key with a passphrase that the server cannot get. ``settings`` are those that it will have.

    At a reload it would keep its former certificate, and say so in its log alone.
    """
    why = passphrase.objection(settings, state) if passphrase.is_needed(offered.key) else ""
    if why:
        raise TlsError(
            f"{option('existing')}.key: {shown(_paths(target).key)} has a passphrase, which the server cannot get at a "
            f"reload: {why}. Nothing was changed.",
            remedy=f"Set in {option('ssl_conf')}: {passphrase.COMMAND} to a command that does not prompt, and "
            f"{passphrase.AT_RELOAD}: on. Or name a key without a passphrase.",
            code="passphrase_unavailable",
        )


def late(leaf: Certificate, target: Target, now: int) -> TlsError | None:
    """Return the error for a certificate that should have been renewed by now, None if there is time left."""
    life, left = leaf.not_after - leaf.not_before, leaf.not_after - now
    wanted = int(life * LEFT_AT_LEAST) if target.renew_before is None else target.renew_before
    if left >= wanted:
        return None
    return TlsError(
        f"{_place(target)}: this certificate ends in {durations.in_words(left)} ({clock.instant(leaf.not_after)}), and "
        f"nobody has renewed it: expected one with at least {durations.in_words(wanted)} left. Until it ends, the "
        "server keeps it.",
        remedy=f"Have {_WHO} renew it, then rerun. How much time must be left is {option('renew_before')}, or a sixth "
        "of its life.",
        code="existing_not_renewed",
    )


def not_provable(target: Target) -> TlsError:
    """Return the error for a change that only the server's log could prove, where nobody can read it."""
    return TlsError(
        f"{_place(target)}: the server shows this certificate already, so only its log can show that it loads the "
        "change, and its log cannot be read here. Nothing was changed.",
        remedy="Have the server log in English to a file that its OS user can read. Or rerun after the next renewal of "
        "this certificate.",
        code="reload_not_provable",
    )


def _paths(target: Target) -> Existing:
    return target.existing or Existing("", "")


def _place(target: Target) -> str:
    return f"{option('existing')}.certificate: {_paths(target).certificate}"


def _differences(chain: Sequence[Certificate], target: Target, now: int) -> Iterator[str]:
    leaf, roots = chain[0], target.offer.roots
    if leaf.is_ca and not leaf.is_self_signed:
        yield f"expected the server's certificate first, found the CA {leaf.common_name!r}"
    if now >= leaf.not_after:
        yield f"it expired {durations.in_words(now - leaf.not_after)} ago"
    if now < leaf.not_before:
        yield f"it is not valid for another {durations.in_words(leaf.not_before - now)}"
    missing = [name.value for name in target.names if not covers(leaf.names, name)]
    if missing:
        found = ", ".join(name.value for name in leaf.names) or "none"
        yield f"it lacks the names {', '.join(missing)} (its alternative names: {found})"
    if leaf.extended_key_usage and SERVER_AUTH not in leaf.extended_key_usage:
        yield "its extended key usage has no serverAuth"
    if f"{leaf.serial:x}" in target.revoked:
        yield f"its serial number {leaf.serial:x} is revoked"
    if not leads_to(chain, roots):
        known = ", ".join(repr(one.common_name) for one in roots)
        yield f"no chain in it leads from issuer {leaf.issuer_common_name!r} to a root that clients trust ({known})"


def _rehearse(offered: Offered, target: Target, place: rehearsal.DataDirectory) -> None:
    """Make the handshakes of all names with the files as they are, before anything is written. Raises TlsError."""
    if not handshakes.HAS_MEMORY_FILES:  # the staged files are rehearsed anyway
        return
    paths, chain = _paths(target), "".join(one.pem for one in offered.chain)
    with handshakes.memory_file(chain.encode()) as certificate, handshakes.memory_file(offered.key) as key:
        pair = handshakes.Pair(certificate, key, place.passphrase(offered.key))
        try:
            rehearsal.rehearse_pair(target, pair, place)
        except TlsError as error:
            fault = error.fault.replace(certificate, paths.certificate).replace(key, paths.key)
            raise TlsError(fault, code=error.code) from error

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the TLS of Patroni's own connections: decided on what was found."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.patroni import addresses
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import CTL, RESTAPI, Settings, host_of
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

# Findings, as results have them
API_SILENT, API_PLAINTEXT, API_OLD, NOT_RENEWED = "api_silent", "api_plaintext", "api_old_certificate", "not_renewed"
NOT_VERIFIED, LOGIN_NOT_VERIFIED = "ctl_not_verified", "login_not_verified"
API_NAME, SERVER_NAME = "api_name_missing", "server_name_missing"  # connect_address is none of the certificate's names
UNFIT, EXPIRED, EXPIRES = "unfit", "expired", "expires_soon"  # behind api_, ctl_ or login_
_PREFIX = {RESTAPI: "api", CTL: "ctl"}
_SOON = 14 * 86400  # seconds before its end when a certificate should have been renewed, if it lives for long
_LAST_PART = 0.2  # of its life, if it does not: well after the renewal of this collection
_INSECURE = ("true", "yes", "on", "1")
RESTART = "Run patronictl pause, restart Patroni on this node (PostgreSQL keeps running), then patronictl resume."


class Seen(NamedTuple):
    """What there is: the settings, what answers at the REST API, and the leaves in the files that are named.

    ``leaves`` are by section, or by the name of a login. ``directory`` is where this collection keeps files for the
    REST API, and ``is_managed`` whether it looks after them. ``names`` are those of the server's certificate, None
    where this collection is not to look after it any more.
    """

    config: str
    settings: Settings
    answer: Answer | None
    leaves: Mapping[str, Certificate]
    directory: str
    is_managed: bool
    names: Sequence[Name] | None


class Finding(NamedTuple):
    """A code for programs, and a sentence."""

    code: str
    words: str


def of(seen: Seen, now: int) -> list[Finding]:
    """Return what is wrong. ``now`` is in Unix seconds."""
    return [*_of_answer(seen), *_of_pairs(seen, now), *_of_ctl(seen), *_of_logins(seen, now), *_of_addresses(seen)]


def _of_answer(seen: Seen) -> Iterator[Finding]:
    settings, answer, leaf = seen.settings, seen.answer, seen.leaves.get(RESTAPI)
    place = f"Patroni's REST API ({settings.address})"
    if answer is None:
        yield Finding(
            API_SILENT,
            f"{place} gives no answer. Failover and patronictl need it. Do not reload Patroni: if an earlier reload "
            f"failed, another one can block it, and end in two primaries. {RESTART}",
        )
    elif not answer.has_tls:
        remedy = "" if seen.is_managed else f" Set {option('patroni_api')}: true to give it a certificate."
        yield Finding(API_PLAINTEXT, f"{place} offers no TLS. Its passwords and commands travel in plaintext.{remedy}")
    elif leaf is not None and answer.leaf is not None and leaf.sha256 != answer.leaf.sha256:
        yield Finding(
            API_OLD,
            f"{place} shows certificate {answer.leaf.serial:x}, and {settings.restapi['certfile']} holds "
            f"{leaf.serial:x}. Patroni has not loaded it. Reload Patroni.",
        )
    if not seen.is_managed and settings.restapi.get("certfile", "").startswith(f"{seen.directory}/"):
        yield Finding(
            NOT_RENEWED,
            f"{seen.config}: restapi uses files in {seen.directory}, which no run renews any more. Set "
            f"{option('patroni_api')}: true, or have restapi and ctl use other files.",
        )


def _of_pairs(seen: Seen, now: int) -> Iterator[Finding]:
    for section, prefix in _PREFIX.items():
        fault = seen.settings.faults.get(section)
        if fault:
            yield Finding(
                f"{prefix}_{UNFIT}",
                f"{seen.config}: Patroni cannot use section {section}: {fault}. Correct it before anybody reloads or "
                "restarts Patroni.",
            )
        what = f"{seen.config}: the certificate in {section}.certfile"
        remedy = "" if seen.is_managed else f" Renew it, or set {option('patroni_api')}: true."
        yield from _of_end(prefix, what, remedy, seen.leaves.get(section), now)


def _of_end(prefix: str, what: str, remedy: str, leaf: Certificate | None, now: int) -> Iterator[Finding]:
    if leaf is None:
        return
    end = clock.instant(leaf.not_after)
    if leaf.not_after <= now:
        yield Finding(f"{prefix}_{EXPIRED}", f"{what} ended at {end}.{remedy}")
    elif leaf.not_after - now < min(_SOON, (leaf.not_after - leaf.not_before) * _LAST_PART):
        yield Finding(f"{prefix}_{EXPIRES}", f"{what} ends at {end}.{remedy}")


def _of_ctl(seen: Seen) -> Iterator[Finding]:
    if seen.settings.ctl.get("insecure", "").lower() in _INSECURE:
        yield Finding(
            NOT_VERIFIED,
            f"{seen.config}: ctl.insecure is true, so patronictl sends passwords and commands to any server that "
            "answers. Remove it.",
        )


def _of_logins(seen: Seen, now: int) -> Iterator[Finding]:
    settings = seen.settings
    open_ = {
        name: one.get("sslmode") or "prefer"
        for name, one in settings.logins.items()
        if not (name == "superuser" and settings.uses_socket) and one.get("sslmode") != "verify-full"
    }
    if open_:
        listed = ", ".join(f"{name}: sslmode={mode}" for name, mode in sorted(open_.items()))
        yield Finding(
            LOGIN_NOT_VERIFIED,
            f"{seen.config}: postgresql.authentication does not verify the server ({listed}). Set sslmode: verify-full "
            "and sslrootcert there.",
        )
    for name in settings.logins:
        what = f"{seen.config}: the certificate in postgresql.authentication.{name}.sslcert"
        yield from _of_end("login", what, " Renew it.", seen.leaves.get(name), now)


def _of_addresses(seen: Seen) -> Iterator[Finding]:
    """Return the addresses that others are told, and that no certificate has: such a member works until one verifies.

    Where it is not the collection that gives the REST API its certificate, the names of the server are no remedy.
    """
    settings, leaf = seen.settings, seen.answer.leaf if seen.answer else None
    if leaf is not None and not addresses.is_covered(settings.address, leaf.names):
        what = addresses.remedy(settings.address) if seen.is_managed else "Use a certificate that has this name."
        yield Finding(
            API_NAME,
            f"{seen.config}: other members reach the REST API at {settings.address} (restapi.connect_address), and "
            f"{host_of(settings.address)!r} is none of the names of its certificate. Clients that verify it refuse it. "
            f"{what}",
        )
    address, logins = settings.server_address, settings.verifying
    if seen.names is not None and not addresses.is_covered(address, seen.names):
        effect = f"Members refuse it now ({', '.join(logins)})." if logins else "sslmode: verify-full would refuse it."
        yield Finding(
            SERVER_NAME,
            f"{seen.config}: other members, and clients that ask the store, reach this server at {address} "
            f"(postgresql.connect_address), and {host_of(address)!r} is none of the names of its certificate. {effect} "
            f"{addresses.remedy(address)}",
        )


def result(seen: Seen, now: int) -> dict[str, Any]:
    """Return the facts about a member; nothing in them is secret."""
    restapi, ctl, answer = seen.settings.restapi, seen.settings.ctl, seen.answer
    return {
        "scope": seen.settings.scope,
        "name": seen.settings.name,
        "api": {
            "address": seen.settings.address,
            "tls": None if answer is None else answer.has_tls,
            "verify_client": restapi.get("verify_client", "none"),
            **_end_of(restapi.get("certfile"), answer.leaf if answer else None),
        },
        "ctl": _end_of(ctl.get("certfile"), seen.leaves.get(CTL)),
        "findings": [one.code for one in of(seen, now)],
    }


def _end_of(path: str | None, leaf: Certificate | None) -> dict[str, Any]:
    return {
        "certificate": path,
        "serial": f"{leaf.serial:x}" if leaf else None,
        "not_after": clock.instant(leaf.not_after) if leaf else None,
    }

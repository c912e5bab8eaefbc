# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the connections by which a server replicates from another one: decided on what was found."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

STANDBY, SUBSCRIPTION = "standby", "subscription"
# Findings, as results have them
UNREADABLE = "conninfo_unreadable"
PLAINTEXT, NOT_VERIFIED = "plaintext_possible", "not_verified"
MISSING, EXPIRED, EXPIRES, OLD = "file_missing", "expired", "expires_soon", "old_certificate"
DISCONNECTED = "not_streaming"
CODES = (UNREADABLE, PLAINTEXT, NOT_VERIFIED, MISSING, EXPIRED, EXPIRES, OLD, DISCONNECTED)
_VERIFIED = "verify-full"
_DEFAULT_MODE = "prefer"  # of libpq
_PLAINTEXT_MODES = ("disable", "allow", "prefer")
_SOON = 14 * 86400  # seconds before its end when a certificate should have been renewed, if it lives for long
_LAST_PART = 0.2  # of its life, if it does not: well after the renewal of this collection


class Connection(NamedTuple):
    """A connection of a standby or of a subscription, which ``name`` tells apart.

    ``given`` are the parameters of its string (None: it is unreadable), ``parameters`` also those of its service.
    ``since`` (Unix seconds) is when its process began, None where there is none. ``leaf`` is in the file ``path``,
    whose links are resolved, since ``replaced`` (None: unknown). ``missing``: files that it needs and nobody can read.
    """

    kind: str
    name: str
    given: conninfo.Parameters | None
    parameters: Mapping[str, str] = {}
    pid: int | None = None
    since: float | None = None
    status: str = ""
    path: str = ""
    leaf: Certificate | None = None
    replaced: float | None = None
    missing: Sequence[str] = ()

    @property
    def mode(self) -> str:
        """Return its sslmode."""
        return self.parameters.get("sslmode") or _DEFAULT_MODE

    @property
    def in_words(self) -> str:
        """Return what it is called in messages."""
        what = "This standby" if self.kind == STANDBY else f"Subscription {self.name!r}"
        return f"{what} ({conninfo.in_words(self.parameters)})"

    @property
    def is_old(self) -> bool:
        """Return whether it began before its certificate was in its file."""
        if self.since is None or self.leaf is None or self.mode == "disable":
            return False
        return self.since < max(self.leaf.not_before, self.replaced or 0)


class Finding(NamedTuple):
    """A code for programs, and a sentence."""

    code: str
    words: str


def of_connection(one: Connection, now: int) -> list[Finding]:
    """Return what is wrong with a connection. ``now`` is in Unix seconds."""
    if one.given is None:
        return [Finding(UNREADABLE, f"{one.in_words}: its connection string cannot be read.")]
    found = list(_of_process(one))
    if conninfo.uses_network(one.parameters):
        found += [*_of_mode(one), *_of_files(one, now)]
    return found


def _of_process(one: Connection) -> Iterator[Finding]:
    if one.kind == STANDBY and one.status != "streaming":
        yield Finding(
            DISCONNECTED, f"{one.in_words} is not connected to its primary now. The server's log says why, every 5 s."
        )


def _of_mode(one: Connection) -> Iterator[Finding]:
    place = "primary_conninfo" if one.kind == STANDBY else "its CONNECTION"
    remedy = f"Set sslmode=verify-full and sslrootcert in {place}"
    if one.kind == STANDBY:
        remedy += (
            f", or set {option('replication.role')}, by which this collection does so. Where Patroni runs the server, "
            "set them in postgresql.authentication.replication of patroni.yml"
        )
    if one.mode in _PLAINTEXT_MODES:
        yield Finding(
            PLAINTEXT,
            f"{one.in_words} has sslmode={one.mode} in {place}, so it may replicate without TLS. {remedy}.",
        )
    elif one.mode != _VERIFIED:
        yield Finding(
            NOT_VERIFIED,
            f"{one.in_words} has sslmode={one.mode} in {place}, so any server could answer in place of the right one. "
            f"{remedy}.",
        )


def _of_files(one: Connection, now: int) -> Iterator[Finding]:
    for path in one.missing:
        yield Finding(
            MISSING,
            f"{one.in_words} uses {path}, which the server's OS user cannot read. Its next connection fails. Restore "
            "the file, or correct the path.",
        )
    leaf = one.leaf
    if leaf is None:
        return
    end = clock.instant(leaf.not_after)
    if leaf.not_after <= now:
        yield Finding(
            EXPIRED, f"{one.in_words}: its certificate ended at {end}, so its next connection fails. Renew it."
        )
    elif leaf.not_after - now < min(_SOON, (leaf.not_after - leaf.not_before) * _LAST_PART):
        yield Finding(EXPIRES, f"{one.in_words}: its certificate ends at {end}. Renew it.")
    if one.is_old:
        began = clock.instant(int(one.since or 0))
        yield Finding(
            OLD,
            f"{one.in_words} is connected since {began} and still uses the certificate from before the last renewal. "
            f"A new connection reads the new files. With {option('replication.role')} this collection makes one.",
        )


def facts(one: Connection, now: int) -> dict[str, Any]:
    """Return what a result says of a connection: nothing in it is secret."""
    leaf = one.leaf
    return {
        "kind": one.kind,
        "name": one.name,
        "conninfo": conninfo.shown(one.parameters),
        "status": one.status,
        "since": clock.instant(int(one.since)) if one.since is not None else None,
        "certificate": one.path or None,
        "serial": f"{leaf.serial:x}" if leaf else None,
        "not_after": clock.instant(leaf.not_after) if leaf else None,
        "findings": [finding.code for finding in of_connection(one, now)],
    }


def warnings(connections: Sequence[Connection], now: int) -> list[str]:
    """Return a sentence for each finding."""
    return [finding.words for one in connections for finding in of_connection(one, now)]


def result(found: Mapping[str, Any], connections: Sequence[Connection], os_user: str, now: int) -> dict[str, Any]:
    """Return the facts about a server's replication; ``found`` is what the server said (see postgres/state.py)."""
    return {
        "is_standby": found["is_standby"],
        "os_user": os_user,
        "application_name": found["application_name"],
        "synchronous": found["synchronous"],
        "connections": [facts(one, now) for one in connections],
    }

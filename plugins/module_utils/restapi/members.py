# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other members of a cluster, asked as this node asks them: by its client certificate and its roots."""

from __future__ import annotations

import ssl
from typing import Mapping, NamedTuple, Sequence
from urllib.parse import urlsplit

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.wire import Endpoint
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import ClientFiles

ACCEPTED, UNREACHABLE, REFUSED = "accepted", "unreachable", "refused"
_TIMEOUT = 3.0  # seconds for a connection
_SECURE = "https"


class Member(NamedTuple):
    """A member by its name, and where its REST API is, as the cluster's store has it."""

    name: str
    scheme: str
    at: Endpoint


class Trial(NamedTuple):
    """How a request to a member ended, and why if it was not accepted."""

    member: Member
    verdict: str
    words: str = ""


def of(own: Endpoint, context: ssl.SSLContext, name: str, *, has_tls: bool) -> list[Member]:
    """Return the members but the one called ``name``, as its REST API lists them; [] if it does not answer."""
    answer = api.look(own, context, "/cluster", has_tls=has_tls)
    found = answer.data.get("members") if answer else None
    listed = [one for one in found or () if isinstance(one, Mapping) and one.get("name") != name]
    return [_member(str(one.get("name")), str(one.get("api_url") or "")) for one in listed if one.get("api_url")]


def files_of(settings: Settings) -> ClientFiles:
    """Return the files that patroni.yml names, as Patroni up to 3.0 uses them: those of restapi where ctl has none."""
    restapi, ctl = settings.restapi, settings.ctl
    pair = ctl if ctl.get("certfile") else restapi
    roots = ctl.get("cacert") or restapi.get("cafile", "")
    return ClientFiles(pair.get("certfile", ""), pair.get("keyfile", ""), roots)


def secure(members: Sequence[Member]) -> list[Member]:
    """Return the members that have TLS."""
    return [one for one in members if one.scheme == _SECURE]


def trials(members: Sequence[Member], files: ClientFiles, *, verifies: bool = True) -> list[Trial]:
    """Ask each member that has TLS, and verify it strictly: without roots, each is refused.

    Raises TlsError for files that cannot be loaded.
    """
    asked = secure(members)
    if not asked:
        return []
    context = _context(files)
    if not verifies:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return [_tried(one, context) for one in asked]


def refuse(found: Sequence[Trial], before: Mapping[Member, str]) -> None:
    """Raise TlsError for members that would refuse this node, or that it would refuse.

    ``before`` are the verdicts with the files in use: what is broken already is not made worse.
    """
    broken = [one for one in found if one.verdict == REFUSED and before.get(one.member, ACCEPTED) == ACCEPTED]
    if broken:
        listed = "; ".join(f"{one.member.name} ({one.member.at}): {one.words}" for one in broken)
        raise TlsError(
            f"With the new files, this member and others of its cluster would refuse each other: {listed}. Nothing was "
            "changed.",
            remedy="The REST API of a member needs a certificate of the server authority for the host in its "
            "restapi.connect_address, and must trust the authority of this node's client certificate.",
            code="patroni_member_refused",
        )


def warnings(found: Sequence[Trial]) -> list[str]:
    """Return what is not proven, in words."""
    return [
        f"Member {one.member.name} ({one.member.at}): its REST API was not reached, so nothing is proven with it: "
        f"{one.words}"
        if one.verdict == UNREACHABLE
        else f"Member {one.member.name} ({one.member.at}) and this one refuse each other, as before: {one.words}"
        for one in found
        if one.verdict != ACCEPTED
    ]


def not_moved(one: Trial) -> str:
    """Return why the trust in another authority does not end, in words."""
    return (
        f"Member {one.member.name} ({one.member.at}) has shown no certificate of the declared authority: {one.words}. "
        "So the members continue to trust the former authority, too. A later run ends that."
    )


def _context(files: ClientFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if files.roots:
            context.load_verify_locations(cafile=files.roots)
        if files.certificate:
            context.load_cert_chain(files.certificate, files.key or None, lambda: "")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise TlsError(
            f"{files.certificate}: this pair, or the roots in {files.roots}, cannot be loaded: {error}.",
            code="key_mismatch",
        ) from error
    return context


def _tried(one: Member, context: ssl.SSLContext) -> Trial:
    try:
        api.ask(one.at, context)
    except api.RefusedError as error:
        return Trial(one, REFUSED, str(error))
    except OSError as error:
        return Trial(one, UNREACHABLE, str(error.strerror or error))
    return Trial(one, ACCEPTED)


def _member(name: str, url: str) -> Member:
    found = urlsplit(url)
    try:
        port = found.port or api.DEFAULT_PORT
    except ValueError:
        port = api.DEFAULT_PORT
    return Member(name, found.scheme, Endpoint(found.hostname or "", port, _TIMEOUT))

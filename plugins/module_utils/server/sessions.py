# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is connected to a server, and by which certificates: one query, one handshake, and nothing is changed."""

from __future__ import annotations

import collections
import contextlib
import os
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations, files, generations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.postgres import peers, psql, state, wire
from ansible_collections.pgops.tls.plugins.module_utils.replication.server import Replication
from ansible_collections.pgops.tls.plugins.module_utils.server import applications, interference
from ansible_collections.pgops.tls.plugins.module_utils.server.found import leaf_of
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all, refuse_port

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.server import login
else:
    login = lazy_import("server.login")

# What there is to say against a session
PLAINTEXT, REVOKED = "plaintext", "revoked_certificate"
OLD_CERTIFICATE, OTHER_ISSUER, OLD_SERVER_CERTIFICATE = "old_certificate", "other_issuer", "old_server_certificate"

SENDER = "walsender"  # what sends to a standby or a subscriber

# Never what a session does: neither its query nor its state. A client without an address uses the socket.
SESSIONS = """
        SELECT coalesce(json_agg(json_build_object('pid', pid, 'role', usename, 'database', datname,
                 'address', host(client_addr), 'application', application_name, 'type', backend_type,
                 'began', extract(epoch FROM backend_start)::float8, 'tls', ssl, 'gss', encrypted,
                 'protocol', version, 'cipher', cipher, 'serial', client_serial::text, 'subject', client_dn,
                 'issuer', issuer_dn) ORDER BY usename, client_addr, backend_start, pid), '[]')
          FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) JOIN pg_stat_gssapi USING (pid)
         WHERE usename IS NOT NULL AND pid <> pg_backend_pid()
           AND backend_type IN ('client backend', 'walsender')"""
_LOOK = f"""
    SELECT json_build_object(
      'version', current_setting('server_version_num')::int,
      'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
      'settings', (
        SELECT json_object_agg(name, setting) FROM pg_settings
         WHERE name IN ('ssl', 'ssl_cert_file', 'data_directory', 'listen_addresses')),
      'sessions', ({SESSIONS}),
      'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
      'replication', {state.REPLICATION})"""  # noqa: S608 (parts of this collection)


class InForce(NamedTuple):
    """What sessions are compared with. Unknown facts are left out, and then cause no finding.

    ``serials`` are the numbers of the certificates in use (hexadecimal) by role, ``issuing`` the authorities that issue
    for clients, ``revoked`` numbers of theirs. ``installed``: since when (Unix seconds) the server has its certificate,
    as far as that is certain.
    """

    serials: Mapping[str, Sequence[str]] = {}
    issuing: Sequence[Certificate] = ()
    revoked: Sequence[str] = ()
    installed: float | None = None


class SessionFacts(NamedTuple):
    """What was found at a server: its version, certificate (None: no TLS), since when it has it, and its sessions.

    ``is_on_disk``: the server's file holds the certificate that it shows, or cannot be read; None where nobody has
    looked. ``replication``: None where there is none, or where its files cannot be read.
    """

    version: int
    leaf: Certificate | None
    installed: float | None
    is_on_disk: bool | None
    sessions: list[dict[str, Any]]
    system_identifier: str = ""
    replication: Replication | None = None


def result(options: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return what module session_info says for its options; ``now`` is in Unix seconds. Raises TlsError."""
    refuse_port(options["port"], "port")
    for option in ("issuing", "client_issuing"):
        certificate.refuse_private_key(options[option] or "", option)
    wanted, issuing = _wish(options), options["client_issuing"]
    in_force = InForce(
        {role: spec.serials(found, f"client_serials: {role}") for role, found in options["client_serials"].items()},
        spec.authorities(issuing, "client_issuing") if issuing else (),
        spec.serials(options["client_revoked"], "client_revoked"),
    )
    place = options["port"], options["login_unix_socket"], options["login_user"]
    found = login.look(options) if options["login_host"] else look(*place)
    return {
        "server_version": found.version,
        **({"system_identifier": found.system_identifier} if found.system_identifier else {}),
        "certificate": certificate_facts(found, wanted, now),
        **({"replication": found.replication.facts(now)} if found.replication else {}),
        **told(found, in_force, only_findings=options["show"] == "findings"),
    }


def _wish(options: Mapping[str, Any]) -> spec.Spec | None:
    """Return what the server's certificate must be; None if the options do not say. Raises TlsError."""
    if not options["names"] or not options["issuing"]:
        return None
    renew_before = options["renew_before"]
    return spec.Spec(
        common_name=None,
        names=parse_all(options["names"], "names"),
        key_type=options["key_type"],
        extended_key_usage=certificate.SERVER_AUTH,
        issuing=spec.authorities(options["issuing"], "issuing"),
        renew_before=durations.seconds(renew_before, "renew_before") if renew_before else None,
        revoked=spec.serials(options["revoked"], "revoked"),
    )


def look(port: int, socket_directory: str | None, role: str | None) -> SessionFacts:
    """Ask a server who is connected, and check which certificate it shows. Raises TlsError."""
    administrator = psql.locate(port, socket_directory, role)
    found = state.as_superuser(administrator, _LOOK)
    settings = found["settings"]
    addresses = state.local_addresses(settings["listen_addresses"]) if _offers_tls(settings) else []
    leaf = _served(addresses, port)
    installed, is_on_disk, replicating = None, True, None
    with contextlib.suppress(TlsError, OSError):  # unknown facts are left out
        interference.refuse_foreign_paths(settings["data_directory"], administrator)
        if found["replication"]:
            replicating = Replication.of(found["replication"], administrator.account)
        if leaf is not None:
            path = os.path.join(settings["data_directory"], settings["ssl_cert_file"])
            with acting_as(administrator.account):
                installed, is_on_disk = installed_at(path, leaf, administrator.account.owner)
    identifier = found["system_identifier"]
    return SessionFacts(found["version"], leaf, installed, is_on_disk, found["sessions"], identifier, replicating)


def _offers_tls(settings: Mapping[str, str]) -> bool:
    return settings["ssl"] == "on" and bool(settings["listen_addresses"])


def _served(addresses: Sequence[str], port: int) -> Certificate | None:
    """Return the leaf that the server shows at the first address that answers with TLS; None for none."""
    for host in addresses:
        with contextlib.suppress(TlsError):
            return wire.observe(wire.Endpoint(host, port)).leaf
    return None


def installed_at(path: str, leaf: Certificate, owner: files.Owner) -> tuple[float | None, bool]:
    """Return since when at the latest a server has ``leaf`` (Unix seconds), and whether its file at ``path`` holds it.

    Only the time of a file in a generation is reliable. A generation inherits the certificate of the one before: if all
    that are kept have it, only its own start date is certain. Raises OSError.
    """
    directory, file = os.path.split(path)
    parent, number = os.path.split(directory)
    store = generations.GenerationStore(os.path.dirname(parent), owner)
    if os.path.basename(parent) != "generations" or number not in store.names():
        found = leaf_of(files.read(path))
        return None, found is None or found.sha256 == leaf.sha256
    moment, name = None, number
    for name in reversed(store.names()[: store.names().index(number) + 1]):
        found = leaf_of(store.read(name, file))
        if found is None or found.sha256 != leaf.sha256:
            return moment, name != number
        moment = os.stat(store.path(name, file)).st_mtime
    return (moment if int(name) == 1 else float(leaf.not_before)), True


def findings(session: Mapping[str, Any], in_force: InForce) -> list[str]:
    """Return the findings about a session; only certain ones. A session over the socket needs no TLS."""
    if session["address"] is None:
        return []
    if not session["tls"]:
        return [] if session["gss"] else [PLAINTEXT]
    found = []
    if in_force.installed is not None and session["began"] < in_force.installed:
        found.append(OLD_SERVER_CERTIFICATE)
    if session["serial"]:
        found += _against_certificate(session, in_force)
    return found


def _against_certificate(session: Mapping[str, Any], in_force: InForce) -> list[str]:
    serial = hexadecimal(session["serial"])
    if serial in in_force.revoked:
        return [REVOKED]
    issuer, subject = session["issuer"] or "", session["subject"] or ""
    is_one_of_few = in_force.issuing and not spec.roots_among(in_force.issuing)  # else any CA below the root may be it
    if is_one_of_few and not any(peers.has_common_name(issuer, one.common_name) for one in in_force.issuing):
        return [OTHER_ISSUER]
    known = [serials for role, serials in in_force.serials.items() if peers.has_common_name(subject, role)]
    is_old = known and not any(serial in serials for serials in known)
    return [OLD_CERTIFICATE] if is_old else []


def hexadecimal(serial: str) -> str:
    """Return a serial number of pg_stat_ssl, which is decimal, as this collection writes them."""
    return f"{int(serial):x}"


def told(found: SessionFacts, in_force: InForce, *, only_findings: bool = False) -> dict[str, Any]:
    """Return the sessions, and how many there are of each kind, for a result."""
    listed = [(session, findings(session, in_force._replace(installed=found.installed))) for session in found.sessions]
    counts = collections.Counter(_kind(session) for session in found.sessions)
    shown = [_shown(session, against) for session, against in listed]
    return {
        "counts": dict(sorted(counts.items())),
        "applications": applications.of(shown),
        "sessions": [one for one in shown if one["findings"] or one["type"] == SENDER or not only_findings],
    }


def _kind(session: Mapping[str, Any]) -> str:
    if session["address"] is None:
        return "local"
    return str(session["protocol"]) if session["tls"] else "gss" if session["gss"] else PLAINTEXT


def _shown(session: Mapping[str, Any], against: Sequence[str]) -> dict[str, Any]:
    copied = ("pid", "role", "database", "address", "application", "type", "protocol", "cipher", "subject", "issuer")
    return {
        **{name: session[name] for name in copied},
        "since": clock.instant(int(session["began"])),
        "encryption": "tls" if session["tls"] else "gss" if session["gss"] else "none",
        "serial": hexadecimal(session["serial"]) if session["serial"] else None,
        "findings": list(against),
    }


def certificate_facts(found: SessionFacts, wish: spec.Spec | None, now: int) -> dict[str, Any] | None:
    """Return facts about a server's certificate; with a ``wish`` also when and why it is renewed next."""
    leaf = found.leaf
    if leaf is None:
        return None
    facts: dict[str, Any] = {
        "serial": f"{leaf.serial:x}",
        "not_before": clock.instant(leaf.not_before),
        "not_after": clock.instant(leaf.not_after),
        "sha256": leaf.sha256,
        "names": [name.value for name in leaf.names],
        "installed": clock.instant(int(found.installed)) if found.installed is not None else None,
        **({} if found.is_on_disk is None else {"is_on_disk": found.is_on_disk}),
    }
    if wish is not None:
        facts["renewal"] = clock.instant(due.due_at(leaf, wish))
        facts["reasons"] = due.reasons(leaf, wish, now)
    return facts

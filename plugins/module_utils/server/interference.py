# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others changed on a server: found at every run, fixed where that is safe, else reported or refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Iterator, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import anchor_warnings
from ansible_collections.pgops.tls.plugins.module_utils.postgres import managers, settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import OnDisk, ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server import refusals
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import lasting
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CONF
from ansible_collections.pgops.tls.plugins.module_utils.server.plan import Plan
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import Texts
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import hosts, rules
    from ansible_collections.pgops.tls.plugins.module_utils.server import declared
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
else:
    hosts = lazy_import("postgres.hosts")
    rules = lazy_import("postgres.rules")
    revocations = lazy_import("x509.revocations")
    declared = lazy_import("server.declared")


_NAMED = 10  # serial numbers that a message names


def refuse_foreign_paths(data_directory: str, administrator: Administrator) -> None:
    """Refuse a server whose paths do not apply to this process: one in a chroot or a container. Raises TlsError.

    Files of those names would be missing here, or belong to another server. The lock files of one server's socket and
    data directory name one process.
    """
    path = os.path.join(data_directory, "postmaster.pid")
    try:
        here = (files.read(path) or b"").split(b"\n", 1)[0].strip()
    except OSError:
        here = b""
    if administrator.pid and here != str(administrator.pid).encode():
        raise TlsError(
            f"{administrator.target} says that its data directory is {data_directory}, but there is no "
            f"postmaster.pid of its process {administrator.pid} here. It runs in a chroot or a container, so its "
            "paths do not apply to this host. Nothing was changed.",
            remedy="Run this where the server runs, as a separate host in the inventory.",
            code="server_paths_foreign",
        )


def refuse_revocations_that_end(target: Target, state: ServerState, included: str) -> None:
    """Refuse to replace a list that revokes certificates of an authority that stays trusted.

    A list of ours that revokes all of them may replace it. Raises TlsError.
    """
    for row in _replaced(("ssl_crl_file",), target, state, included):
        content = files.read(os.path.join(state.value("data_directory"), row.value)) or b""
        trusted = read_pem(target.trusted_clients, "trusted_clients")
        known = [one.common_name for one in revocations.about(content, trusted)]
        left_out = revocations.serials_of(content, trusted) - revocations.serials_of(target.crls.encode(), trusted)
        if known and (left_out or not target.crls):
            numbers = ", ".join(f"{serial:x}" for serial in sorted(left_out)[:_NAMED]) or "none yet"
            raise TlsError(
                f"ssl_crl_file is {row.value!r} in {row.file} line {row.line}, with a list of {known[0]!r}, which "
                "servers still trust for logins. Certificates revoked there would be accepted again. Nothing was "
                "changed.",
                remedy="Revoke the same certificates in "
                f"{option('certificate_authority.revoked')} (serial numbers: {numbers}), or disable the logins of "
                "their roles (ALTER ROLE ... NOLOGIN). Then remove the setting there.",
                code="revocations_lost",
            )


def warnings(plan: Plan, target: Target, state: ServerState, texts: Texts, now: int) -> list[str]:
    """Return warnings about what does not stop a run, but will affect somebody. ``now`` is in Unix seconds."""
    included = f"{target.directory}/current/{CONF}"
    broken = rules.faults(state.bad_lines, state.major) if state.bad_lines else ()
    found = names.underscored(target.names, option("names"))
    found += [
        f"{fault}. The server still uses what it loaded before, but would not start again. Fix or remove that line."
        if fault.name == "pg_hba.conf"
        else f"{fault}. The server still uses the maps that it loaded before; a restart would leave it without any. "
        "Fix or remove that line."
        for fault in lasting(broken, plan.rules, texts.named, state.major)
    ]
    found += [
        f"{fault['file']} line {fault['line']}: {fault['error']}. The server applies nothing at a reload, and would "
        "not start again. Fix or remove that line."
        for fault in state.faults
        if fault["file"] != included
    ]
    if state.value("ssl_sni") == "on":
        found += filter(None, [hosts.in_use(state)])
    if state.major < 15 and not plan.rules:  # which cannot report on its maps
        found += _bad_maps(state, texts)
    found += _replaced_lists(target, state, included)
    found += revocations.ending(target.crls, "crls", now) if target.crls else []
    found += [*_managed(target, texts), *texts.warnings(plan.rules)]
    if target.extra_trusted:
        named = ", ".join(repr(one.common_name) for one in target.extra_trusted)
        found.append(
            f"{option('extra_trusted_clients')}: certificates of {named} log in like those of this collection; a "
            "rule with method cert accepts each one whose common name is the role. Remove these authorities once no "
            "client needs them."
        )
        found += anchor_warnings(target.extra_trusted, option("extra_trusted_clients"), now)
    return found + (declared.warnings(plan, target, texts, state.major) if plan.rules else [])


def _replaced_lists(target: Target, state: ServerState, included: str) -> Iterator[str]:
    """Warn where the CAs or the revocations that the server has so far lose their effect."""
    for row in _replaced(("ssl_ca_file", "ssl_crl_file"), target, state, included):
        place = f"{row.name} is {row.value!r} in {row.file} line {row.line}, and {included} replaces it"
        if row.name == "ssl_crl_file":
            yield f"{place}: the server no longer reads that list. It revokes nothing that servers still trust."
            continue
        lost = _lost_trust(os.path.join(state.value("data_directory"), row.value), target)
        if lost:
            yield (
                f"{place}: clients with certificates of {lost} can no longer log in. To let them in, add "
                f"these authorities to {option('extra_trusted_clients')} until the clients have new certificates."
            )


def _managed(target: Target, texts: Texts) -> list[str]:
    """Return a warning for each file that has content of ours and that another program rewrites."""
    used = {
        "postgresql.conf": True,
        "pg_hba.conf": bool(target.hba.strip()) or target.hba_mode == "replace",
        "pg_ident.conf": bool(target.ident.strip()),
    }
    return [
        f"{texts.named[one.file]} line {one.number}: {one.line!r}. If {one.manager.name} rewrites this file, what this "
        "collection added to it is missing until its next run. Have that program leave the file alone, or add the "
        f"same lines by {one.manager.place}."
        for one in managers.signs({name: texts.read(name, "") for name in used if used[name]})
    ]


def _lost_trust(path: str, target: Target) -> str:
    """Return which authorities of a file will no longer be trusted for logins, in words; '' for none."""
    kept = {one.der for one in read_pem(target.trusted_clients, "trusted_clients")}
    try:
        before = read_pem((files.read(path) or b"").decode("ascii", "replace"), path)
    except (TlsError, OSError):
        return "other authorities than this collection's"
    return ", ".join(repr(one.common_name) for one in before if one.der not in kept)


def _bad_maps(state: ServerState, texts: Texts) -> list[str]:
    try:
        refusals.refuse_faulty_maps(state, texts)
    except TlsError as error:
        return [f"{error.message} The server still uses the maps that it loaded before."]
    return []


def _replaced(names: Sequence[str], target: Target, state: ServerState, included: str) -> list[OnDisk]:
    """Return the settings of others that are effective now, loaded or not, and that ours will replace."""
    last = {row.name: row for row in state.on_disk}
    rows = [last[name] for name in names if name in last]
    return [
        row
        for row in rows
        if row.value and row.file != included and row.value != target.settings.get(row.name, "")
        if not settings.is_by_alter_system(row)  # refused
    ]

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a run before anything changes: settings, broken files, and sessions that a change would cut off."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import find
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    lexer,
    managers,
    redaction,
    rule_checks,
    settings,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.postgres.usermap import Facts
from ansible_collections.pgops.tls.plugins.module_utils.server import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Rewrite, lasting
from ansible_collections.pgops.tls.plugins.module_utils.server.found import LISTS, TRUSTED, Found
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import Texts
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import rules
    from ansible_collections.pgops.tls.plugins.module_utils.server import lockout, shared_trust
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
else:
    rules = lazy_import("postgres.rules")
    revocations = lazy_import("x509.revocations")
    lockout = lazy_import("server.lockout")
    shared_trust = lazy_import("server.shared_trust")


def refuse_settings(target: Target, state: ServerState, included: str) -> None:
    """Refuse settings that the server would not accept. ``included`` is the path of our own file. Raises TlsError."""
    settings.check(target.settings, state, target.directory, has_lists=bool(target.crls))
    settings.refuse_protocols(target.settings, state, included)
    settings.refuse_overrides(target.settings, state, included)
    find("openssl", "to make private keys and certificate requests")


def refuse_managers(found: Found, target: Target, state: ServerState, texts: Texts) -> None:
    """Refuse a server whose files another program rewrites: our changes would be lost when it runs next.

    A Patroni that runs is no reason, unless it overrides our settings. Raises TlsError with what that program's
    configuration needs.
    """
    texts.refuse_overrides(target.settings, state)
    files = {"postgresql.conf": found.config, "pg_hba.conf": found.hba, "pg_ident.conf": found.ident}
    shown = [(managers.PATRONI, sign) for sign in texts.signs()]
    shown += [
        (one.manager, f"{texts.named[one.file]} line {one.number}: {one.line!r}") for one in managers.signs(files)
    ]
    keeper = os.path.join(os.path.dirname(state.value("data_directory").rstrip("/")), managers.STOLON.sign)
    if os.path.isfile(keeper):
        shown.append((managers.STOLON, keeper))
    for manager, sign in shown:
        if manager.rewrites:
            own = settings.GENERATION_FILES
            wanted = {name: value for name, value in target.settings.items() if value and name not in own}
            rules = [line.text.strip() for line in lexer.read(target.hba, state.major)]
            raise TlsError(
                f"{sign}. {manager.name} rewrites the files of this server, so the settings and rules of this "
                "collection would be lost at its next reload, restart or change of roles. Nothing was changed.",
                remedy=f"Remove this server from the managed servers, and set in {manager.place}: "
                f"{', '.join(own)} to files of your own, {_as_settings(wanted)}; as rules: "
                f"{'; '.join(map(redaction.masked, rules)) or 'none'}. If {manager.name} no longer runs it, remove "
                f"what was found.{texts.way_out}",
                code="config_managed_elsewhere",
                manager=manager.name,
            )


def _as_settings(wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {settings.written(value)}" for name, value in wanted.items())


def refuse_useless_lists(plan: planning.Plan, found: Found, target: Target, now: int) -> None:
    """Refuse lists of revoked certificates that would refuse valid clients, or accept revoked certificates.

    They are stale, lack a trusted authority, or revoke less than those in use. ``now`` is in Unix seconds. Raises
    TlsError.
    """
    deployed = found.generation.get(LISTS)
    if plan.contents is None or not (target.crls or deployed):
        return
    trusted = read_pem(target.trusted_clients, "trusted_clients")
    if deployed != plan.contents.get(LISTS):
        revocations.refuse_to_forget(deployed, target.crls, trusted, "crls", "client", now=now)
    if target.crls and any(found.generation.get(name) != plan.contents.get(name) for name in (LISTS, TRUSTED)):
        revocations.refuse_gaps(target.crls, trusted, "crls", now)


def refuse_rules(plan: planning.Plan, found: Found, target: Target, state: ServerState, texts: Texts) -> None:
    """Refuse declared rules and maps that the server would not load, or that let plaintext in. Raises TlsError."""
    rewrites = {rewrite.name: rewrite.after for rewrite in plan.rules}
    if plan.rules:
        refuse_faulty_rules(target, state, texts)
    maps = rewrites.get("pg_ident.conf", found.ident)
    rule_checks.refuse_unknown_maps(target.hba, maps, state.major, option("hba"))
    if target.plaintext == "reject":
        rule_checks.refuse_plaintext(rewrites.get("pg_hba.conf", found.hba), state.major)


def refuse_faulty_rules(target: Target, state: ServerState, texts: Texts) -> None:
    """Refuse declared rules and maps that the server would not load. Raises TlsError."""
    named, major = texts.named, state.major
    rule_checks.refuse_faulty(target.hba, major, option("hba"), named["pg_hba.conf"], configure=state.configure)
    rule_checks.refuse_faulty(target.ident, major, option("ident"), named["pg_ident.conf"], ident=True)


def refuse_faulty_maps(state: ServerState, texts: Texts) -> None:
    """Refuse a pg_ident.conf as it is if the server would not load it. Raises TlsError."""
    path, text = texts.named["pg_ident.conf"], texts.read("pg_ident.conf", "")
    if lexer.read(text, state.major):
        rule_checks.refuse_faulty(text, state.major, path, path, ident=True)


def refuse_broken_files(plan: planning.Plan, state: ServerState, texts: Texts, included: str) -> None:
    """Stop when faults of others would keep the server from loading the change. Raises TlsError."""
    faults = [fault for fault in state.faults if fault["file"] != included]
    if faults and not plan.is_empty:
        listed = "; ".join("{file} line {line}: {error}".format(**fault) for fault in faults)
        raise TlsError(
            f"The server would apply nothing at a reload because of {listed}.",
            remedy="Fix that first.",
            code="config_faulty",
        )
    if plan.rules:
        _refuse_broken_rules(plan.rules, state, texts)
    for rewrite in [plan.config, *plan.rules]:
        if rewrite is not None:
            texts.refuse_unwritable(rewrite)


def _refuse_broken_rules(rewrites: Sequence[Rewrite], state: ServerState, texts: Texts) -> None:
    """Stop when lines that are not ours would keep the server from loading the new rules."""
    if state.major < 15:  # which cannot report on its maps
        refuse_faulty_maps(state, texts)
    faults = lasting(rules.faults(state.bad_lines, state.major), rewrites, texts.named, state.major)
    if faults:
        listed = [str(fault) for fault in faults]
        raise TlsError(
            f"The server would not load new rules because of {'; '.join(listed)}. Nothing was changed, but its "
            "next start would fail too.",
            remedy="Fix or remove what is named there first.",
            code="rules_faulty",
            server_log=listed,
        )


def refuse_to_cut_off_sessions(plan: planning.Plan, target: Target, state: ServerState) -> None:
    """Stop when new rules would refuse plaintext that live sessions still use. Raises TlsError."""
    sessions = state.plaintext_sessions
    new_rules = any(rewrite.name == "pg_hba.conf" for rewrite in plan.rules)
    if target.plaintext != "reject" or not sessions or not new_rules:
        return
    form = "{role}@{database} from {address} ({application}, since {since})"
    listed = "; ".join(form.format(**session) for session in sessions)
    raise TlsError(
        f"{option('plaintext')} is reject, but {len(sessions)} live session(s) use no TLS and could not "
        f"connect again: {listed}. Nothing was changed.",
        remedy=f"Run with {option('plaintext')}: allow first, move these clients to TLS, then reject.",
        code="plaintext_sessions",
        plaintext_sessions=sessions,
    )


def refuse_shared_trust(
    plan: planning.Plan, found: Found, target: Target, administrator: Administrator, texts: Texts
) -> None:
    """Stop where a CA that signs for others could let anybody in as a role. Raises TlsError."""
    if not target.is_trust_shared:
        return
    coming, paths, major = {rewrite.name: rewrite.after for rewrite in plan.rules}, texts.paths, found.major
    after = lockout.files(coming.get("pg_hba.conf", found.hba), coming.get("pg_ident.conf", found.ident), paths, major)
    roles = administrator.query(shared_trust.ROLES)
    named = [one.common_name for one in read_pem(target.trusted_clients, "") if one.is_self_signed]
    facts = Facts(major, groups=roles["groups"])
    shared_trust.refuse_unbound(after.rules, after.maps, roles["logins"], facts, named)


def refuse_lock_out(
    plan: planning.Plan, found: Found, target: Target, administrator: Administrator, texts: Texts
) -> None:
    """Stop when the change would lock out somebody by mistake. Raises TlsError."""
    is_ours = bool(target.hba.strip()) or target.hba_mode == "replace"  # else the file stays as others wrote it
    clients = target.clients if target.on_lockout == "refuse" and is_ours else []
    if not plan.rules and not clients:
        return
    coming, paths, major = {rewrite.name: rewrite.after for rewrite in plan.rules}, texts.paths, found.major
    after = lockout.files(coming.get("pg_hba.conf", found.hba), coming.get("pg_ident.conf", found.ident), paths, major)
    lockout.refuse_to_forget(clients, after, major, knows_subjects=not target.is_trust_shared)
    if plan.rules:
        before = lockout.files(found.hba, found.ident, paths, major)
        lockout.refuse_new_rules(before, after, administrator, major, sessions=target.on_lockout == "refuse")

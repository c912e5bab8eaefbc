# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files outside the generations get new content, and in which order: decisions on texts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, lexer
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CONF, Found
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import clientcert_upgrade
    from ansible_collections.pgops.tls.plugins.module_utils.postgres.rules import Fault
else:
    clientcert_upgrade = lazy_import("postgres.clientcert_upgrade")


class Rewrite(NamedTuple):
    """A file outside the generations that will get new content."""

    name: str
    before: str
    after: str


class Management(NamedTuple):
    """The local connection that must always work: the role and the OS user that this module works as."""

    role: str
    os_user: str


def of_settings(target: Target, found: Found) -> Rewrite | None:
    """Return how postgresql.conf is to change, so that it includes the settings of the generation in use."""
    included = configuration.with_include(found.config, f"{target.directory}/current/{CONF}")
    return _rewrite("postgresql.conf", found.config, included)


def of_rules(target: Target, found: Found, management: Management) -> list[Rewrite]:
    """Return how pg_ident.conf and pg_hba.conf are to change. Raises TlsError for impossible rules."""
    ident = configuration.with_block(found.ident, target.ident, "pg_ident.conf")
    rewrites = [
        _rewrite("pg_ident.conf", found.ident, ident),
        _rewrite("pg_hba.conf", found.hba, _hba(target, found, management)),
    ]
    return [one for one in rewrites if one is not None]


def in_steps(rewrites: Sequence[Rewrite], major: int) -> list[Rewrite]:
    """Return the rewrites of rules and maps in steps, none of which refuses clients for lack of a map.

    Somebody else may reload or restart the server between two steps. Rules that name a map of the other state would
    then refuse clients. So the maps have the lines of both states while the rules change.
    """
    files = {rewrite.name: rewrite for rewrite in rewrites}
    if len(files) < 2:
        return list(rewrites)
    ident, rules = files["pg_ident.conf"], files["pg_hba.conf"]
    before, after = ([line.text for line in lexer.read(text, major)] for text in (ident.before, ident.after))
    lost = [line for line in before if line not in after]
    if not lost:
        return [ident, rules]
    if all(line in before for line in after):
        return [rules, ident]
    both = "\n".join([ident.after.rstrip("\n"), *lost, ""])
    return [ident._replace(after=both), rules, ident._replace(before=both)]


def lasting(faults: Iterable[Fault], rewrites: Iterable[Rewrite], paths: Mapping[str, str], major: int) -> list[Fault]:
    """Return the faults that remain after the files are rewritten; ``paths`` says where the files are."""
    coming = {rewrite.name: lexer.read(rewrite.after, major) for rewrite in rewrites}

    def stays(fault: Fault) -> bool:
        lines = coming.get(fault.name)
        if lines is None or not fault.text:
            return True
        if fault.file == paths[fault.name]:
            return any(line.text == fault.text for line in lines)
        return any(line.fields[:1] and line.fields[0][0].text.startswith("include") for line in lines)

    return [fault for fault in faults if stays(fault)]


def _hba(target: Target, found: Found, management: Management) -> str:
    lines = target.hba
    if target.hba_mode == "replace":
        return configuration.whole_file(f"{_local_line(management)}\n{lines}")
    rest = clientcert_upgrade.upgraded(found.hba, found.major) if target.upgrade_clientcert else found.hba
    if configuration.is_whole_file(rest):  # written by a run with mode replace: what is no longer declared is removed
        rest = f"{_local_line(management)}\n"
    elif any(line.fields[:1] and line.fields[0][0].text == "local" for line in lexer.read(lines, found.major)):
        lines = f"{_local_line(management)}\n{lines}"
    coming = configuration.with_block(rest, lines, "pg_hba.conf")
    if not lexer.read(coming, found.major):
        raise TlsError(
            "pg_hba.conf: no rule would be left in it, and the server does not load a file without rules.",
            remedy=f"Declare one in {option('hba')}, or write one below the managed block.",
            code="hba_without_rules",
        )
    return coming


def _local_line(management: Management) -> str:
    """Return the rule that keeps this module's own connection; it comes before all others."""
    if management.role != management.os_user:
        raise TlsError(
            f"login_user is {management.role!r}, but the server runs as OS user {management.os_user!r}. Local rules of "
            f"your own and {option('hba_mode')} replace require both to be the same: the rule that keeps the "
            "management connection is local all ROLE peer.",
            code="management_role_mismatch",
        )
    return f"local all {lexer.word(management.role)} peer"


def _rewrite(name: str, before: str, after: str) -> Rewrite | None:
    return Rewrite(name, before, after) if before != after else None

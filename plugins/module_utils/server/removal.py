# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal: a transaction that removes this collection's rules, maps and settings from a server's files.

Their earlier content is still there, and takes effect again. Rules are removed before TLS, and neither step locks
anybody out.
"""

from __future__ import annotations

import os

from ansible_collections.pgops.tls.plugins.module_utils.core import directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.deployment import removal
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, lexer
from ansible_collections.pgops.tls.plugins.module_utils.server import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.server import refusals
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Rewrite
from ansible_collections.pgops.tls.plugins.module_utils.server.found import Found
from ansible_collections.pgops.tls.plugins.module_utils.server.native_tls import NativeTls
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome, Transaction


class RuleRemoval(Transaction):
    """One server that loses the rules and maps of this collection, and keeps its TLS."""

    is_whole = False  # whether TLS is removed, too

    def _run(self, *, check_mode: bool) -> Outcome:
        self.target = self.target._replace(hba="", ident="", hba_mode="block", plaintext="allow")
        recovered = self._recover(check_mode=check_mode)
        found = self._found()
        plan, whole = (plan_removal(found, is_whole=is_whole) for is_whole in (self.is_whole, True))
        own = NativeTls(self.state, self.included)
        self._refuse_end(whole, own)
        if not plan.is_empty:
            refusals.refuse_lock_out(plan, found, self.target, self.administrator, self.texts)
        self._refuse_unfit(whole, own)
        warnings = self._judge_sessions(whole, own)
        if not check_mode:
            if not plan.is_empty:
                self._transact(None, lambda: self._remove(plan, own))
            self._tidy()
        is_wanted = self.is_whole and self.target.remove_directory
        place = self.store.directory, self.administrator.account, self.program
        cleared = removal.clear(*place, is_wanted=is_wanted, check_mode=check_mode)
        return Outcome(
            plan=plan,
            changes=[*recovered, *plan.changes, *cleared],
            request=None,
            leaf=None,
            leaf_before=None,
            ssl_conf_before=self.target.ssl_conf,
            state=self.state,
            target=self.target,
            warnings=[*self.notes, *warnings],
        )

    def _refuse_end(self, whole: planning.Plan, own: NativeTls) -> None:
        """Stop for what would stop the whole removal, even if only the rules are removed now.

        Between the two steps, a fleet loses the files of its clients, which verify the server as it is. Raises
        TlsError.
        """
        if not whole.is_empty:
            refusals.refuse_broken_files(whole, self.state, self.texts, own.included)
        if whole.config:
            own.refuse_unusable(self.target, self.administrator.account)
        if self.target.remove_directory:
            own.refuse_files_in(self.store.generations)

    def _judge_sessions(self, whole: planning.Plan, own: NativeTls) -> list[str]:
        """Stop for sessions that could not reconnect once TLS is as before; if it stays for now, return a warning.

        Until then clients get their own files back, and reconnect. Raises TlsError.
        """
        if not whole.config or self.target.on_lockout != "refuse":
            return []
        try:
            own.refuse_lock_out(self.administrator, self.target)
        except TlsError as error:
            if self.is_whole:
                raise
            return [f"The removal would stop when it removes TLS, too. {error.message}"]
        return []

    def _refuse_unfit(self, plan: planning.Plan, own: NativeTls) -> None:
        """Stop when the transaction could not be recorded, or its result not be proven. Raises TlsError, OSError."""
        if not plan.is_empty and os.path.isdir(self.store.directory):
            who = f"OS user {self.administrator.account.name!r}, who runs the server,"
            why = "where every change is recorded before it is made"
            directory.refuse_unwritable(self.store.directory, who, why)
        if plan.config and own.fingerprint() == self.served and not self.prover.observes_log():
            raise TlsError(
                "The server would show the same certificate before and after, and its log cannot be read here. So "
                "nothing would prove that it loaded its own settings. Nothing was changed.",
                remedy=f"Set ssl_cert_file and ssl_key_file in {self.state.value('config_file')} to another "
                "certificate, or have it log to a file that its OS user can read. Then rerun.",
                code="reload_not_provable",
            )

    def _remove(self, plan: planning.Plan, own: NativeTls) -> None:
        self._write_rules(plan)
        if plan.config is not None:
            self.texts.write(plan.config, self.journal)
            self.prover.tls(own.fingerprint(), own.settings, is_new=False)


class Removal(RuleRemoval):
    """One server that returns to its state before this collection."""

    is_whole = True


def plan_removal(found: Found, *, is_whole: bool) -> planning.Plan:
    """Return the plan that removes what is ours; ``is_whole``: the settings, too. Raises TlsError."""
    if configuration.is_whole_file(found.hba):
        raise TlsError(
            f"pg_hba.conf: {option('hba_mode')} replace wrote all of it, and its earlier content is unknown. "
            "Nothing was changed.",
            remedy="To keep its rules, remove its first line, which marks it. Otherwise write your own.",
            code="hba_original_unknown",
        )
    texts = {"pg_ident.conf": found.ident, "pg_hba.conf": found.hba}
    rules = [
        Rewrite(name, before, after)
        for name, before in texts.items()
        for after in [configuration.with_block(before, "", name)]
        if after != before
    ]
    if any(one.name == "pg_hba.conf" and not lexer.read(one.after, found.major) for one in rules):
        raise TlsError(
            "pg_hba.conf: no rule would be left in it, and the server does not load a file without rules. Nothing was "
            "changed.",
            remedy="Write your own below the managed block.",
            code="hba_without_rules",
        )
    after = configuration.without_include(found.config) if is_whole else found.config
    config = Rewrite("postgresql.conf", found.config, after) if after != found.config else None
    changes = [f"{one.name}: without what this collection has added" for one in [config, *rules] if one]
    return planning.Plan([], None, config, rules, changes, relies_on_log=False)

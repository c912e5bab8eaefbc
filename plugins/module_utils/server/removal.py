# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way out: a transaction that takes rules, maps and settings of this collection out of a server's files.

What the files held before is still in them, and serves again. Rules go before TLS, and nobody is locked out by either.
"""

from __future__ import annotations

import os
import shutil

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, lexer
from ansible_collections.pgops.tls.plugins.module_utils.server import directory, refusals
from ansible_collections.pgops.tls.plugins.module_utils.server import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.server.own_tls import OwnTls
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome, Transaction


class RuleRemoval(Transaction):
    """One server that loses the rules and maps of this collection, and keeps its TLS."""

    is_whole = False  # whether TLS goes, too

    def run(self, *, check_mode: bool) -> Outcome:
        """Recover, plan, and unless ``check_mode`` remove. Raises TlsError, OSError."""
        self.target = self.target._replace(hba="", ident="", hba_mode="block", plaintext="allow", clients=[])
        recovered = self._recover(check_mode=check_mode)
        is_foreseen = bool(recovered) and check_mode
        found = self._found_after_recovery() if is_foreseen else self._found(self.store.current())
        plan = plan_removal(found, is_whole=self.is_whole)
        included = f"{self.store.current_link}/{planning.CONF}"
        own = OwnTls(self.state, included)
        if not plan.is_empty:
            refusals.refuse_broken_files(plan, self.state, self.texts, included)
            refusals.refuse_lock_out(plan, found, self.target, self.administrator, self.texts)
        if plan.config:
            own.refuse_unusable()
            if self.target.lock_out == "refuse":
                own.refuse_lock_out(self.administrator, self.target)
        if not check_mode:
            if not plan.is_empty:
                self._remove(plan, own)
            self._tidy()
        cleared = self._clear(check_mode=check_mode) if self.is_whole else []
        return Outcome(
            plan=plan,
            changes=[*recovered, *plan.changes, *cleared],
            request=None,
            leaf=None,
            leaf_before=None,
            ssl_conf_before=self.target.ssl_conf,
            version=self.state.version,
            target=self.target,
            warnings=[],
        )

    def _remove(self, plan: planning.Plan, own: OwnTls) -> None:
        try:
            self.journal.begin(None)
            self._write_rules(plan)
            if plan.config is not None:
                self.texts.write(plan.config, self.journal)
                self.prover.tls(own.fingerprint(), own.settings, is_new=False)
            self.journal.commit()
        except Exception as error:
            raise self._rolled_back(error, None) from error

    def _clear(self, *, check_mode: bool) -> list[str]:
        """Remove the directory if that is wanted, or if there is nothing in it; return what was removed, in words."""
        path = self.store.directory
        names = os.listdir(path) if os.path.isdir(path) else []
        if names and not self.target.remove_directory:
            return []
        if not check_mode:
            for name in names:
                whole = os.path.join(path, name)
                if os.path.isdir(whole) and not os.path.islink(whole):
                    shutil.rmtree(whole)
                else:
                    os.unlink(whole)
            directory.remove_empty(path, self.administrator.account)
        return [f"{path}: removed"] if names else []


class Removal(RuleRemoval):
    """One server that becomes what it was without this collection."""

    is_whole = True


def plan_removal(found: planning.Found, *, is_whole: bool) -> planning.Plan:
    """Return the plan that takes out what is ours; ``is_whole``: the settings, too. Raises TlsError."""
    if configuration.is_whole_file(found.hba):
        raise TlsError(
            "pg_hba.conf: all of it is from postgres_server_hba_mode replace, and nothing tells what was there before. "
            "Nothing was changed. If its rules are to stay, remove its first line, which marks it; else write your own."
        )
    texts = {"pg_ident.conf": found.ident, "pg_hba.conf": found.hba}
    rules = [
        planning.Rewrite(name, before, after)
        for name, before in texts.items()
        for after in [configuration.with_block(before, "", name)]
        if after != before
    ]
    if any(one.name == "pg_hba.conf" and not lexer.read(one.after, found.major) for one in rules):
        raise TlsError(
            "pg_hba.conf: no rule would be left in it, and with none the server takes no file. Nothing was changed. "
            "Write your own below the managed block."
        )
    after = configuration.without_include(found.config) if is_whole else found.config
    config = planning.Rewrite("postgresql.conf", found.config, after) if after != found.config else None
    changes = [f"{one.name}: without what this collection has added" for one in [config, *rules] if one]
    return planning.Plan([], None, config, rules, changes, relies_on_log=False)

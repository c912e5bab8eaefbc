# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal: a transaction that takes our line out of the configuration of a PgBouncer, and then our directory away.

See ``deployment/pair_removal.py``.
"""

from __future__ import annotations

from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pair_removal import PairRemoval
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini, lockout, log
from ansible_collections.pgops.tls.plugins.module_utils.pooler import refusals
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found, Plan
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.pooler.transaction import Transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate


class Removal(PairRemoval[Plan, Found, Target], Transaction):
    """One PgBouncer that loses the TLS of this collection."""

    def _text_without_ours(self, found: Found) -> str:
        return ini.without_include(found.text)

    def _still_used(self, found: Found) -> list[str]:
        lines = ini.settings(self._lines(found.text))
        used = {**{name: line.value for name, line in lines.items()}, **self._ours(found.config)}
        return [f"reload: {name} is still a file of this collection" for name in self._ours(used)]

    def _ours(self, settings: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in settings.items() if self.target.has(value)}

    def _refuse_removal(self, found: Found, text: str) -> str:  # noqa: ARG002 (its lines are those of the text)
        lines = self._lines(text)
        refusals.broken_line(lines, self.config, self.version, is_to_reload=True)
        self.prover.refuse_silent()
        self.file.refuse_unwritable()
        own = {name: line.value for name, line in ini.settings(lines).items()}
        for name in self._ours(own):
            raise TlsError(
                f"{ini.settings(lines)[name].place}: {name} is a file that is to be removed with "
                f"{self.target.pair.directory}. Nothing was changed.",
                remedy="Set it to a file elsewhere, or remove that line. Then rerun.",
                code="file_still_used",
            )
        if own.get("auth_type") == "cert" and own.get("client_tls_sslmode") != "verify-full":
            raise TlsError(
                f"{self.target.config_file}: auth_type is cert, which needs client_tls_sslmode verify-full. Without "
                "this collection it would be missing, and PgBouncer would keep its old settings. Nothing was changed.",
                remedy="Set client_tls_sslmode and its files there, or another auth_type. Then rerun.",
                code="pooler_sslmode_unfit",
            )
        leaf = _own_leaf(own)
        if not leaf and self.target.on_lockout == "refuse":
            lockout.refuse_without_tls(self.console, self.target.config_file)
        return leaf

    def _take_out(self, found: Found, text: str, leaf: str) -> None:
        known, start = self.console.servers(), log.position(self.config)
        if text != found.text:
            self.file.write(found.text, text, self.journal)
        self.prover.previous(leaf, self.target.pair.server.spec.names)
        self.prover.back(known, start, may_be_plain=True)
        left = self._ours(self.console.config())
        if left:
            raise TlsError(
                f"After the reload, PgBouncer still uses files of this collection: {', '.join(left)}.",
                code="file_still_used",
            )


def _own_leaf(own: Mapping[str, str]) -> str:
    """Return the fingerprint of the leaf that clients see with these settings, '' without TLS. Raises TlsError."""
    if own.get("client_tls_sslmode", "disable") == "disable":
        return ""
    path = own.get("client_tls_cert_file", "")
    chain = certificate.read_chain(files.read(path) if path else None, path)
    if not chain:
        raise TlsError(
            f"client_tls_cert_file: expected a PEM certificate in {path or 'it'}, found none. By its own settings "
            "PgBouncer would not offer TLS again. Nothing was changed.",
            remedy="Correct the settings client_tls_* in the configuration file of PgBouncer. Then rerun.",
            code="own_tls_unusable",
        )
    return chain[0].sha256

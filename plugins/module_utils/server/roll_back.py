# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back: a transaction whose target is the generation before the one in use.

Its files become a new generation, which is rehearsed, switched to and proven like any other change. The generation that
is left stays, as the one before. A mark in the new one records the roll-back, so the next one does nothing.
"""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import anchors
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.server import interference, refusals
from ansible_collections.pgops.tls.plugins.module_utils.server import plan as planning
from ansible_collections.pgops.tls.plugins.module_utils.server.found import (
    CERTIFICATE,
    CONF,
    DECLARED,
    LISTS,
    MODES,
    TRUSTED,
    Found,
    leaf_of,
)
from ansible_collections.pgops.tls.plugins.module_utils.server.generation import fitting
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome, Transaction
from ansible_collections.pgops.tls.plugins.module_utils.server.words import difference
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rollback_checks
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem

_STAYS = planning.Plan([], None, None, [], [], relies_on_log=False)


class RollBack(Transaction):
    """One server that is rolled back. The declared names and trusted authorities serve for the rehearsal."""

    def run(self, *, check_mode: bool) -> Outcome:
        """Recover, plan, and unless ``check_mode`` roll back. Raises TlsError, OSError.

        Undoing an interrupted run counts as the roll-back, unless that run was a roll-back itself.
        """
        declared = self.target
        is_back = self._is_open() and self.store.left_for(self.journal.staged()) is None
        recovered = self._recover(check_mode=check_mode)
        is_open = self._is_open()  # still, in check mode
        in_use = self.journal.originals()[0] if is_open else self.store.current()
        found = self._found()
        plan = _STAYS
        leaf = leaf_before = leaf_of(found.generation.get(CERTIFICATE))
        if not is_back and self.store.left_for(in_use) is None:
            plan = self._plan_back(found, in_use)
            if not check_mode:
                leaf = self._apply(plan)
        if not check_mode:
            self._tidy()
        return Outcome(
            plan=plan,
            changes=[*recovered, *plan.changes],
            request=None,
            leaf=leaf,
            leaf_before=leaf_before,
            ssl_conf_before=found.generation.get(CONF, b"").decode("utf-8", "replace"),
            state=self.state,
            target=self.target,
            warnings=self.notes if is_open else self._warnings(plan),
            next_run=self._next_run(declared, found, plan),
        )

    def _plan_back(self, found: Found, in_use: str | None) -> planning.Plan:
        """Return the plan that leads to the generation before, and make that the target. Raises TlsError."""
        name = self.store.before(in_use)
        if name is None:
            raise TlsError(
                f"{self.store.generations}: there is no generation before {in_use or 'the first one'}, so a roll-back "
                "is impossible. Nothing was changed.",
                code="previous_generation_missing",
            )
        with rollback_checks.explained(name, self.store.generations):
            contents = self._contents_of(name)
            _keep_revocations(contents, self.target)
            chain = read_pem(contents[CERTIFICATE].decode("ascii", "replace"), CERTIFICATE)
            leaf = chain[0]
            # Chains are not restored as they were: an authority that left them may no longer be trusted
            contents[CERTIFICATE] = chains.pem(fitting(chain, self.target, self.now))
            rollback_checks.refuse_dates(leaf, CERTIFICATE, self.now)
            rollback_checks.refuse_revoked(leaf, CERTIFICATE, self.target.revoked)
            trusted = contents[TRUSTED].decode("ascii", "replace")
            roots = anchors(self.target.trusted_clients, "trusted_clients")
            rollback_checks.refuse_lost_trust(trusted, roots, TRUSTED, self.now)
            self.target = _as_in(self.target, contents)
            plan = plan_back(found, contents, self.target, in_use or "", name)
            included = f"{self.store.current_link}/{CONF}"
            refusals.refuse_settings(self.target, self.state, included)
            interference.refuse_revocations_that_end(self.target, self.state, included)
            refusals.refuse_useless_lists(plan, found, self.target, self.now)
            if plan.relies_on_log and not self.prover.observes_log():
                raise TlsError(
                    f"{CERTIFICATE}: it is the same in both, so no handshake could prove the change, and the "
                    "server's log cannot be read here.",
                    code="reload_not_provable",
                )
            self._rehearse(name)
        refusals.refuse_broken_files(plan, self.state, self.texts, included)
        return plan

    def _contents_of(self, name: str) -> dict[str, bytes]:
        """Return the files of a generation. Raises TlsError when one cannot be read."""
        contents = {file: self.look.read(name, file) for file in MODES}
        missing = [file for file, content in contents.items() if content is None and file != LISTS]
        if missing:
            raise TlsError(
                f"{', '.join(missing)}: expected in it, and readable for the server's OS user; found none.",
                code="generation_file_missing",
            )
        return {file: content for file, content in contents.items() if content is not None}

    def _next_run(self, declared: Target, found: Found, plan: planning.Plan) -> list[str]:
        """Return what the declared state will change after the roll-back, in words."""
        generation = plan.contents or found.generation
        leaf = leaf_of(generation.get(CERTIFICATE))
        coming = found._replace(generation=generation, repairs=[], served=leaf.sha256 if leaf else "")
        try:
            return planning.make(declared._replace(renew=False), coming, self.management, self.now).changes
        except TlsError as error:
            return [error.message]


def plan_back(found: Found, contents: dict[str, bytes], target: Target, in_use: str, name: str) -> planning.Plan:
    """Return the plan that leads from generation ``in_use`` to the ``contents`` of generation ``name``.

    Raises TlsError when they are the same.
    """
    differing = [file for file in MODES if found.generation.get(file) != contents.get(file)]
    if not differing:
        raise TlsError(
            f"It has the same files as {in_use}, so a roll-back would change nothing.",
            code="previous_generation_identical",
        )
    leaf, before = leaf_of(contents[CERTIFICATE]), leaf_of(found.generation.get(CERTIFICATE))
    changes = [f"generation: from {in_use} back to the files of {name}"]
    if leaf is not None and CERTIFICATE in differing:
        serial = f"{before.serial:x}" if before else "none"
        changes.append(f"certificate: serial {serial} -> {leaf.serial:x}, not after {clock.instant(leaf.not_after)}")
    changes += [difference(file, found, target) for file in DECLARED if file in differing]
    relies_on_log = leaf is not None and found.served == leaf.sha256
    return planning.Plan([], contents, None, [], changes, relies_on_log, in_use)


def _keep_revocations(contents: dict[str, bytes], target: Target) -> None:
    """Replace a generation's lists of revoked certificates with today's. Raises TlsError.

    Older lists are not restored: they would accept certificates revoked since, and none once they have expired.
    """
    if not target.crls:
        return
    if not settings.parse(contents[CONF].decode("utf-8", "replace")).get("ssl_crl_file"):
        raise TlsError(
            f"{CONF}: it is older than the first revocation. With it, the server would not check for revoked "
            "certificates, and would accept them again.",
            code="revocation_check_lost",
        )
    contents[LISTS] = target.crls.encode()


def _as_in(target: Target, contents: dict[str, bytes]) -> Target:
    """Return a target with the certificate, the trust and the settings of a generation. Raises TlsError."""
    conf = contents[CONF].decode("utf-8", "replace")
    return target._replace(
        certificate=contents[CERTIFICATE].decode("ascii", "replace"),
        trusted_clients=contents[TRUSTED].decode("ascii", "replace"),
        ssl_conf=conf,
        settings=settings.parse(conf),
    )

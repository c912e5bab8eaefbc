# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-back of a server: see ``deployment/roll_back.py``."""

from __future__ import annotations

from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import anchors
from ansible_collections.pgops.tls.plugins.module_utils.deployment import roll_back
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
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.transaction import Outcome, Transaction
from ansible_collections.pgops.tls.plugins.module_utils.server.words import difference
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rollback_checks
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem


class RollBack(roll_back.RollBack[planning.Plan, Found, Outcome], Transaction):
    """One server that is rolled back. The declared names and trusted authorities serve for the rehearsal."""

    stays = planning.Plan([], None, None, [], [], relies_on_log=False)

    def _run(self, *, check_mode: bool) -> Outcome:
        self.declared, self.target = self.target, self.target._replace(existing=None)
        return super()._run(check_mode=check_mode)

    def _plan_back(self, found: Found, in_use: str, name: str) -> planning.Plan:
        contents = self._contents_of(name, [file for file in MODES if file != LISTS])
        _keep_revocations(contents, self.target, self._read(name, LISTS))
        chain = read_pem(contents[CERTIFICATE].decode("ascii", "replace"), CERTIFICATE)
        # Chains are not restored as they were: an authority that left them may no longer be trusted
        contents[CERTIFICATE] = chains.pem(self.target.offer.fitting(chain, self.now))
        rollback_checks.refuse_dates(chain[0], CERTIFICATE, self.now)
        rollback_checks.refuse_revoked(chain[0], CERTIFICATE, self.target.revoked)
        trusted = contents[TRUSTED].decode("ascii", "replace")
        roots = anchors(self.target.trusted_clients, "trusted_clients")
        rollback_checks.refuse_lost_trust(trusted, roots, TRUSTED, self.now)
        self.target = _as_in(self.target, contents)
        plan = plan_back(found, contents, self.target, in_use)
        refusals.refuse_settings(self.target, self.state, self.included)
        interference.refuse_revocations_that_end(self.target, self.state, self.included)
        refusals.refuse_useless_lists(plan, found, self.target, self.now)
        if plan.relies_on_log and not self.prover.observes_log():
            raise TlsError(
                f"{CERTIFICATE}: it is the same in both, so no handshake could prove the change, and the "
                "server's log cannot be read here.",
                code="reload_not_provable",
            )
        self._rehearse(name)
        return plan

    def _refuse(self, plan: planning.Plan, _found: Found, *, check_mode: bool) -> None:  # noqa: ARG002
        if plan.changes:
            refusals.refuse_broken_files(plan, self.state, self.texts, self.included)
        self.notes += self._warnings(plan)

    def _next(self, generation: Mapping[str, bytes], found: Found) -> list[str]:
        leaf = leaf_of(generation.get(CERTIFICATE))
        coming = found._replace(generation=dict(generation), repairs=[], served=leaf.sha256 if leaf else "")
        coming = coming._replace(offered=self._offered(self.declared))
        declared = self.declared._replace(renew=bool(self._wished(self._leaves(generation))))
        return planning.make(declared, coming, self.management, self.now).changes


def plan_back(found: Found, contents: dict[str, bytes], target: Target, in_use: str) -> planning.Plan:
    """Return the plan that leads from generation ``in_use`` to ``contents``. Raises TlsError when they are the same."""
    differing = [file for file in MODES if found.generation.get(file) != contents.get(file)]
    roll_back.refuse_same(differing, in_use)
    leaf, before = leaf_of(contents[CERTIFICATE]), leaf_of(found.generation.get(CERTIFICATE))
    changes = []
    if leaf is not None and CERTIFICATE in differing:
        serial = f"{before.serial:x}" if before else "none"
        changes.append(f"certificate: serial {serial} -> {leaf.serial:x}, not after {clock.instant(leaf.not_after)}")
    changes += [difference(file, found, target) for file in DECLARED if file in differing]
    relies_on_log = leaf is not None and found.served == leaf.sha256
    return planning.Plan([], contents, None, [], changes, relies_on_log)


def _keep_revocations(contents: dict[str, bytes], target: Target, lists: bytes | None) -> None:
    """Replace a generation's lists of revoked certificates, if it has any, with today's. Raises TlsError.

    Older lists are not restored: they would accept certificates revoked since, and none once they have expired.
    """
    if not target.crls:
        contents.update({LISTS: lists} if lists is not None else {})
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

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roots are replaced, and hosts rolled back, with a PgBouncer in the fleet: it follows, or is waited for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import loops, poolers
from ansible_collections.pgops.tls.tests.endings import refused, well
from ansible_collections.pgops.tls.tests.poolers import Pooler
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, SILENT
from ansible_collections.pgops.tls.tests.system.playbooks.test_poolers import IDENT, RULES

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
ROTATE = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
ROLL_BACK = [{"ansible.builtin.import_playbook": "pgops.tls.roll_back"}]


@pytest.fixture(scope="module")
def pooler(shared_cluster: Any) -> Iterator[Pooler]:
    with poolers.running(shared_cluster) as running:
        yield running


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any, pooler: Pooler) -> Any:
    """Set up a server, a client host, and a pooler."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    well(run(made, pooler))
    return made


def run(
    site: Any, pooler: Pooler, *options: str, playbook: Any = None, **variables: object
) -> subprocess.CompletedProcess[str]:
    inventory = poolers.declare(site.inventory(), pooler, **variables)
    own = {"postgres_server_hba": RULES, "postgres_server_ident": IDENT, "postgres_ca_outside_trust": "none"}
    done: subprocess.CompletedProcess[str] = site.run(*options, playbook=playbook, inventory=inventory, **own)
    return done


def leaves(pooler: Pooler) -> list[certificate.Certificate]:
    """Return the certificates of both directions."""
    return [certificate.read_pem(one.decode(), "leaf")[0] for one in pooler.leaves()]


def roots(pooler: Pooler) -> dict[str, set[str | None]]:
    """Return the roots that the pooler trusts in both directions."""
    found = {name: (pooler.directory / "current" / name).read_text() for name in ("root.crt", "trusted-clients.crt")}
    certificates = {name: certificate.read_pem(text, name) for name, text in found.items()}
    return {name: {one.common_name for one in all_ if one.is_self_issued} for name, all_ in certificates.items()}


@ONLY_THOROUGH
def test_a_new_root_waits_for_a_pooler_that_is_away_and_names_it(site: Any, pooler: Pooler) -> None:
    before = roots(pooler)
    output = refused(run(site, pooler, playbook=ROTATE, **SILENT))
    assert "stage a new client CA, which everybody is to trust before it issues" in output
    assert re.search(
        r"Phase switch .*\bpool1: it could not be reached in this run\. Its last certificate is of", output
    )
    assert roots(pooler) == before

    left_out = site.inventory()
    output = refused(
        site.run(playbook=ROTATE, inventory=left_out, postgres_server_hba=RULES, postgres_server_ident=IDENT)
    )
    assert re.search(r"Phase switch .*\bpool1: it is not in the inventory\.", output)
    assert "pool1/pooler/back (client certificate" in output
    assert "pool1/pooler/front (server certificate" in output


@ONLY_THOROUGH
def test_all_phases_bring_a_pooler_along_and_no_connection_through_it_fails(site: Any, pooler: Pooler) -> None:
    old, trusted = leaves(pooler), roots(pooler)
    target = f"host=localhost port={pooler.port} user=app dbname=shop sslmode=verify-full"
    with loops.beside(loops.by_psql(site, target)) as counted:
        output = well(run(site, pooler, playbook=ROTATE))
    assert set(counted[0]) == {""}, counted
    assert counted[0][""] > 20
    assert "Nothing is left to do." in output
    assert not {one.issuer_common_name for one in old} & {one.issuer_common_name for one in leaves(pooler)}
    for name, names in roots(pooler).items():
        assert len(names) == 1
        assert not names & trusted[name]
    assert pooler.serial() == str(leaves(pooler)[1].serial)
    assert not re.search(r"changed=[1-9]", well(run(site, pooler)))


@ONLY_THOROUGH
def test_a_pooler_can_be_rolled_back_alone(site: Any, pooler: Pooler) -> None:
    well(run(site, pooler, postgres_pooler_renew=True))
    first = leaves(pooler)
    well(run(site, pooler, postgres_pooler_renew=True))
    second = leaves(pooler)
    foreseen = run(site, pooler, "--limit", "pool1", "--check", playbook=ROLL_BACK)
    assert "pool1                      : ok" in well(foreseen)
    assert leaves(pooler) == second
    output = well(run(site, pooler, "--limit", "pool1", playbook=ROLL_BACK))
    assert re.search(r"^pool1 .*changed=1 ", output, re.MULTILINE)
    assert leaves(pooler) == first
    assert "changed=0" in well(run(site, pooler, "--limit", "pool1", playbook=ROLL_BACK))
    assert leaves(pooler) == first
    assert Path(pooler.directory / "current").is_symlink()

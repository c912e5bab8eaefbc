# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PgBouncer in the fleet of site.yml: check mode, set-up, a second run, renewal, roll-back, failures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import poolers
from ansible_collections.pgops.tls.tests.poolers import SECRET, Pooler
from ansible_collections.pgops.tls.tests.shared import RECAP

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
# Rules of the inventory's own: the pooler's certificate may be role app, and app's own certificate, too
RULES = [{"database": ["all"], "user": "app", "method": "cert", "map": "pooler"}]
IDENT = [{"map": "pooler", "system_user": one, "database_user": "app"} for one in ("pgbouncer", "app")]


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    shared_cluster.psql("CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


@pytest.fixture(scope="module")
def pooler(shared_cluster: Any) -> Iterator[Pooler]:
    with poolers.running(shared_cluster) as running:
        yield running


def run(site: Any, pooler: Pooler, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run site.yml with a pooler in the inventory; no output may hold what is in its files."""
    inventory = poolers.declare(site.inventory(), pooler, **variables)
    inventory["all"]["vars"].update(postgres_server_hba=RULES, postgres_server_ident=IDENT)
    done: subprocess.CompletedProcess[str] = site.run(*options, inventory=inventory)
    assert SECRET not in done.stdout + done.stderr
    assert "PRIVATE KEY" not in done.stdout + done.stderr
    return done


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tasks changed each host, of a run without a failure."""
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: int(changed) for host, changed, _unreachable, _failed in RECAP.findall(done.stdout)}


def test_check_mode_foresees_the_changes_and_makes_none(site: Any, pooler: Pooler) -> None:
    before = pooler.disk()
    done = run(site, pooler, "--check", "--diff")
    assert changes(done)["pool1"] == 1
    assert pooler.disk() == before
    assert "+to be issued, because: no_certificate" in done.stdout


def test_the_first_run_sets_it_up_and_the_second_changes_nothing(site: Any, pooler: Pooler) -> None:
    assert all(changes(run(site, pooler, "--diff")).values())
    serial = pooler.serial()
    assert serial, "PostgreSQL sees the pooler's certificate"
    disk = pooler.disk()
    assert changes(run(site, pooler)) == {"db1": 0, "app1": 0, "pool1": 0}
    assert (pooler.disk(), pooler.serial()) == (disk, serial)


def test_the_ledger_knows_both_certificates(site: Any) -> None:
    ledger = (site.authorities / "ledger.jsonl").read_text()
    assert re.findall(r'"id": ?"(pool1/[^"]*)"', ledger)[:2] == ["pool1/pooler/front", "pool1/pooler/back"]


def test_a_renewal_replaces_both(site: Any, pooler: Pooler) -> None:
    before = pooler.leaves()
    assert changes(run(site, pooler, postgres_pooler_renew=True))["pool1"] == 1
    assert not {*before} & {*pooler.leaves()}
    assert pooler.query("SELECT 1") == b"1"


def test_a_renewal_of_which_one_request_is_refused_installs_the_other_and_fails(site: Any, pooler: Pooler) -> None:
    python = site.directory / "garbling"
    python.write_text(f"""#!/bin/sh\n{sys.executable} "$@" | sed 's/REQUEST-----\\\\nM/REQUEST-----\\\\nN/'\n""")
    python.chmod(0o755)
    front, back = pooler.leaves()
    done = run(site, pooler, postgres_pooler_renew=True, ansible_python_interpreter=str(python))
    failed = {host: int(one) for host, _changed, _unreachable, one in RECAP.findall(done.stdout)}
    assert failed == {"db1": 0, "app1": 0, "pool1": 1}, done.stdout
    assert "requests[pool1/pooler/front].csr: expected a certificate request" in done.stdout
    assert pooler.leaves()[0] == front
    assert pooler.leaves()[1] != back


def test_a_pooler_that_fails_stops_nobody_else_and_is_summed_up(site: Any, pooler: Pooler) -> None:
    pooler.stop()
    done = run(site, pooler)
    pooler.start()
    assert done.returncode == 2
    failed = {host: int(one) for host, _changed, _unreachable, one in RECAP.findall(done.stdout)}
    assert failed == {"db1": 0, "app1": 0, "pool1": 1}
    assert re.search(r"pool1 \(pooler\): No PgBouncer was found on port", done.stdout), done.stdout
    assert "connections from 1 client host" in done.stdout, "the clients had their turn"


MISTAKES: dict[str, tuple[object, str]] = {
    "postgres_pooler_names": ([], "no names were given"),
    "postgres_pooler_port": (0, "found 0, expected a TCP port"),
    "postgres_pooler_role": ("", "found ''"),
    "postgres_pooler_settings": ({"listen_port": "1"}, "found 'listen_port', expected some of client_tls_protocols"),
    "postgres_pooler_client_authority": ("Server!", "found 'Server!'"),
    "postgres_pooler_renew_before": ("90d", "90d is not shorter than the life of a certificate"),
}


@pytest.mark.parametrize("is_type", [True, False])
def test_mistakes_stop_the_run_before_any_host(site: Any, pooler: Pooler, is_type: bool) -> None:
    disk, files = pooler.disk(), site.files()
    if is_type:
        done = run(site, pooler, postgres_pooler_client_tls_sslmode="on", postgres_pooler_nmaes=["a"])
        messages = ["postgres_pooler_client_tls_sslmode must be one of", "postgres_pooler_nmaes"]
    else:
        done = run(site, pooler, **{name: value for name, (value, _message) in MISTAKES.items()})
        messages = [f"pool1: {name}: {message}" for name, (_value, message) in MISTAKES.items()]
    assert done.returncode == 2
    told = " ".join(done.stdout.split())
    assert [one for one in messages if one not in told] == [], done.stdout
    assert (pooler.disk(), site.files()) == (disk, files)

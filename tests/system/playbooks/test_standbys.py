# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby in the fleet of site.yml: set-up, a second run, renewal, a failure, and a primary that is not asked."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import prometheus, replicas
from ansible_collections.pgops.tls.tests.replicas import ROLE, SECRET
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP, ROOT
from ansible_collections.pgops.tls.tests.system.conftest import run_as

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user")


@contextlib.contextmanager
def home_of_clusters() -> Iterator[Path]:
    """Give the OS user that runs clusters another home for its files."""
    made = Path(tempfile.mkdtemp(prefix="pgtls-home-", dir="/tmp"))
    replicas.give(made, pwd.getpwnam("postgres"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with home_of_clusters() as made:
        yield made


def follow(primary: Any, standby: Any) -> None:
    """Have one cluster follow another one in plaintext."""
    primary.psql("CREATE ROLE app LOGIN")
    replicas.prepare(primary)
    replicas.copied(primary, standby, run_as)


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any, billing: Any) -> Any:
    """Give a fleet whose second server follows the first in plaintext."""
    follow(shared_cluster, billing)
    return site_on(shared_cluster)


def fleet(site: Any, standby: Any, home: Path) -> dict[str, Any]:
    """Return an inventory whose second server replicates from the first by a certificate of its own."""
    identity = {"role": ROLE, "os_user": "postgres", "databases": ["replication"], "home": str(home)}
    found: dict[str, Any] = site.inventory()
    found["postgres_servers"]["hosts"]["db2"] = {**site.server_on(standby), "postgres_server_replication_role": ROLE}
    found["postgres_clients"]["hosts"]["db2"] = {
        "postgres_client_identities": [{**identity, "default_files": False, "servers": ["db1"]}]
    }
    return found


@pytest.fixture
def run(site: Any, billing: Any, home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs site.yml; no output may hold the standby's password."""

    def made(*options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        inventory = fleet(site, billing, home)
        done: subprocess.CompletedProcess[str] = site.run("-v", *options, inventory=inventory, **variables)
        assert SECRET not in done.stdout + done.stderr
        return done

    return made


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tasks changed each host, of a run without a failure."""
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: int(changed) for host, changed, _unreachable, _failed in RECAP.findall(done.stdout)}


def serial(site: Any) -> str:
    """Return the certificate that the primary sees of its standby, in hexadecimal."""
    found = site.cluster.psql(
        "SELECT client_serial FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE state = 'streaming'"
    )
    return f"{int(found):x}" if found else ""


def test_a_role_without_an_identity_stops_the_run_before_any_host(run: Any, site: Any) -> None:
    before = site.files()
    done = run(postgres_server_replication_role="nobody")
    assert done.returncode == 2
    told = "db1: postgres_server_replication_role: found 'nobody', but no identity in postgres_client_identities"
    assert told in " ".join(done.stdout.split()), done.stdout
    assert site.files() == before


def test_the_first_run_sets_it_up_and_tells_of_plaintext(run: Any, site: Any) -> None:
    done = run(postgres_server_plaintext="allow")
    assert all(changes(done).values())
    assert "has sslmode=disable in primary_conninfo" in " ".join((done.stdout + done.stderr).split())
    found = serial(site)
    assert found
    assert f"standby: db1 shows certificate {found}." in done.stdout


def test_the_next_run_ends_plaintext_and_the_one_after_it_changes_nothing(run: Any, billing: Any) -> None:
    changes(run())
    receiver = billing.psql("SELECT pid FROM pg_stat_wal_receiver")
    done = run()
    assert changes(done) == {"db1": 0, "app1": 0, "db2": 0}
    assert "pgops.tls.postgres_server : Have the server" not in done.stdout, "nobody is asked"
    assert billing.psql("SELECT pid FROM pg_stat_wal_receiver") == receiver


def test_a_report_tells_of_the_standby_from_both_ends(run: Any, site: Any) -> None:
    done = run(playbook=[{"ansible.builtin.import_playbook": "pgops.tls.report"}])
    assert changes(done) == {"db1": 0, "app1": 0, "db2": 0}
    data = json.loads((site.directory / "postgres-report" / "report.json").read_text())
    assert data["servers"]["db1"]["replication"] == []
    (one,) = data["servers"]["db2"]["replication"]
    assert (one["upstreams"], one["is_managed"], one["encryption"], one["sslmode"], one["findings"]) == (
        ["db1"],
        True,
        "tls",
        "verify-full",
        [],
    )
    assert one["serial_in_use"] == one["serial"] == serial(site)
    text = (site.directory / "postgres-report" / "report.html").read_text()
    row = re.search(r"<h2>Replication</h2>.*?<tbody>\n(<tr>.*?</tr>)", text, re.DOTALL)
    assert row
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row[1])[:4] == ["db2", "standby", "db1", "verified"]
    found = prometheus.parse((site.directory / "postgres-report" / "report.prom").read_text())
    labels = frozenset({("host", "db2"), ("connection", "standby")})
    assert found["pgops_tls_replication_encrypted", labels] == 1


def test_a_renewal_has_it_connect_again(run: Any, site: Any) -> None:
    before = serial(site)
    done = run(postgres_client_renew=True)
    changes(done)
    found = serial(site)
    assert found not in ("", before)
    assert f"standby: db1 shows certificate {found}." in done.stdout


@ONLY_THOROUGH
def test_without_the_primary_the_run_says_what_was_proven(run: Any, site: Any) -> None:
    before = serial(site)
    done = run("--limit", "db2", "--skip-tags", "verify", postgres_client_renew=True)
    changes(done)
    assert serial(site) not in ("", before)
    assert "standby: only this server was asked" in done.stdout


@ONLY_THOROUGH
def test_a_refusal_is_summed_up_and_the_old_connection_continues(run: Any, site: Any, billing: Any) -> None:
    before = serial(site), billing.psql("SELECT pid FROM pg_stat_wal_receiver")
    site.cluster.psql(f"ALTER ROLE {ROLE} NOLOGIN")
    done = run("--skip-tags", "verify", postgres_client_renew=True)
    site.cluster.psql(f"ALTER ROLE {ROLE} LOGIN")
    assert done.returncode == 2
    told = " ".join(done.stdout.replace('\\"', '"').split())
    assert re.search(r'db2 \(replication\): This standby .* role "replicator" is not permitted to log in\. ', told)
    assert (serial(site), billing.psql("SELECT pid FROM pg_stat_wal_receiver")) == before
    changes(run())
    assert serial(site) != before[0], "the next run finds that it is left to do"


@ONLY_THOROUGH
def test_the_files_of_a_standby_are_not_removed(run: Any, site: Any) -> None:
    before = site.files(), serial(site)
    for options in (["--check"], []):
        done = run("--limit", "all", *options, playbook=str(ROOT / "playbooks" / "remove.yml"))
        assert done.returncode == 2
        assert "This server replicates with /tmp/pgtls-home-" in " ".join(done.stdout.split()), done.stdout
        assert (site.files(), serial(site)) == before

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An identity that goes through a PgBouncer: rules, services, verification, revocation, report and removal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import poolers
from ansible_collections.pgops.tls.tests.adoption import REMOVE
from ansible_collections.pgops.tls.tests.endings import as_line, refused, well
from ansible_collections.pgops.tls.tests.poolers import Pooler
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
SEEN = "PostgreSQL saw the certificate of the pooler"


@pytest.fixture(scope="module")
def pooler(shared_cluster: Any) -> Iterator[Pooler]:
    """Run a PgBouncer whose database has the name that it has in PostgreSQL."""
    shared_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE batch LOGIN")
    shared_cluster.psql("CREATE DATABASE shop")
    with poolers.running(shared_cluster) as running:
        configure(running, "auth_type = trust")
        running.restart()
        yield running


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    return site_on(shared_cluster)


def configure(pooler: Pooler, auth: str) -> None:
    pooler.write_ini(database=f"host=127.0.0.1 port={pooler.cluster.port} dbname=shop", before=auth)


def fleet(site: Any, pooler: Pooler, **variables: object) -> dict[str, Any]:
    """Return an inventory where app goes through the pooler, and batch connects directly."""
    own = {"postgres_pooler_servers": ["postgres_servers"], **variables}
    inventory = poolers.declare(site.inventory(), pooler, **own)
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"] = [
        {"role": "app", "os_user": site.os_users[0], "databases": ["shop"], "servers": ["pool1"]},
        {"role": "batch", "os_user": site.os_users[1], "databases": ["shop"]},
    ]
    return inventory


def run(
    site: Any, pooler: Pooler, *options: str, playbook: Any = None, everywhere: Any = None, **variables: object
) -> subprocess.CompletedProcess[str]:
    inventory = fleet(site, pooler, **variables)
    done: subprocess.CompletedProcess[str] = site.run(
        *options, playbook=playbook, inventory=inventory, **(everywhere or {})
    )
    return done


def rows(output: str) -> list[list[str]]:
    """Return the rows of the table about the pooler, in columns."""
    return [re.split(r" {2,}", row) for row in re.findall(r'"(app1 +\S+ +pool1 .*?)"', output)]


def test_without_the_servers_behind_it_the_run_says_once_what_to_declare(site: Any, pooler: Pooler) -> None:
    done = run(site, pooler, "--check", postgres_pooler_servers=[])
    assert done.returncode == 0, done.stdout + done.stderr
    warning = "pool1: identities go through this pooler, but postgres_pooler_servers does not say which servers"
    assert as_line(done).count(warning) == 1


def test_the_first_run_makes_rules_and_services_and_proves_the_way_through(site: Any, pooler: Pooler) -> None:
    output = well(run(site, pooler))
    hba = (site.cluster.data / "pg_hba.conf").read_text()
    assert "hostssl shop app samehost cert map=pgops_pooler\nhostssl shop app all reject\n" in hba
    assert "hostssl shop batch all cert\n" in hba
    assert "pgops_pooler pgbouncer app\n" in (site.cluster.data / "pg_ident.conf").read_text()
    found = rows(output)
    assert {row[3] for row in found} == {f"localhost:{pooler.port}", f"127.0.0.1:{pooler.port}"}
    accepted = [row for row in found if row[4].startswith("accepted")]
    assert accepted
    assert all(row[5] == "ok" and row[-1].endswith(SEEN) for row in accepted), accepted
    assert {row[4] for row in found if row not in accepted} == {
        "refused: plaintext",
        "refused: certificate of a foreign CA",
        "refused: wrong host name",
        "refused: foreign root at the client",
    }
    assert {row[5] for row in found} == {"ok"}
    (leaf, *_others) = certificate.read_pem(pooler.leaves()[1].decode(), "leaf")
    assert pooler.serial() == str(leaf.serial)
    assert site.connect(0, "service=app@pool1").stdout == "1\n"
    before = site.files()
    assert not re.search(r"changed=[1-9]", well(run(site, pooler)))
    assert site.files() == before


@ONLY_THOROUGH
def test_a_pooler_that_demands_a_certificate_must_refuse_who_has_none(site: Any, pooler: Pooler) -> None:
    well(run(site, pooler, postgres_pooler_client_tls_sslmode="verify-full"))
    included = re.search(r"(?s); pgops\.tls.*", pooler.ini.read_text())
    assert included
    pooler.ini.write_text(pooler.ini.read_text().replace("auth_type = trust", "auth_type = cert"))
    pooler.restart()
    output = well(run(site, pooler, postgres_pooler_client_tls_sslmode="verify-full"))
    found = {row[4]: row for row in rows(output)}
    assert found["refused: no client certificate"][5] == "ok"
    assert found["accepted"][-1].endswith(SEEN)


@ONLY_THOROUGH
def test_revoked_certificates_that_it_accepts_are_told_until_they_expire(site: Any, pooler: Pooler) -> None:
    ledger = [json.loads(line) for line in (site.authorities / "ledger.jsonl").read_text().splitlines()]
    old = next(line["serial"] for line in ledger if line["id"].endswith("/batch"))
    revoked = {"postgres_ca_revoked": [{"serial": old}]}
    mode = {"postgres_pooler_client_tls_sslmode": "verify-full"}
    done = run(site, pooler, everywhere=revoked, **mode)
    assert "WARNING: these poolers accept revoked certificates of client authority client until" in well(done)
    assert old in as_line(done)
    assert "hostssl all ROLE all reject" in as_line(run(site, pooler, **mode)), "the record remembers it"


@ONLY_THOROUGH
def test_the_report_has_both_certificates(site: Any, pooler: Pooler) -> None:
    mode = {"postgres_pooler_client_tls_sslmode": "verify-full"}
    well(run(site, pooler, playbook="pgops.tls.report", **mode))
    data = json.loads((site.directory / "postgres-report" / "report.json").read_text())
    own = data["poolers"]["pool1"]
    assert own["status"] == "ok"
    assert {name: one["reasons"] for name, one in own["certificates"].items()} == {"front": [], "back": []}
    serials = [f"{certificate.read_pem(one.decode(), '')[0].serial:x}" for one in pooler.leaves()]
    assert [own["certificates"][name]["serial"] for name in ("front", "back")] == serials
    revoked = [json.loads(line)["serial"] for line in (site.authorities / "revoked.jsonl").read_text().splitlines()]
    assert own["accepted_revoked"] == revoked != []
    metrics = (site.directory / "postgres-report" / "report.prom").read_text()
    assert f'pooler_accepted_revoked_certificates{{host="pool1"}} {len(revoked)}' in metrics
    assert 'certificate_due{host="pool1",kind="pooler",identity="back"} 0' in metrics
    assert not [one for one in data["servers"]["db1"]["sessions"] if "old_certificate" in one["findings"]]


@ONLY_THOROUGH
def test_a_pooler_is_not_removed_before_its_clients_and_then_with_all_others(site: Any, pooler: Pooler) -> None:
    disk = pooler.disk()
    output = refused(run(site, pooler, "--limit", "pool1", playbook=REMOVE))
    assert re.search(r"Not in --limit: app1 \(\S+/app\) verify pool1, whose certificates would go\.", output)
    assert pooler.disk() == disk
    pooler.ini.write_text(pooler.ini.read_text().replace("auth_type = cert", "auth_type = trust"))
    mode: dict[str, Any] = {"postgres_pooler_client_tls_sslmode": "verify-full"}
    held = "Live sessions use TLS, which the server would no longer offer: app@shop from 127.0.0.1"
    assert held in refused(run(site, pooler, "--limit", "all", playbook=REMOVE, **mode)), "the pooler keeps some open"
    mode["everywhere"] = {"postgres_server_on_lockout": "allow"}
    foreseen = well(run(site, pooler, "--limit", "all", "--check", playbook=REMOVE, **mode))
    assert re.search(r"^pool1 .*changed=1 ", foreseen, re.MULTILINE)
    well(run(site, pooler, "--limit", "all", playbook=REMOVE, **mode))
    assert "%include" not in pooler.ini.read_text()
    assert not pooler.directory.exists()

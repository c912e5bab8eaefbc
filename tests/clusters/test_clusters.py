# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of three clusters in one inventory: each connection of its graph is tried in each run, and no other."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.tests import tables
from ansible_collections.pgops.tls.tests.clusters import edges
from ansible_collections.pgops.tls.tests.clusters.conftest import CA_DIRECTORY, CA_HOST, Replication, serial_of
from ansible_collections.pgops.tls.tests.clusters.seen import ACCEPTED, counts_line, seen
from ansible_collections.pgops.tls.tests.fleets import molecule_variables
from ansible_collections.pgops.tls.tests.shared import FILES, ROOT

HOSTS = ("shop1", "shop2", "billing1", "analytics1", "app1", "app2", "app3")
STEPS = ("first_run", "second_run", "renewal", "rollover", "after_rollover")
UNCHANGED = ("second_run", "after_rollover", "after_jobs")
# Jobs at the same time: each has servers and client hosts, and clients whose servers are in another job
JOBS = ("shop:app2", "billing:app1", "analytics:app3")
# What rotate_ca.yml says of its phases, and the tables behind them; the first table shows problems alone
PHASES = {
    "stage a new billing CA": "stage",
    "let the staged billing CA issue from now on": "switch",
    "take the old billing root out of chains": "retire, chains",
    "trust the old billing root no longer": "retire, trust",
    "remove the private keys of the old billing CA": "finish",
}
TABLES = {"rollover": ["before", *PHASES.values()][:-1]}
ANOTHER_AUTHORITY = f"refused: {edges.ANOTHER_AUTHORITY}"


@dataclass
class Step:
    """A run, and what was there after it."""

    name: str
    run: Any
    certificates: dict[str, str]
    trusted: dict[str, str]
    replication: Replication
    replicated: tuple[str, str]


def look(fleet: Any, name: str, run: Any) -> Step:
    """Look at the fleet after a run, which must have ended well."""
    assert run.status == 0, run.output[-8000:]
    return Step(name, run, fleet.certificates(), fleet.trusted(), fleet.replication(), fleet.replicated())


@pytest.fixture(scope="module")
def foreseen(fleet: Any) -> dict[str, Any]:
    """Run the job in check mode; return the run and each machine's files before and after it."""

    def files() -> dict[str, str]:
        return {machine: fleet.inside(machine, "sh", "-c", FILES) for machine in fleet.machines}

    before = files()
    return {"before": before, "run": fleet.site("--check", "--diff"), "after": files()}


@pytest.fixture(scope="module")
def first_run(fleet: Any, foreseen: dict[str, Any]) -> Step:
    assert foreseen["run"].status == 0, foreseen["run"].output[-8000:]
    return look(fleet, "first_run", fleet.site())


@pytest.fixture(scope="module")
def second_run(fleet: Any, first_run: Step) -> Step:
    assert first_run.run.status == 0
    return look(fleet, "second_run", fleet.site())


@pytest.fixture(scope="module")
def renewal(fleet: Any, second_run: Step) -> Step:
    assert second_run.run.status == 0
    return look(fleet, "renewal", fleet.site(postgres_server_renew=True, postgres_client_renew=True))


@pytest.fixture(scope="module")
def rollover(fleet: Any, renewal: Step) -> Step:
    assert renewal.run.status == 0
    rotate = ROOT / "playbooks" / "rotate_ca.yml"
    return look(
        fleet, "rollover", fleet.playbook(rotate, postgres_ca_rotate="billing", postgres_ca_outside_trust="none")
    )


@pytest.fixture(scope="module")
def after_rollover(fleet: Any, rollover: Step) -> Step:
    assert rollover.run.status == 0
    return look(fleet, "after_rollover", fleet.site())


@pytest.fixture(scope="module")
def jobs(fleet: Any, after_rollover: Step) -> list[Any]:
    """Renew everything by jobs that run at once."""
    assert after_rollover.run.status == 0
    found: list[Any] = fleet.jobs(JOBS, postgres_server_renew=True, postgres_client_renew=True)
    return found


@pytest.fixture(scope="module")
def after_jobs(fleet: Any, jobs: list[Any]) -> Step:
    assert [job.status for job in jobs] == [0] * len(JOBS), "\n".join(job.output[-8000:] for job in jobs)
    return look(fleet, "after_jobs", fleet.site())


@pytest.fixture
def step(request: pytest.FixtureRequest) -> Step:
    """Give the step that a test is parametrized with."""
    found: Step = request.getfixturevalue(request.param)
    return found


def test_check_mode_tells_of_changes_on_every_host(foreseen: dict[str, Any]) -> None:
    run = foreseen["run"]
    assert run.status == 0, run.output[-8000:]
    assert {host for host, changed in run.changed.items() if changed} == set(HOSTS)


def test_check_mode_changes_no_file_on_any_machine(foreseen: dict[str, Any]) -> None:
    assert len(set(foreseen["before"].values())) == 7, "each machine has files of its own"
    assert foreseen["after"] == foreseen["before"]


def test_check_mode_makes_no_authority(fleet: Any, foreseen: dict[str, Any]) -> None:
    assert "make the billing CA" in foreseen["run"].output
    assert fleet.execute(CA_HOST, "test", "-e", CA_DIRECTORY).returncode == 1


def test_the_first_run_changes_every_host(first_run: Step) -> None:
    assert {host for host, changed in first_run.run.changed.items() if changed} == set(HOSTS)


@pytest.mark.parametrize("step", UNCHANGED, indirect=True)
def test_a_run_after_it_changes_nothing(step: Step) -> None:
    assert step.run.changed == dict.fromkeys(HOSTS, 0)


def test_a_second_run_leaves_every_certificate_alone(first_run: Step, second_run: Step) -> None:
    assert second_run.certificates == first_run.certificates
    assert second_run.trusted == first_run.trusted


@pytest.mark.parametrize("step", STEPS, indirect=True)
def test_every_edge_of_the_graph_is_tried_as_expected_and_nothing_else(
    fleet: Any, printed: list[str], step: Step
) -> None:
    found, graph = tables.tables(step.run.output), fleet.graph
    assert graph.edge_count == len(graph.edges) > 10
    labels = TABLES.get(step.name, [""])
    assert len(found) == len(labels)
    for label, table in zip(labels, found):
        assert set(table.counts) == {"as expected", "up to the password prompt", "skipped"}, step.run.output[-8000:]
        assert table.total == sum(table.counts.values())
        assert table.total == (graph.accepted + graph.refused + graph.skipped).total()
        if label == "before":
            continue
        tried = seen(table.rows)
        printed.append(counts_line(graph, f"{step.name.replace('_', ' ')}, {label}".strip(", "), tried))
        assert [row for row in table.rows if row.result not in (*ACCEPTED, "skipped")] == []
        assert tried.proven == graph.edges
        assert (tried.accepted, tried.refused, tried.skipped) == (graph.accepted, graph.refused, graph.skipped)


@pytest.mark.parametrize("step", STEPS, indirect=True)
def test_who_has_no_password_comes_up_to_the_prompt_and_all_others_log_in(step: Step) -> None:
    rows = tables.rows(step.run.output)
    asked = {(row.client, row.role) for row in rows if row.result == "prompt"}
    assert asked == {("app2", "auditor")}
    assert {"clerk", "payments"} <= {row.role for row in rows if row.result == "ok" and row.wanted == "accepted"}


@pytest.mark.parametrize("step", STEPS, indirect=True)
def test_a_shared_name_shows_which_node_has_answered(step: Step) -> None:
    shared = [row for row in tables.rows(step.run.output) if row.host == "shop.example.test" and row.result == "ok"]
    assert shared
    assert {row.server for row in shared} <= {"shop1", "shop2"}
    assert all("this name is shared by shop1, shop2" in row.reason for row in shared)


@pytest.mark.parametrize("step", STEPS, indirect=True)
def test_the_table_shows_that_billing_refuses_the_certificate_of_the_app_of_shop(step: Step) -> None:
    rows = {row for row in tables.rows(step.run.output) if row.wanted == ANOTHER_AUTHORITY}
    assert {(row.client, row.role, row.server, row.result) for row in rows} == {
        ("app1", "app", "billing1", "ok"),
        ("app1", "app", "shop1", "ok"),
    }


def test_billing_refuses_the_certificate_of_the_app_of_shop_for_its_authority(fleet: Any, after_rollover: Step) -> None:
    assert after_rollover.run.status == 0
    billing = "host=billing1.example.test user=app dbname=billing"
    shop = "host=shop1.example.test user=app dbname=shop"
    assert fleet.connect("app1", "shop", shop) == ("app|5432", "")
    assert fleet.connect("app1", "invoices", billing) == ("app|5432", ""), "the role exists there, and may log in"
    for os_user, target in (("shop", billing), ("invoices", shop)):
        shown, message = fleet.connect("app1", os_user, target)
        assert shown == ""
        assert "unknown ca" in message


def test_one_os_user_reads_all_three_clusters(fleet: Any, after_rollover: Step) -> None:
    assert after_rollover.run.status == 0
    for identity, server, database in (
        ("report", "shop1", "postgres"),
        ("report", "shop2", "postgres"),
        ("report_billing", "billing1", "billing"),
        ("report", "analytics1", "postgres"),
    ):
        target = f"service={identity}@{server} dbname={database}"
        assert fleet.connect("app3", "report", target) == (f"report|{fleet.graph.servers[server].port}", "")


@pytest.mark.parametrize("step", STEPS, indirect=True)
def test_the_standby_replicates_with_its_current_certificate_and_verifies_its_primary(step: Step) -> None:
    assert step.replication.used == step.replication.current
    parameters = conninfo.parse(step.replication.conninfo)
    assert (parameters["host"], parameters["user"], parameters["sslmode"]) == (
        "shop1.example.test",
        "standby",
        "verify-full",
    )
    assert parameters["sslcert"].endswith("/pgops/current/standby/postgresql.crt")
    assert parameters["sslrootcert"].endswith("/pgops/current/root.crt")
    written, read = step.replicated
    assert read == written


def test_every_certificate_is_from_the_authority_of_its_cluster(first_run: Step, fleet: Any) -> None:
    issued = {path: re.search(r"PostgreSQL (\S+)", shown) for path, shown in first_run.certificates.items()}
    by_authority = Counter(found[1] for found in issued.values() if found)
    expected = Counter(one.authority for one in fleet.graph.identities if one.authority)
    assert by_authority == expected + Counter(server=len(fleet.graph.servers))


def test_a_renewal_renews_every_certificate(second_run: Step, renewal: Step) -> None:
    assert set(renewal.certificates) == set(second_run.certificates)
    same = [path for path, shown in renewal.certificates.items() if second_run.certificates[path] == shown]
    assert same == []
    assert {host for host, changed in renewal.run.changed.items() if changed} == set(HOSTS)
    assert renewal.trusted == second_run.trusted


def test_a_renewal_has_the_standby_connect_with_its_new_certificate(second_run: Step, renewal: Step) -> None:
    assert renewal.replication.used != second_run.replication.used
    assert f"standby: shop1 shows certificate {renewal.replication.used:x}." in renewal.run.output


def test_the_rollover_goes_through_all_phases_of_billing_alone(rollover: Step) -> None:
    places = [rollover.run.output.find(f'"{words}') for words in PHASES]
    assert places == sorted(places)
    assert -1 not in places
    assert not re.search(r'"(stage a new|let the staged) (server|client) CA', rollover.run.output)
    assert "billing CA, phase steady" in rollover.run.output


def test_the_rollover_changes_what_billing_trusts_and_the_certificates_for_it_alone(
    renewal: Step, rollover: Step
) -> None:
    changed = {path for path, shown in rollover.certificates.items() if renewal.certificates[path] != shown}
    of_billing = {path for path, shown in rollover.certificates.items() if "PostgreSQL billing " in shown}
    assert changed == of_billing
    assert (rollover.run.changed["shop2"], rollover.run.changed["analytics1"]) == (0, 0)
    trust = {server for server, text in rollover.trusted.items() if renewal.trusted[server] != text}
    assert trust == {"billing1"}


def test_jobs_at_the_same_time_renew_every_certificate(after_rollover: Step, jobs: list[Any], after_jobs: Step) -> None:
    changed = [{host for host, number in job.changed.items() if number} for job in jobs]
    assert set().union(*changed) == set(HOSTS)
    assert sum(map(len, changed)) == len(HOSTS), "each host is in one job alone"
    assert set(after_jobs.certificates) == set(after_rollover.certificates)
    same = [path for path, shown in after_jobs.certificates.items() if after_rollover.certificates[path] == shown]
    assert same == []


def test_jobs_at_the_same_time_keep_every_certificate_in_the_ledger(fleet: Any, after_jobs: Step) -> None:
    issued, used = fleet.issued(), {serial_of(shown) for shown in after_jobs.certificates.values()}
    assert len(set(issued)) == len(issued)
    assert set(issued[-len(used) :]) == used


def test_what_ansible_runner_keeps_of_a_job_holds_no_secret(fleet: Any, jobs: list[Any]) -> None:
    kept = [path for path in fleet.folder.glob("job*/artifacts/job/**/*") if path.is_file()]
    assert len(kept) > 20 * len(jobs), "the events of all jobs"
    secrets = re.compile(f"PRIVATE KEY-----|{molecule_variables('all')['postgres_ca_passphrase']}")
    assert [path for path in kept if secrets.search(path.read_text(encoding="utf-8", errors="replace"))] == []

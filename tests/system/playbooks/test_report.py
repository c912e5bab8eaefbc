# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook report as a user runs it: with live sessions of every kind, hosts that fail, and nothing that changes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.report import connections
from ansible_collections.pgops.tls.tests import guides, loops, prometheus
from ansible_collections.pgops.tls.tests.shared import LOCAL_SSH, ONLY_THOROUGH, SILENT

REPORT = [{"ansible.builtin.import_playbook": "pgops.tls.report"}]
OPEN_RULES = "hostssl all app all cert\nhostnossl all all 127.0.0.1/32 trust"
HOSTILE = "<script>alert(1)</script>{{ 7 * 191 }}{% raw %} \"{'a': 1}"
DOWN = {"postgres_server_port": 1, "postgres_server_names": ["localhost"]}


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a fleet that is set up, and still lets plaintext in."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    rules = made.directory / "rules.j2"
    rules.write_text(OPEN_RULES)
    made.variables = {"postgres_server_plaintext": "allow", "postgres_server_hba_template": str(rules)}
    done = made.run("--skip-tags", "verify", **made.variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def session(site: Any, parameters: str, **environment: str) -> contextlib.AbstractContextManager[Any]:
    """Hold a connection open, as the OS user of role app."""
    where = f"host=localhost port={site.cluster.port} dbname=postgres connect_timeout=10 {parameters}"
    command = ["runuser", "-u", site.os_users[0], "--", str(site.cluster.programs / "psql"), "-XAtq", where]
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(site.homes / site.os_users[0]), **environment}
    return loops.staying(command, env=surroundings, cwd="/")


def report(site: Any, *options: str, **changes: Any) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the playbook, which has to end well and to change nothing, and return what it wrote."""
    before = site.files()
    done = site.run(*options, playbook=REPORT, **{**site.variables, **changes})
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}, done.stdout
    assert site.files() == before
    return done, written(site)


def written(site: Any) -> dict[str, Any]:
    """Return the data of the last report."""
    found: dict[str, Any] = json.loads((site.directory / "postgres-report" / "report.json").read_text())
    return found


@ONLY_THOROUGH
def test_check_mode_writes_nothing(site: Any) -> None:
    done = site.run("--check", playbook=REPORT, **site.variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (site.directory / "postgres-report").exists()


def test_who_is_connected_how_is_in_the_report(site: Any) -> None:
    reloads = site.cluster.log().count("received SIGHUP")
    with session(site, "user=postgres sslmode=disable", PGAPPNAME=HOSTILE), session(
        site, "user=app sslmode=verify-full application_name=sound"
    ):
        done, data = report(site)
    assert site.cluster.log().count("received SIGHUP") == reloads
    server = data["servers"]["db1"]
    assert (server["status"], server["counts"]) == ("ok", {"TLSv1.3": 1, "plaintext": 1})
    assert [(one["application"], one["findings"]) for one in server["sessions"]] == [(HOSTILE, ["plaintext"])]
    assert [(one["role"], one["application"], one["looks"]) for one in server["plaintext"]["seen"]] == [
        ("postgres", HOSTILE, 1)
    ]
    assert server["certificate"]["reasons"] == []
    (identity,) = data["clients"]["app1"]["identities"]
    assert identity["id"] == f"{site.os_users[0]}/app"
    assert identity["renewal"] < identity["not_after"]
    assert data["authorities"]["server"]["phase"] == "steady"
    edges = {one.holder.role: (one.proof, one.in_use, one.of) for one in connections.edges(data)}
    assert edges == {"app": ("verified", 1, 1), "postgres": ("plaintext", 0, 0)}
    text = (site.directory / "postgres-report" / "report.html").read_text()
    assert "<script" not in text
    assert '<g class="edge verified">' in text
    whole = text.replace("<wbr>", "")  # where a long word may break
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 191 }}{% raw %}" in whole
    assert "db1: plaintext: 1 clients seen in the last look; sessions on old certificates: 0" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_next_look_without_plaintext_counts(site: Any) -> None:
    done, data = report(site)
    told = data["servers"]["db1"]["plaintext"]
    assert (told["looks"], told["all_looks"], len(told["seen"])) == (1, 2, 1)
    assert f"plaintext: none seen in 1 look since {told['since']}" in done.stdout
    found = prometheus.parse((site.directory / "postgres-report" / "report.prom").read_text())
    assert found["pgops_tls_plaintext_sessions", frozenset({("host", "db1")})] == 0
    assert found["pgops_tls_plaintext_free_looks", frozenset({("host", "db1")})] == 1
    assert len([key for key in found if key[0] == "pgops_tls_certificate_not_after_timestamp_seconds"]) == 2


def noted(site: Any) -> str | None:
    """Return when a run has noted that it ended without a failure, None if none has."""
    path = site.directory / "postgres-report" / "last-run.json"
    return json.loads(path.read_text())["ended_without_failure"] if path.exists() else None


def test_a_whole_run_without_a_failure_is_noted_for_the_next_report(site: Any) -> None:
    assert noted(site) is None
    where = "{{ hostvars[inventory_hostname].inventory_dir }}/postgres-report"  # which only tasks can template
    done = site.run(**site.variables, postgres_report_directory=where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}, done.stdout
    assert noted(site)


@ONLY_THOROUGH
def test_after_a_renewal_sessions_on_the_old_certificates_are_told(site: Any) -> None:
    with session(site, "user=app sslmode=verify-full application_name=old"):
        renewed = site.run(
            "--skip-tags", "verify", **site.variables, postgres_server_renew=True, postgres_client_renew=True
        )
        assert renewed.returncode == 0, renewed.stdout + renewed.stderr
        with session(site, "user=app sslmode=verify-full application_name=new"):
            _done, data = report(site)
            shown = site.run(playbook=in_a_playbook_of_ones_own(), **site.variables)
    (told,) = data["servers"]["db1"]["sessions"]
    assert told["application"] == "old"
    assert told["findings"] == ["old_certificate", "old_server_certificate"]
    assert re.search(r'"db1 +app +postgres .* old +\S+Z  old_server_certificate, old_certificate"', shown.stdout), shown
    assert '"1 sessions on 1 servers"' in shown.stdout


def in_a_playbook_of_ones_own() -> list[dict[str, Any]]:
    """Return what the guide on reports shows, behind what it needs."""
    guide = guides.ROOT / "docs" / "docsite" / "rst" / "guide_report.rst"
    blocks = guides.blocks(guide.name, guide.read_text(encoding="utf-8"))
    (text,) = [block.text for block in blocks if block.caption == "sessions-playbook.yml"]
    parts = {
        "postgres_servers:postgres_clients": "postgres_ca/main",
        "postgres_clients": "postgres_client/certificates",
    }
    before = [
        {"hosts": hosts, "gather_facts": False, "check_mode": True, "tasks": [{"ansible.builtin.import_role": role}]}
        for hosts, part in parts.items()
        for role in [dict(zip(("name", "tasks_from"), f"pgops.tls.{part}".split("/")))]
    ]
    return [*before, *yaml.safe_load(text)]


@ONLY_THOROUGH
def test_hosts_that_tell_nothing_are_in_the_report_and_stop_nobody(site: Any) -> None:
    inventory = site.inventory()
    inventory["postgres_servers"]["hosts"] |= {"db2": DOWN, "db3": SILENT, "db4": DOWN}
    identities = [{"role": "batch", "os_user": "nobody-here"}]
    inventory["postgres_clients"]["hosts"]["app2"] = {"postgres_client_identities": identities}
    waiting = {"role": "batch", "os_user": site.os_users[1]}  # a run of site.yml would make its key
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"].append(waiting)
    _done, data = report(site, "--limit", "!db4", inventory=inventory)
    found = {host: one["status"] for kind in ("servers", "clients") for host, one in data[kind].items()}
    assert found == {
        "db1": "ok", "db2": "failed", "db3": "unreachable", "db4": "not_asked", "app1": "ok", "app2": "failed",
    }  # fmt: skip
    told = {one["role"]: (one["serial"], one["reasons"]) for one in data["clients"]["app1"]["identities"]}
    assert (told["app"][1], told["batch"]) == ([], (None, ["no_certificate"]))
    assert "No PostgreSQL server was found on port 1" in data["servers"]["db2"]["message"]
    assert "there is no OS user 'nobody-here'" in data["clients"]["app2"]["message"]
    text = (site.directory / "postgres-report" / "report.html").read_text()
    assert "there is no OS user &#x27;nobody-here&#x27;" in text
    _done, data = report(site)
    assert list(data["servers"]) == ["db1"]


@ONLY_THOROUGH
def test_other_runs_are_not_noted(site: Any) -> None:
    inventory, before = site.inventory(), noted(site)
    inventory["postgres_servers"]["hosts"]["db2"] = DOWN
    for options in (["--check"], ["--skip-tags", "verify"], ["--tags", "untagged"]):
        assert site.run(*options, **site.variables).returncode == 0
        assert noted(site) == before, options
    assert site.run(**site.variables, inventory=inventory).returncode != 0
    assert site.run("--limit", "db1,app1", **site.variables, inventory=inventory).returncode == 0
    assert noted(site) == before


def test_each_host_is_asked_by_one_remote_execution(site: Any) -> None:
    log = site.directory / "calls"
    program = site.directory / "ssh"
    program.write_text(LOCAL_SSH.format(log=log))
    program.chmod(0o755)
    inventory = site.inventory()
    for group in ("postgres_servers", "postgres_clients"):
        for name, host in inventory[group]["hosts"].items():
            host |= {"ansible_connection": "ssh", "ansible_host": name, "ansible_ssh_executable": str(program)}
    _done, data = report(site, inventory=inventory)
    assert sorted(log.read_text().split()) == ["app1", "db1"]
    assert data["last_successful_run"] == noted(site)


def test_without_authorities_there_are_none_in_the_report_and_none_are_made(site: Any) -> None:
    elsewhere, before = site.directory / "elsewhere", site.files()
    done = site.run(playbook=REPORT, **site.variables, postgres_ca_directory=str(elsewhere))
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.files() == before
    assert not elsewhere.exists()
    data = written(site)
    assert data["authorities"] == {}
    assert data["authority_changes"][0].startswith("make the server CA: ")
    assert data["servers"]["db1"]["certificate"]["reasons"] == ["issuer_changed"]
    assert "is postgres_ca_directory another one than before" in data["clients"]["app1"]["message"].lower()


@ONLY_THOROUGH
def test_a_mistake_in_the_input_is_found_first(site: Any) -> None:
    done = site.run(playbook=REPORT, **site.variables, postgres_report_directry="/tmp/x")
    assert done.returncode == 2
    assert "there is no such variable. Write postgres_report_directory" in done.stdout


@ONLY_THOROUGH
def test_a_server_is_looked_at_by_a_login_and_its_password_is_shown_nowhere(site: Any) -> None:
    site.cluster.psql("CREATE ROLE monitor LOGIN IN ROLE pg_monitor PASSWORD 'secret-of-the-monitor'")
    rules = {"postgres_server_hba_template": str(site.directory / "with-monitor.j2")}
    (site.directory / "with-monitor.j2").write_text(f"hostssl all monitor all scram-sha-256\n{OPEN_RULES}")
    assert site.run("--skip-tags", "verify", **{**site.variables, **rules}).returncode == 0
    login = {
        "name": "rds", "host": "localhost", "port": site.cluster.port, "user": "monitor",
        "password": "secret-of-the-monitor",
        "sslrootcert": str(site.homes / site.os_users[0] / ".postgresql" / "root.crt"),
    }  # fmt: skip
    logins = [login, {**login, "name": "wrong", "password": "another-secret"}]
    done, data = report(site, "-vvv", **rules, postgres_report_logins=logins)
    rds, wrong = data["servers"]["rds"], data["servers"]["wrong"]
    assert (rds["status"], rds["certificate"]["serial"]) == ("ok", data["servers"]["db1"]["certificate"]["serial"])
    assert wrong["status"] == "failed"
    assert "password authentication failed" in wrong["message"]
    shown = done.stdout + done.stderr + json.dumps(data)
    assert "secret-of-the-monitor" not in shown
    assert "another-secret" not in shown

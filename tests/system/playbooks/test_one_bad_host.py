# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that fails stops nobody else; the run ends as failed, and with a summary of what failed and what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.shared import LOCAL_SSH, ONLY_THOROUGH, SILENT

# Python whose modules send home a certificate request that nobody can read, and reasons that are no list
GARBLING = f"""#!/bin/sh
{sys.executable} "$@" |
sed -e 's/REQUEST-----\\\\nM/REQUEST-----\\\\nN/g' -e 's/\\["no_certificate"\\]/{{"no_certificate": 1}}/g'
"""
GARBLING_ONE = GARBLING.replace("/g'", "/'")  # the first request, and no other
# Whatever a host says is text: as a template it could do on the controller whatever it likes
EVIL = """#!/bin/sh
cat > /dev/null
echo '{"failed": true, "msg": "evil {{ 7 * 191 }}", "stdout": "never-to-be-summed-up"}'
"""
SUMMARY = "TASK [Say what failed or was not verified, and what to do]"


@pytest.fixture
def site(site_on: Any, cluster: Any) -> Any:
    """Make a server that nobody has set up yet; it has the role that will log in."""
    cluster.psql("CREATE ROLE app LOGIN")
    cluster.hba()
    cluster.reload()
    return site_on(cluster)


def groups(inventory: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the servers and the client hosts of an inventory."""
    return inventory["postgres_servers"]["hosts"], inventory["postgres_clients"]["hosts"]


def down(**more: Any) -> dict[str, Any]:
    """Return the variables of a server that does not run."""
    return {"postgres_server_port": 1, "postgres_server_names": ["localhost"], **more}


def summary(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of the summary, the last thing before Ansible's own counts."""
    last = done.stdout.split("PLAY RECAP")[0].split("\nTASK [")[-1]
    assert f"TASK [{last}".startswith(SUMMARY), done.stdout
    return [line.strip()[1:].rstrip(",").rstrip('"') for line in last.splitlines() if line.startswith(" " * 8)]


def recap(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """Return how many tasks changed and failed each host, as Ansible counts them."""
    counts = re.findall(r"^(\S+) +: .*changed=(\d+) .*failed=(\d+)", done.stdout, re.MULTILINE)
    return {host: (changed, failed) for host, changed, failed in counts}


def program(site: Any, name: str, text: str) -> str:
    """Write a program and return its path."""
    path = Path(site.directory / name)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_other_hosts_go_all_the_way_and_the_summary_names_each_bad_one_with_its_cause(site: Any) -> None:
    inventory = site.inventory()
    servers, clients = groups(inventory)
    servers |= {"db2": down(), "db3": down(**SILENT, postgres_server_names=["db3.invalid"]), "db4": down()}
    clients |= {"app2": {"postgres_client_identities": [{"role": "app", "os_user": "nobody-here"}]}, "db3": {}}
    done = site.run(inventory=inventory)
    assert done.returncode == 2, done.stdout
    # Ansible itself shows the loop over hosts as it is written, where it cannot reach one
    delegated = re.findall(r"^(?!.*UNREACHABLE).*\[\w+ -> (.*)\]", done.stdout, re.MULTILINE)
    assert set(delegated) == {"localhost"}, "and no address that is not templated"
    assert {host for host, (_changed, failed) in recap(done).items() if failed == "1"} == {"db2", "db3", "db4", "app2"}
    assert {host for host, (changed, _failed) in recap(done).items() if changed != "0"} == {"db1", "app1"}
    lines = summary(done)
    assert re.match(r"db2, db4 \(server\): No PostgreSQL server was found on port 1\b.*Start the server", lines[0])
    assert re.match(r"db3 \(server, client\): could not be reached: .*[Cc]onnection refused", lines[1]), lines[1]
    assert re.match(r"app2 \(client\): .*there is no OS user 'nobody-here' on this host\. Create it", lines[2])
    behind = (
        "Not verified, because the server failed above: db2 (5 connections), db3 (5 connections), db4 (5 connections)."
    )
    assert lines[3:5] == [behind, "Hosts: 4 failed, 2 changed, 0 unchanged."]
    assert len(lines) == 6
    rows = [re.split(r" {2,}", line.strip(' ",')) for line in done.stdout.splitlines() if '"app1 ' in line]
    assert [row[5] for row in rows if row[2] == "db1"] == ["ok"] * 10
    assert [row[5] for row in rows if row[2] == "db2"] == ["DEVIATION", *["UNPROVEN"] * 4]
    assert re.search(r'"(app2|db3) .* NOTHING VERIFIED .* this host failed before', done.stdout)
    assert "Fail where anything was not as expected" not in done.stdout, "what is known is not said again"
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    assert inventory["all"]["vars"]["postgres_ca_passphrase"] not in output


@ONLY_THOROUGH
def test_clients_are_converged_although_every_server_fails_and_a_sound_run_has_no_summary(site: Any) -> None:
    inventory = site.inventory()
    servers, _clients = groups(inventory)
    sound = dict(servers)
    servers |= {"db1": down(), "db2": down(**SILENT)}
    done = site.run("--skip-tags", "verify", inventory=inventory)
    assert done.returncode == 2, done.stdout
    assert recap(done)["app1"] != ("0", "0")
    assert recap(done)["app1"][1] == "0"
    assert (site.homes / site.os_users[0] / ".postgresql" / "postgresql.crt").exists()
    assert [line.split(":")[0] for line in summary(done)[:2]] == ["db1 (server)", "db2 (server)"]
    inventory["postgres_servers"]["hosts"] = sound
    fixed = site.run(inventory=inventory)
    assert fixed.returncode == 0, fixed.stdout
    assert SUMMARY not in fixed.stdout


def test_what_a_host_says_is_no_template_and_only_its_message_is_shown(site: Any) -> None:
    inventory = site.inventory()
    servers, clients = groups(inventory)
    evil = {"ansible_python_interpreter": program(site, "python", EVIL)}
    servers["db2"] = down(**evil)
    clients["app1"] |= evil
    done = site.run("--check", inventory=inventory)
    assert done.returncode == 2, done.stdout
    assert summary(done)[0] == "db2 (server); app1 (client): evil {{ 7 * 191 }}"
    assert "1337" not in done.stdout
    assert "never-to-be-summed-up" not in "".join(summary(done))


def test_a_host_with_a_bad_request_fails_alone_and_all_others_get_their_certificates(site: Any, cluster: Any) -> None:
    garbling = {"ansible_python_interpreter": program(site, "python", GARBLING)}
    inventory = site.inventory()
    servers, clients = groups(inventory)
    other = {"postgres_server_directory": str(cluster.home / "tls-of-db0"), **garbling}
    inventory["postgres_servers"]["hosts"] = {"db0": {**servers["db1"], **other}, **servers}
    identities = [{"role": "app", "os_user": site.os_users[1]}]
    inventory["postgres_clients"]["hosts"] = {"app0": {"postgres_client_identities": identities, **garbling}, **clients}
    done = site.run("--limit", "db0,db1,app0,app1", inventory=inventory)
    refused = re.findall(r"fatal: \[(\w+)\].*?requests\[(\S+?)\]\.csr: expected a certificate request", done.stdout)
    assert refused == [("db0", "db0"), ("app0", f"app0/{site.os_users[1]}/app")], done.stdout
    assert {host: failed for host, (_changed, failed) in recap(done).items()} == {
        "db0": "1", "db1": "0", "app0": "1", "app1": "0",
    }  # fmt: skip
    assert recap(done)["db1"][0] != "0"
    assert recap(done)["app1"][0] != "0"
    assert not (site.homes / site.os_users[1] / ".postgresql" / "postgresql.crt").exists()
    tried = re.findall(r'"app1 .* db1 .*  refused: (.*?)  +ok ', done.stdout)
    by_any_host = [
        "plaintext",
        "no client certificate",
        "certificate of a foreign CA",
        "another role's certificate (app)",
    ]
    assert tried == by_any_host, "what app0, which came first, cannot try is left to app1"


def test_a_client_host_with_one_bad_request_gets_its_other_certificates_before_it_fails(site: Any) -> None:
    inventory = site.inventory()
    asks = [{"role": role, "os_user": site.os_users[1]} for role in ("app", "report")]
    garbling = {"ansible_python_interpreter": program(site, "python", GARBLING_ONE)}
    inventory["postgres_clients"]["hosts"]["app0"] = {"postgres_client_identities": asks, **garbling}
    done = site.run(inventory=inventory)
    refused = re.findall(r"fatal: \[(\w+)\].*?requests\[(\S+?)\]\.csr: expected a certificate request", done.stdout)
    assert refused == [("app0", f"app0/{site.os_users[1]}/app")], done.stdout
    changed, failed = recap(done)["app0"]
    assert (changed != "0", failed) == (True, "1")
    current = site.homes / site.os_users[1] / ".postgresql" / "pgops" / "current"
    assert (current / "report" / "postgresql.crt").exists()
    assert not (current / "app" / "postgresql.crt").exists()


def test_an_os_user_that_fails_fails_its_host_after_the_others_have_their_certificates(site: Any) -> None:
    inventory = site.inventory()
    first, second = site.os_users
    asks = [{"role": "report", "os_user": first}, {"role": "app", "os_user": second}]
    inventory["postgres_clients"]["hosts"] = {"app0": {"postgres_client_identities": asks}}
    pending = site.homes / first / ".postgresql" / "pgops" / "pending"  # where its key would be made
    for path in (pending.parents[1], pending.parent, pending):
        path.mkdir(mode=0o700)
        shutil.chown(path, first)
    pending.chmod(0o500)
    done = site.run("--skip-tags", "verify", inventory=inventory)
    assert done.returncode == 2, done.stdout
    assert re.match(rf"app0 \(client\): {pending}/.*: Permission denied", summary(done)[0])
    assert recap(done)["app0"][1] == "1"
    assert (site.homes / second / ".postgresql" / "postgresql.crt").exists()
    pending.chmod(0o700)
    assert site.run("--skip-tags", "verify", inventory=inventory).returncode == 0


def test_what_has_to_run_after_a_change_runs_although_nothing_was_signed_for_its_host(site: Any) -> None:
    inventory = site.inventory()
    log = site.homes / site.os_users[0] / "hooks.log"
    hook = {"command": ["sh", "-c", f"echo ran >> {log}"]}
    own = {"role": "report", "os_user": site.os_users[0], "login": "password", "after_change": hook}
    garbling = {"ansible_python_interpreter": program(site, "python", GARBLING)}
    asks = {"postgres_client_identities": [own, {"role": "app", "os_user": site.os_users[1]}], **garbling}
    inventory["postgres_clients"]["hosts"] = {"app0": asks}
    done = site.run("--skip-tags", "verify", inventory=inventory)
    refused = re.findall(r"fatal: \[(\w+)\].*?requests\[(\S+?)\]\.csr: expected a certificate request", done.stdout)
    assert refused == [("app0", f"app0/{site.os_users[1]}/app")], done.stdout
    assert log.read_text() == "ran\n"
    assert site.run("--skip-tags", "verify", inventory=inventory).returncode == 2
    assert log.read_text() == "ran\n"


@ONLY_THOROUGH
def test_authorities_that_sign_nothing_stop_only_who_asked_and_no_server_behind_means_no_client_ahead(
    site: Any,
) -> None:
    """The authorities are on a host of their own, whose address is right although it is written as a template."""
    log = site.directory / "called"
    calls = program(site, "ssh", LOCAL_SSH.format(log=log))
    inventory = site.inventory()
    inventory["ungrouped"] = {
        "hosts": {"ca1": {"ansible_connection": "ssh", "ansible_host": "{{ inventory_hostname }}.invalid"}}
    }
    own = {"ansible_ssh_executable": calls, "postgres_ca_host": "ca1", "postgres_ca_directory": str(site.authorities)}
    asks = {"postgres_client_identities": [{"role": "app", "os_user": site.os_users[1]}], "postgres_client_renew": True}
    inventory["postgres_clients"]["hosts"] = {"app0": asks, **groups(inventory)[1]}
    assert site.run(inventory=inventory, **own).returncode == 0
    assert set(log.read_text().split()) == {"ca1.invalid"}

    (site.authorities / "ledger.jsonl").rename(site.directory / "kept")
    (site.authorities / "ledger.jsonl").mkdir()
    done = site.run(inventory=inventory, **own)
    assert re.match(r"app0 \(client\): Nothing was signed: .*ledger\.jsonl: ", summary(done)[0]), summary(done)
    assert {host: failed for host, (_changed, failed) in recap(done).items()} == {"app0": "1", "app1": "0", "db1": "0"}

    leaf = site.homes / site.os_users[1] / ".postgresql" / "postgresql.crt"
    before = leaf.read_bytes()
    own["postgres_ca_directory"] += "-of-others"
    done = site.run(inventory=inventory, postgres_server_login_user="nobody", postgres_ca_lost=True, **own)
    found = [line for line in summary(done) if line.startswith("app0 ")]
    assert "clients keep theirs for as long as no server has followed" in found[0]
    assert leaf.read_bytes() == before

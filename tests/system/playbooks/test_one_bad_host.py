# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only one host can tell of itself stops that host; the others go all the way, and the run ends as failed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

# Python whose modules send home a certificate request that nobody can read, and reasons that are no list
GARBLING = f"""#!/bin/sh
{sys.executable} "$@" |
sed -e 's/REQUEST-----\\\\nM/REQUEST-----\\\\nN/g' -e 's/\\["no_certificate"\\]/{{"no_certificate": 1}}/g'
"""


@pytest.fixture
def done(site_on: Any, cluster: Any) -> subprocess.CompletedProcess[str]:
    """Run site.yml on two servers, one of which does not run, and on two client hosts, one without its OS user."""
    cluster.psql("CREATE ROLE app LOGIN")
    cluster.hba()
    cluster.reload()
    site = site_on(cluster)
    inventory = site.inventory()
    servers, clients = inventory["postgres_servers"]["hosts"], inventory["postgres_clients"]["hosts"]
    servers["db2"] = {"postgres_server_port": 1, "postgres_server_names": ["localhost"]}
    clients["app2"] = {"postgres_client_identities": [{"role": "app", "os_user": "nobody-here"}]}
    done: subprocess.CompletedProcess[str] = site.run(inventory=inventory)
    return done


def test_the_other_hosts_go_all_the_way_and_the_bad_ones_are_named(done: subprocess.CompletedProcess[str]) -> None:
    output = done.stdout
    assert done.returncode == 2, output
    recap = dict(re.findall(r"^(\S+) +: .*changed=(\d+) ", output, re.MULTILINE))
    assert {host for host, changed in recap.items() if changed == "0"} == {"db2", "app2"}
    assert re.search(r"fatal: \[db2\].*port 1\b.*Start the server", output), output
    assert re.search(r"fatal: \[app2\].*there is no OS user 'nobody-here'", output), output
    rows = [re.split(r" {2,}", line.strip(' ",')) for line in output.splitlines() if '"app1 ' in line]
    assert [row[5] for row in rows if row[2] == "db1"] == ["ok"] * 10
    assert {row[5] for row in rows if row[2] == "db2"} <= {"DEVIATION", "UNPROVEN"}
    assert "Traceback" not in output + done.stderr


def test_a_host_with_a_bad_request_fails_alone_and_all_others_get_their_certificates(
    site_on: Any, cluster: Any
) -> None:
    cluster.psql("CREATE ROLE app LOGIN")
    cluster.hba()
    cluster.reload()
    site = site_on(cluster)
    python = site.directory / "python"
    python.write_text(GARBLING, encoding="utf-8")
    python.chmod(0o755)
    garbling = {"ansible_python_interpreter": str(python)}
    inventory = site.inventory()
    servers, clients = inventory["postgres_servers"]["hosts"], inventory["postgres_clients"]["hosts"]
    other = {"postgres_server_directory": str(cluster.home / "tls-of-db0"), **garbling}
    inventory["postgres_servers"]["hosts"] = {"db0": {**servers["db1"], **other}, **servers}
    identities = [{"role": "app", "os_user": site.os_users[1]}]
    inventory["postgres_clients"]["hosts"] = {"app0": {"postgres_client_identities": identities, **garbling}, **clients}
    done = site.run("--limit", "db0,db1,app0,app1", inventory=inventory)
    refused = re.findall(r"fatal: \[(\w+)\].*?requests\[(\S+?)\]\.csr: expected a certificate request", done.stdout)
    assert refused == [("db0", "db0"), ("app0", f"app0/{site.os_users[1]}/app")], done.stdout
    assert re.search(r"^db1 +: .*changed=[1-9].* failed=0", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^app1 +: .*changed=[1-9].* failed=0", done.stdout, re.MULTILINE), done.stdout
    assert not (site.homes / site.os_users[1] / ".postgresql" / "postgresql.crt").exists()

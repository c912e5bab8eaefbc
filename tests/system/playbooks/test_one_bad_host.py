# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only one host can tell of itself stops that host; the others go all the way, and the run ends as failed."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest


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

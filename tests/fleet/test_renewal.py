# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a renewal of every certificate does, seen from outside."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

SERVERS, CLIENTS = ("pg15", "pg17"), ("app1", "app2")
PASSPHRASE = "a passphrase of the test fleet"
# Connects again and again until the file is gone, and prints attempts and failures.
LOOP = """
cd /; failures=0; attempts=0
while [ -e /tmp/go ] && [ $attempts -lt 5000 ]; do
    attempts=$((attempts + 1))
    psql -XAtqc 'SELECT 1' 'host=%s.example.test user=app dbname=app sslmode=verify-full' >/dev/null ||
        failures=$((failures + 1))
done
echo $attempts $failures
"""


@pytest.fixture(scope="module")
def renewal(fleet: Any) -> dict[str, Any]:
    """Renew everything at the highest verbosity while a client connects in a loop."""
    for client in CLIENTS:
        fleet.output(client, "touch", "/tmp/go")
    loops = [
        subprocess.Popen(
            fleet.command(client, "sh", "-c", LOOP % server, user="web"), stdout=subprocess.PIPE, text=True
        )
        for client, server in zip(CLIENTS, SERVERS)
    ]
    before = {"keys": fleet.keys(), "secrets": _secrets(fleet)}
    try:
        run = fleet.playbook("-vvvv", "--diff", "-e", "postgres_server_renew=true", "-e", "postgres_client_renew=true")
    finally:
        for client in CLIENTS:
            fleet.output(client, "rm", "-f", "/tmp/go")
    counted = [loop.communicate(timeout=60)[0] for loop in loops]
    return {
        "before": before,
        "keys": fleet.keys(),
        "run": run,
        "loops": [tuple(map(int, text.split())) for text in counted],
    }


def _secrets(fleet: Any) -> set[str]:
    """Return lines that only private keys have, and the passphrase."""
    keys = "cat /etc/postgresql/tls/*/current/server.key /home/*/.postgresql/pgops/current/*/*.key 2>&-"
    texts = [fleet.inside(host, "sh", "-c", keys).stdout for host in (*SERVERS, *CLIENTS)]
    texts += [path.read_text() for path in Path(os.environ["ANSIBLE_HOME"], "fleet-ca").rglob("*.key")]
    bodies = [
        body.splitlines() for text in texts for body in re.findall(r"PRIVATE KEY-----\n(.*?)-----END", text, re.DOTALL)
    ]
    # the lines behind the second one hold the public key of an EC key, which certificates hold too
    lines = {line for body in bodies for line in body[:2]}
    return lines | {PASSPHRASE, "PRIVATE KEY-----"}


def test_a_renewal_succeeds_and_renews_every_key(renewal: dict[str, Any]) -> None:
    assert renewal["run"].status == 0, renewal["run"].output[-3000:]
    for host, listing in renewal["keys"].items():
        assert listing
        assert listing != renewal["before"]["keys"][host], host


def test_a_renewal_is_two_executions_per_host_and_one_more_per_client_to_verify(renewal: dict[str, Any]) -> None:
    assert renewal["run"].executions == {"pg15": 2, "pg17": 2, "app1": 3, "app2": 3}


def test_no_connection_fails_while_everything_is_renewed(renewal: dict[str, Any]) -> None:
    for attempts, failures in renewal["loops"]:
        assert attempts >= 20
        assert failures == 0


def test_no_output_at_any_verbosity_holds_a_secret(renewal: dict[str, Any], fleet: Any) -> None:
    secrets = renewal["before"]["secrets"] | _secrets(fleet)
    assert len(secrets) > 20
    assert "CERTIFICATE REQUEST" in renewal["run"].output, "the output is verbose enough to hold what modules got"
    assert [secret for secret in secrets if secret in renewal["run"].output] == []


@pytest.mark.parametrize("host", [*SERVERS, *CLIENTS])
def test_the_run_leaves_no_file_with_a_secret_on_a_host(renewal: dict[str, Any], fleet: Any, host: str) -> None:
    assert renewal["run"].status == 0
    passphrase = fleet.inside(
        host, "grep", "-rlsF", PASSPHRASE, "/tmp", "/var/tmp", "/home", "/root", "/etc", "/var/log"
    )
    assert passphrase.stdout == ""
    places = ["/tmp", "/var/tmp", "/home/ops", "/root", "/var/log"]
    assert fleet.inside(host, "grep", "-rlsF", "PRIVATE KEY-----", *places).stdout == ""


def test_the_run_leaves_no_file_with_a_secret_on_the_controller(renewal: dict[str, Any]) -> None:
    assert renewal["run"].status == 0
    home = Path(os.environ["ANSIBLE_HOME"])
    for path in (home / "tmp").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert PASSPHRASE.encode() not in content, path
        assert b"PRIVATE KEY-----" not in content, path


def test_renewing_one_server_signs_for_it_alone(fleet: Any, renewal: dict[str, Any]) -> None:
    assert renewal["run"].status == 0
    before = {server: fleet.served(server) for server in SERVERS}
    run = fleet.playbook("-e", '{"postgres_server_renew": "{{ inventory_hostname == \'pg17\' }}"}')
    assert run.status == 0, run.output[-3000:]
    assert run.executions == {"pg15": 1, "pg17": 2, "app1": 2, "app2": 2}
    assert fleet.served("pg15") == before["pg15"]
    assert fleet.served("pg17") != before["pg17"]


def test_renewing_one_client_signs_for_it_alone(fleet: Any, renewal: dict[str, Any]) -> None:
    assert renewal["run"].status == 0
    before = fleet.keys()
    run = fleet.playbook("-e", '{"postgres_client_renew": "{{ inventory_hostname == \'app2\' }}"}')
    assert run.status == 0, run.output[-3000:]
    assert run.executions == {"pg15": 1, "pg17": 1, "app1": 2, "app2": 3}
    assert fleet.keys()["app1"] == before["app1"]
    assert fleet.keys()["app2"] != before["app2"]


def test_a_server_that_cannot_be_changed_does_not_stop_the_others(fleet: Any, renewal: dict[str, Any]) -> None:
    assert renewal["run"].status == 0
    before = {server: fleet.served(server) for server in SERVERS}
    bad = "{'ssl_ciphers': 'NO-SUCH-CIPHER'} if inventory_hostname == 'pg15' else {}"
    run = fleet.playbook("-e", f'{{"postgres_server_ssl": "{{{{ {bad} }}}}", "postgres_server_renew": true}}')
    assert run.status == 2
    assert "ssl_ciphers: 'NO-SUCH-CIPHER' is no cipher list that OpenSSL accepts" in run.output
    assert fleet.served("pg15") == before["pg15"]
    assert fleet.served("pg17") != before["pg17"]
    good = fleet.playbook()
    assert good.status == 0
    assert good.changed == dict.fromkeys((*SERVERS, *CLIENTS), 0)

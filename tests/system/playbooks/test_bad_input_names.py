# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that only look bad: PostgreSQL takes nearly any text for a role or a database, so all of these have to work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

ODD_ROLES = [
    'R\u00f4le "x"; $(id)',
    "it's `id`",
    "a, b #c",
    "back\\",
    "%s=%n&|<>*?~!",
    "+staff",
    "@pg_hba.conf",
    "all",
    '"app"',
    "--help",
    "\U0001f600 a\u0301",
    "\u00e9" * 31 + "x",
]
DATABASE = "shop\"; DROP DATABASE 'x', $(id) #\u00fc"
pytestmark = ONLY_THOROUGH


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Set up a server and a client whose roles and database have such names."""
    made = site_on(shared_cluster)
    for role in ODD_ROLES:
        shared_cluster.psql(f"CREATE ROLE {quoted(role)} LOGIN")
    shared_cluster.psql("CREATE ROLE app LOGIN")
    shared_cluster.psql(f"CREATE DATABASE {quoted(DATABASE)} TEMPLATE template0")
    wanted = made.inventory()
    wanted["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"] = [
        {"role": role, "os_user": made.os_users[0], "databases": [DATABASE]} for role in ODD_ROLES
    ]
    made.wanted = wanted
    done = made.run(inventory=wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("role", ODD_ROLES)
def test_the_role_logs_in_by_its_service_and_is_itself(site: Any, role: str) -> None:
    home = site.homes / site.os_users[0]
    value = f"service={conninfo(role)} host=localhost port={site.cluster.port}"
    argv = ["psql", "-XAtq", "-d", value, "-c", "SELECT current_user, current_database()"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8"}
    command = ["runuser", "-u", site.os_users[0], "--", *argv]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    assert done.stdout == f"{role}|{DATABASE}\n", done.stderr


def conninfo(value: str) -> str:
    """Return a value as libpq's connection strings quote it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def test_no_other_role_is_let_in_by_these_rules(site: Any) -> None:
    home = site.homes / site.os_users[0] / ".postgresql" / "pgops" / "current"
    before = Path(home / '"app"' / "postgresql.crt")
    value = f"host=localhost port={site.cluster.port} dbname=postgres user=app sslcert={conninfo(str(before))}"
    value += f" sslkey={conninfo(str(before.with_suffix('.key')))} sslmode=verify-full"
    command = ["runuser", "-u", site.os_users[0], "--", "psql", "-XAtqw", "-d", value, "-c", "SELECT 1"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(site.homes / site.os_users[0])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    assert done.returncode == 2, done.stdout
    assert "no password supplied" in done.stderr  # no rule for certificates is about it


def test_a_second_run_changes_nothing(site: Any) -> None:
    before = site.files()
    done = site.run(inventory=site.wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.files() == before

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a fleet with whatever ansible-core runs these tests, and without any warning of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from ansible.release import __version__
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, SITE


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a server that nobody has set up yet; it has the role that will log in."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


def changes(done: subprocess.CompletedProcess[str], *, first: bool = False) -> dict[str, int]:
    """Return how many tasks changed each host, of a run that went well without a warning but those of the ``first``."""
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert output.count("WARNING") == 2 * first, output
    assert ("First set-up of db1. These defaults count" in " ".join(output.split())) is first
    assert ("gets files at libpq's default names, for the first time" in " ".join(output.split())) is first
    assert "Say what failed" not in output, output
    recap = re.findall(r"^(\S+) +: .*changed=(\d+) ", done.stdout, re.MULTILINE)
    return {host: int(changed) for host, changed in recap}


def leaves(site: Any) -> list[bytes]:
    """Return the certificates that are in use on the server and the client host."""
    client = site.homes / site.os_users[0] / ".postgresql" / "postgresql.crt"
    return [path.read_bytes() for path in (site.cluster.home / "tls" / "current" / "server.crt", client)]


def test_what_runs_are_the_expected_versions() -> None:
    found = f"{__version__}-python{sys.version_info.major}.{sys.version_info.minor}"
    assert found == os.environ.get("EXPECTED_CONTROLLER", found)  # elsewhere it is what the suite brings


def test_check_mode_foresees_the_changes_and_makes_none(site: Any) -> None:
    before = site.files()
    done = site.run("--check", "--diff")
    assert all(changes(done, first=True).values())
    assert site.files() == before
    assert "+hostssl all app all cert" in done.stdout, "rules are no secret, only passwords in them are"


def test_the_first_run_changes_everything_and_verifies_it(site: Any) -> None:
    done = site.run("--diff")
    assert set(changes(done, first=True)) == {"db1", "app1"}
    assert all(changes(done, first=True).values())
    assert re.search(r"(\d\d) connections from 1 client hosts?: \1 as expected", done.stdout), done.stdout


def test_the_second_run_changes_nothing(site: Any) -> None:
    before = site.files()
    assert changes(site.run()) == {"db1": 0, "app1": 0}
    assert site.files() == before


def test_a_renewal_replaces_every_certificate(site: Any) -> None:
    before = leaves(site)
    done = site.run(postgres_server_renew=True, postgres_client_renew=True)
    assert all(changes(done).values())
    assert not set(before) & set(leaves(site))


@ONLY_THOROUGH
def test_facts_of_the_hosts_change_nothing(site: Any) -> None:
    playbook = [{"hosts": "all", "tasks": []}, {"ansible.builtin.import_playbook": str(SITE)}]
    assert changes(site.run(playbook=playbook)) == {"db1": 0, "app1": 0}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"postgres_server_extra_names": ["a b"]},
            r"postgres_server_names: 'a b' is neither a DNS name nor",
        ),
        ({"postgres_server_key_type": "DSA"}, r"postgres_server_key_type must be one of: .*, got: DSA"),
        ({"postgres_server_login_user": "nobody"}, r"role 'nobody' failed: .*does not exist"),
    ],
    ids=["filter", "argument", "server"],
)
def test_a_mistake_is_named_and_changes_nothing(site: Any, variables: dict[str, object], message: str) -> None:
    before = site.files()
    done = site.run(**variables)
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert re.search(message, output), output
    assert "Traceback" not in output
    assert "DEPRECATION" not in output
    assert site.files() == before

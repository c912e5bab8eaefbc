# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back as a user takes it: playbook roll_back, and what site.yml does after it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

ROLL_BACK = [{"ansible.builtin.import_playbook": "pgops.tls.roll_back"}]
RENEW = {"postgres_server_renew": True, "postgres_client_renew": True}


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a fleet that was set up and then renewed, with a setting that came with the renewal."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    assert changes(made.run())["db1"]
    made.first = leaves(made)
    assert changes(made.run(**RENEW, postgres_server_ssl=STRICT))["db1"]
    made.second = leaves(made)
    assert not set(made.first) & set(made.second)
    return made


STRICT = {"ssl_min_protocol_version": "TLSv1.3"}


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tasks changed each host, of a run that went well."""
    assert done.returncode == 0, done.stdout + done.stderr
    recap = re.findall(r"^(\S+) +: .*changed=(\d+) ", done.stdout, re.MULTILINE)
    return {host: int(changed) for host, changed in recap}


def leaves(site: Any) -> list[bytes]:
    """Return the certificates that are in use on the server and the client host."""
    client = site.homes / site.os_users[0] / ".postgresql" / "postgresql.crt"
    return [path.read_bytes() for path in (site.cluster.home / "tls" / "current" / "server.crt", client)]


def back(site: Any, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run the playbook with what is declared since the renewal."""
    done: subprocess.CompletedProcess[str] = site.run(
        *options, playbook=ROLL_BACK, **{"postgres_server_ssl": STRICT, **variables}
    )
    return done


def test_without_a_limit_nothing_goes_back(site: Any) -> None:
    before = site.files()
    done = back(site)
    assert done.returncode == 2
    assert "Without --limit every host would go back" in done.stdout
    assert site.files() == before


@ONLY_THOROUGH
def test_a_mistake_in_the_input_ends_it_before_any_host(site: Any) -> None:
    before = site.files()
    done = back(site, "--limit", "all", postgres_server_extra_names=["a b"])
    assert "'a b' is neither a DNS name nor" in done.stdout
    assert site.files() == before


def test_check_mode_foresees_it_and_changes_nothing(site: Any) -> None:
    before = site.files()
    done = back(site, "--limit", "all", "--check", "--diff")
    assert changes(done) == {"db1": 1, "app1": 1}
    assert "-ssl_min_protocol_version = 'TLSv1.3'" in done.stdout
    assert len(re.findall(r"^-serial: ", done.stdout, re.MULTILINE)) == 2
    assert site.files() == before


def test_other_authorities_stop_it_and_none_are_made(site: Any) -> None:
    before = site.files()
    elsewhere = site.directory / "elsewhere"
    for host in ("db1", "app1"):
        done = back(site, "--limit", host, postgres_ca_directory=str(elsewhere))
        assert re.search(rf"fatal: \[{host}\].*cannot be restored; nothing was changed", done.stdout), done.stdout
        assert "Is postgres_ca_directory the right one?" in done.stdout
    assert not elsewhere.exists()
    assert site.files() == before


def test_the_limit_alone_goes_back(site: Any) -> None:
    done = back(site, "--limit", "db1")
    assert changes(done) == {"db1": 1}
    assert leaves(site) == [site.first[0], site.second[1]]
    assert site.cluster.psql("SHOW ssl_min_protocol_version") == "TLSv1.2"
    assert "The next run with what is declared is going to change: ssl.conf: ssl_min_protocol_version" in (
        done.stdout + done.stderr
    ).replace("\n", " ")


@ONLY_THOROUGH
def test_the_rest_goes_back_what_is_back_stays_and_the_connections_are_verified(site: Any) -> None:
    done = back(site, "--limit", "all")
    assert changes(done) == {"db1": 0, "app1": 1}
    assert leaves(site) == site.first
    assert re.search(r"(\d\d) connections from 1 client hosts?: \1 as expected", done.stdout), done.stdout
    before = site.files()
    assert changes(back(site, "--limit", "all")) == {"db1": 0, "app1": 0}
    assert site.files() == before


@ONLY_THOROUGH
def test_an_os_user_that_is_not_there_is_named(site: Any) -> None:
    done = back(site, "--limit", "app1", postgres_client_os_users=["nobody-here"])
    assert re.search(r"postgres_client_os_users: no identity .* is of nobody-here", done.stdout), done.stdout


@ONLY_THOROUGH
def test_the_next_run_keeps_the_certificates_and_brings_declared_settings_back(site: Any) -> None:
    foreseen = site.run("--check", "--diff", postgres_server_ssl=STRICT)
    assert changes(foreseen) == {"db1": 1, "app1": 0}
    assert "+ssl_min_protocol_version = 'TLSv1.3'" in foreseen.stdout
    assert changes(site.run(postgres_server_ssl=STRICT)) == {"db1": 1, "app1": 0}
    assert leaves(site) == site.first
    assert site.cluster.psql("SHOW ssl_min_protocol_version") == "TLSv1.3"
    assert changes(site.run(postgres_server_ssl=STRICT)) == {"db1": 0, "app1": 0}


@ONLY_THOROUGH
def test_one_os_user_can_go_back(site: Any) -> None:
    assert changes(site.run(**RENEW, postgres_server_ssl=STRICT))["app1"]
    # as somebody writes it behind -e: the names of several hosts, with a blank
    named = f"{site.os_users[1]}, {site.os_users[0]}"
    assert changes(back(site, "--limit", "app1", postgres_client_os_users=named)) == {"app1": 1}
    assert leaves(site)[1] == site.first[1]

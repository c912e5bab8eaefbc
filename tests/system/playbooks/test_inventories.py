# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories of every kind: where the authorities go, whose they are, and what cannot be meant."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.endings import refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

UNPARSED = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
MADE = '"make the server CA: '
AUTHORITIES_ONLY = ("--tags", "always")  # makes them, and touches no host
SERVER_CA, CLIENT_CA = "server/0001/root.crt", "client/0001/root.crt"
LOOKUP = re.compile(r"\{\{ lookup\('ansible\.builtin\.file', inventory_dir ~ '/([\w/.-]+)'\) \}\}")
# The places that show how a certificate of others is read from a file, and the variable that each is about
SHOWN = {
    "docs/docsite/rst/guide_adopting.rst": "postgres_server_extra_trusted_clients",
    "docs/docsite/rst/guide_troubleshooting.rst": "postgres_server_extra_trusted_clients",
    "roles/postgres_server/README.md": "postgres_server_extra_trusted_clients",
    "roles/postgres_client/README.md": "postgres_client_extra_roots",
}


@pytest.fixture
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a site of which nothing is set up, whatever the test before has done."""
    shutil.rmtree(shared_cluster.home / "tls", ignore_errors=True)
    return site_on(shared_cluster)


def written(site: Any, path: str, inventory: dict[str, Any] | None = None) -> Path:
    """Write an inventory as a file."""
    file: Path = site.directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(inventory or site.inventory()))
    return file


# Where the authorities go


def test_a_directory_of_inventories_has_its_authorities_beside_it(site: Any) -> None:
    written(site, "inventories/prod/hosts.yml")
    for expected in (True, False):
        output = well(site.run(*AUTHORITIES_ONLY, sources=["inventories/prod"], environment=UNPARSED))
        assert "WARNING" not in output, output
        assert (MADE in output) is expected
    assert (site.directory / "inventories/prod-postgres-ca" / SERVER_CA).exists()
    assert [path.name for path in (site.directory / "inventories/prod").iterdir()] == ["hosts.yml"]


@ONLY_THOROUGH
def test_authorities_that_are_inside_already_stay_in_use_until_they_are_moved(site: Any) -> None:
    written(site, "prod/hosts.yml")
    before, after = site.directory / "prod/postgres-ca", site.directory / "prod-postgres-ca"
    well(site.run(*AUTHORITIES_ONLY))
    site.authorities.rename(before)
    output = re.sub(r"\s+", " ", well(site.run(*AUTHORITIES_ONLY, sources=["prod"])))
    assert MADE not in output
    (command,) = set(re.findall(r"It stays in use\. Move it: (mv \S+ \S+)\.", output))
    assert command == f"mv {before} {after}"
    subprocess.run(command.split(), check=True)
    output = well(site.run(*AUTHORITIES_ONLY, sources=["prod"], environment=UNPARSED))
    assert "WARNING" not in output, output
    assert MADE not in output


def test_a_place_that_is_not_certain_is_refused_by_the_name_of_the_variable(site: Any) -> None:
    written(site, "a/hosts.yml")
    written(site, "b/hosts.yml")
    output = refused(site.run(*AUTHORITIES_ONLY, sources=["a/hosts.yml", "b"]))
    places = f"{site.directory}/a/postgres-ca or {site.directory}/b-postgres-ca"
    assert f"postgres_ca_directory: not set, and there are several inventories (.*), so it could be {places}" in re.sub(
        r"inventories \(.*?\)", "inventories (.*)", output
    )
    assert list(site.directory.rglob("*postgres-ca")) == []

    named = {"postgres_ca_directory": str(site.directory / "a" / "authorities")}
    well(site.run(*AUTHORITIES_ONLY, "-e", json.dumps(named), sources=["a/hosts.yml", "b"]))
    assert (site.directory / "a" / "authorities" / SERVER_CA).exists()


def test_names_alone_are_no_place_and_neither_is_the_inventory_itself(site: Any) -> None:
    play = [{"hosts": "all", "gather_facts": False, "roles": ["pgops.tls.postgres_ca"]}]
    output = refused(site.run("-e", "ansible_connection=local", playbook=play, sources=["db1,"]))
    assert "postgres_ca_directory: not set, and the inventory (db1,) is no file or directory" in output
    written(site, "prod/hosts.yml")
    inside = site.directory / "prod" / "ca"
    output = refused(site.run("-e", f"postgres_ca_directory={inside}", sources=["prod"]))
    assert f"postgres_ca_directory: {inside} would lie inside the inventory {site.directory}/prod" in output
    assert list(site.directory.rglob("root.crt")) == []


# Whose they are


@ONLY_THOROUGH
def test_the_authorities_belong_to_whoever_runs_ansible_although_all_hosts_become_another_user(site: Any) -> None:
    inventory = site.inventory()
    other = site.os_users[1]
    become = {"ansible_become": True, "ansible_become_method": "ansible.builtin.su", "ansible_become_user": other}
    inventory["all"]["vars"] |= become
    for group in ("postgres_servers", "postgres_clients"):
        inventory[group]["vars"] = {"ansible_become_user": "root"}
    site.cluster.psql("DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN")
    well(site.run("--skip-tags", "verify", inventory=inventory))
    well(site.run(playbook="pgops.tls.report", inventory=inventory))
    for place in ("postgres-ca", "postgres-report"):
        paths = [site.directory / place, *(site.directory / place).rglob("*")]
        assert {path.stat().st_uid for path in paths} == {os.geteuid()}, paths
    assert (site.authorities / "ledger.jsonl").exists()

    # What another host says of itself counts
    inventory["ungrouped"] = {"hosts": {"ca1": {}}}
    place = site.homes / other / "authorities"
    own = {"postgres_ca_host": "ca1", "postgres_ca_directory": str(place), "postgres_ca_lost": True}
    well(site.run(*AUTHORITIES_ONLY, "--limit", "app1", inventory=inventory, **own))
    assert (place / CLIENT_CA).stat().st_uid == pwd.getpwnam(other).pw_uid
    shutil.rmtree(place)


# What no host may be given


@ONLY_THOROUGH
def test_no_authorities_are_made_where_a_host_has_tls_from_others(site: Any) -> None:
    site.cluster.psql("DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN")
    done = well(site.run("--skip-tags", "verify"))
    counts = dict(re.findall(r"^(\S+) +: .*changed=(\d+) ", done, re.MULTILINE))
    assert counts == {"db1": "1", "app1": "2"}, "what the authorities did is no change of theirs"
    assert MADE in done

    kept = site.directory / "kept"
    site.authorities.rename(kept)
    before = site.files()
    inventory = site.inventory()
    identity = {"role": "app", "os_user": site.os_users[1]}
    inventory["postgres_clients"]["hosts"]["app2"] = {"postgres_client_identities": [identity]}
    silent = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory["postgres_servers"]["hosts"]["db2"] = silent
    renew = {"postgres_server_renew": True, "postgres_client_renew": True}
    tls = f"db1 ({site.cluster.home}/tls)"
    for options in ((), ("--check",), ("--limit", "app2"), ("-e", json.dumps(renew))):
        output = refused(site.run(*options, inventory=inventory))
        assert f"there are no authorities in {site.authorities} on localhost, but hosts have TLS" in output
        assert tls in output
        assert f"app1 (~{site.os_users[0]}/.postgresql/pgops)" in output
        assert "PLAY [Servers]" not in output
        assert not site.authorities.exists()
    assert site.files() == before

    lost = well(site.run("--limit", "db1,app1", "--skip-tags", "verify", postgres_ca_lost=True, **renew))
    assert MADE in lost
    assert well(site.run("--limit", "db1,app1")).count("changed=0") == 2


@ONLY_THOROUGH
def test_a_first_run_names_hosts_that_could_not_be_asked_and_makes_nothing_if_none_could(site: Any) -> None:
    inventory = site.inventory()
    silent = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory["postgres_servers"]["hosts"]["db2"] = silent
    inventory["postgres_clients"]["hosts"] = {}
    output = refused(site.run(*AUTHORITIES_ONLY, "--limit", "db2", inventory={**inventory, "postgres_servers": {
        "hosts": {"db2": silent}}}))  # fmt: skip
    assert "no host could be asked whether it has TLS from others: db2 could not be asked: " in output
    assert not site.authorities.exists()
    assert "[WARNING]: db2 could not be asked: " in well(site.run(*AUTHORITIES_ONLY, inventory=inventory))
    assert (site.authorities / SERVER_CA).exists()


# What the inventory says


@ONLY_THOROUGH
def test_the_line_that_the_documentation_shows_reads_the_file(site: Any) -> None:
    well(site.run(*AUTHORITIES_ONLY))
    wanted = {}
    for page, variable in SHOWN.items():
        text = re.sub(r"\s+", " ", (guides.ROOT / page).read_text(encoding="utf-8"))
        (found,) = [one for one in LOOKUP.finditer(text) if "old-" in one[1]]
        assert wanted.setdefault(variable, found[0]) == found[0], "each place shows the same line"
        for folder in ("", "prod/"):
            path = site.directory / folder / found[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(site.authorities / CLIENT_CA, path)
    for source in ("hosts.yml", "prod/hosts.yml"):
        written(site, source)
    for source in ("hosts.yml", "prod"):
        folder = site.directory / ("prod" if source == "prod" else "")
        lines = [f'{name}: "{line}"\n' for name, line in wanted.items()]
        (folder / "group_vars" / "all.yml").write_text("".join(lines))
        shutil.rmtree(site.cluster.home / "tls", ignore_errors=True)
        options = ("--check", "--limit", "db1", "-e", f"postgres_ca_directory={site.authorities}")
        output = well(site.run(*options, playbook="pgops.tls.site", sources=[source], environment=UNPARSED))
        assert "postgres_server_extra_trusted_clients: certificates of 'PostgreSQL client root CA" in output, output


@ONLY_THOROUGH
def test_a_fact_that_nobody_gathered_is_named_with_what_to_do_and_counts_once_it_is_gathered(site: Any) -> None:
    inventory = site.inventory()
    server = inventory["postgres_servers"]["hosts"]["db1"]
    server["postgres_server_names"] = ["localhost", "{{ ansible_fqdn }}"]
    output = refused(site.run(*AUTHORITIES_ONLY, inventory=inventory))
    told = r"db1: postgres_server_names: .{0,5}ansible_fqdn.{0,5} is undefined\. .*Write ansible_facts\['fqdn'\], and"
    assert re.search(told, output), output
    assert not site.authorities.exists()
    server["postgres_server_names"] = ["localhost", "{{ ansible_facts['fqdn'] }}"]
    playbook = [{"hosts": "all", "gather_facts": True, "tasks": []}, {"import_playbook": "pgops.tls.site"}]
    well(site.run("--check", "--limit", "db1", playbook=playbook, inventory=inventory))


@ONLY_THOROUGH
def test_one_server_under_two_names_is_set_up_for_one_of_them(site: Any) -> None:
    site.cluster.psql("DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN")
    inventory = site.inventory()
    servers = inventory["postgres_servers"]["hosts"]
    inventory["postgres_clients"]["hosts"] = {}
    servers["db1.example.com"] = {**servers["db1"], "postgres_server_extra_names": ["db1.example.com"]}
    taken = (r"was set up as host '(\S+)' of the inventory, and this run calls it '(\S+)'\. .*"
             r"set postgres_server_former_host: \1\.")  # fmt: skip
    output = refused(site.run(inventory=inventory))
    (first, second), *_again = re.findall(taken, output)
    assert {first, second} == {"db1", "db1.example.com"}
    before = site.files()
    assert re.findall(taken, refused(site.run(inventory=inventory)))[0] == (first, second)
    assert site.files().items() >= {path: one for path, one in before.items() if "/generations/" in path}.items()

    del servers[first]
    assert re.findall(taken, refused(site.run(inventory=inventory))), "nobody has said that it was renamed"
    servers[second]["postgres_server_former_host"] = first
    assert f"{second} : ok=" in re.sub(" +", " ", well(site.run(inventory=inventory)))
    del servers[second]["postgres_server_former_host"]
    assert set(re.findall(r"changed=(\d+)", well(site.run(inventory=inventory)))) == {"0"}

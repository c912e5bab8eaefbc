# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rotate_ca.yml and what no run reaches: a pooler outside the inventory, and copies of the old root."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making OS users takes root")
ROTATE = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
POOLER = "pooler1.example.com"
HOLDER = {"authority": "server", "id": POOLER, "until": "2999-12-31", "by": "dba team"}


def sign(authorities: str) -> list[dict[str, Any]]:
    """Return a play in which module certificate signs for a host that is in no group."""
    request = {"id": POOLER, "names": [POOLER], "csr": "{{ lookup('ansible.builtin.file', 'pooler1.csr') }}"}
    task = {
        "pgops.tls.certificate": {
            "directory": authorities,
            "passphrase": "{{ postgres_ca_passphrase }}",
            "authority": "server",
            "requests": [request],
        },
        "register": "signed",
        "failed_when": "signed is failed or signed.refused | length > 0",
    }
    return [{"hosts": "db1", "gather_facts": False, "tasks": [task]}]


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a fleet that was set up, and sign a certificate for a pooler outside of it."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    well(made.run())
    command = "openssl req -new -newkey rsa:2048 -nodes -keyout pooler1.key -subj / -out pooler1.csr"
    subprocess.run(command.split(), cwd=made.directory, check=True, capture_output=True)
    well(made.run(playbook=sign(str(made.authorities))))
    return made


def well(done: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a run that went well, without its line breaks."""
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).replace("\\n", " ").split())


def stopped(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout.replace("\\n", " ").replace('\\"', '"')


def rotate(site: Any, authority: str, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = site.run(
        "-e", f"postgres_ca_rotate={authority}", *options, playbook=ROTATE, **variables
    )
    return done


def phase(name: str) -> tuple[str, str]:
    return ("-e", f"postgres_ca_phase={name}")


def test_a_wrong_entry_stops_every_run_in_the_check_of_the_input(site: Any) -> None:
    before = site.files()
    output = stopped(site.run(postgres_ca_outside_holders=[{**HOLDER, "until": "soon"}, {"id": POOLER}]))
    assert "postgres_ca_outside_holders" in output
    assert "PLAY [Servers]" not in output
    output = stopped(site.run(postgres_ca_outside_holders=[{**HOLDER, "until": "soon"}]))
    assert "postgres_ca_outside_holders[0].until: found 'soon', expected the last day on which it counts" in output
    assert site.files() == before


def test_a_certificate_for_a_host_in_no_group_stops_the_rollover_of_its_authority_until_it_is_named(site: Any) -> None:
    before = site.files()
    output = stopped(rotate(site, "server", *phase("stage")))
    assert f"phase: stage is not safe yet: {POOLER} (server certificate " in output
    assert "name it in postgres_ca_outside_holders" in output
    near = {**HOLDER, "id": "pooler.example.com"}
    output = stopped(rotate(site, "server", *phase("stage"), postgres_ca_outside_holders=[near]))
    assert f"Did you mean {POOLER} (server)? " in output
    assert site.files() == before
    output = well(rotate(site, "server", "--check", *phase("stage"), postgres_ca_outside_holders=[HOLDER]))
    assert "stage a new server CA" in output
    assert "Phase retire is going to ask who trusts the old roots outside this inventory" in output


def test_the_other_authority_is_replaced_up_to_where_trust_ends_and_stops_there_by_name(site: Any) -> None:
    output = stopped(rotate(site, "client", postgres_ca_outside_trust="none"))
    assert "let the staged client CA issue from now on" in output
    assert (
        "phase: retire needs an answer. postgres_ca_outside_trust: none is wrong, because somebody is known." in output
    )
    assert "client_tls_ca_file of poolers" in output
    assert f"Known to be outside, by their certificates: {POOLER} (server certificate " in output
    before = site.files()
    for options in (("--check",), ()):
        output = stopped(rotate(site, "client", *phase("retire"), *options, postgres_ca_outside_holders=[HOLDER]))
        assert f"{POOLER} (server certificate " in output
        assert "ask dba team" in output
        assert site.files() == before
    (digits,) = re.findall(r"rerun with -e postgres_ca_outside_trust=([0-9a-f]{8})\.", output)
    output = well(rotate(site, "client", "-e", f"postgres_ca_outside_trust={digits}"))
    assert "trust the old client root no longer" in output
    assert "Nothing is left to do." in output


def test_a_holder_whose_time_is_over_is_told_by_every_run(site: Any) -> None:
    output = well(site.run(postgres_ca_outside_holders=[{**HOLDER, "until": "2020-01-01"}]))
    assert f"postgres_ca_outside_holders[0]: {POOLER} (server) counted until 2020-01-01 and no longer does." in output
    assert json.loads((site.authorities / "ledger.jsonl").read_text().splitlines()[-1])["id"]

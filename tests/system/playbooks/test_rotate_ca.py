# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The replacement of roots as a user starts it: whole, by phases, stopped by whatever is not proven, and killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import loops
from ansible_collections.pgops.tls.tests.endings import as_line, refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, PHASES

ROTATE = [{"ansible.builtin.import_playbook": "pgops.tls.rotate_ca"}]
POOLER_HOST = "pooler1.example.com"  # outside the inventory


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a fleet that was set up: a server, and a client host with one identity."""
    shared_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN")
    made = site_on(shared_cluster)
    well(made.run())
    return made


def rotate(site: Any, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run the playbook, by default for a fleet that nobody outside trusts."""
    answer = {"postgres_ca_outside_trust": "none", **variables}
    done: subprocess.CompletedProcess[str] = site.run(*options, playbook=ROTATE, **answer)
    return done


def step(site: Any, phase: str) -> subprocess.CompletedProcess[str]:
    return rotate(site, "-e", f"postgres_ca_phase={phase}")


def changed(output: str) -> dict[str, int]:
    """Return how many tasks changed each host."""
    recap = re.findall(r"^(\S+) +: .*changed=(\d+) ", output, re.MULTILINE)
    return {host: int(number) for host, number in recap}


def roots(site: Any, authority: str) -> list[str]:
    """Return the common names of the roots that are trusted, as hosts have them."""
    if authority == "server":
        path = site.homes / site.os_users[0] / ".postgresql" / "root.crt"
    else:
        path = site.cluster.home / "tls" / "current" / "trusted-clients.crt"
    found = certificate.read_pem(path.read_text(), str(path))
    return [one.common_name or "" for one in found if one.is_self_issued]


def issuers(site: Any) -> tuple[str, str]:
    """Return who issued the certificate that is served, and the one of the client."""
    served = wire.observe(wire.Endpoint("127.0.0.1", site.cluster.port)).leaf
    path = site.homes / site.os_users[0] / ".postgresql" / "postgresql.crt"
    (leaf, *_others) = certificate.read_pem(path.read_text(), str(path))
    return served.issuer_common_name or "", leaf.issuer_common_name or ""


def folders(site: Any, authority: str) -> list[str]:
    """Return the generations of an authority by their places."""
    top = site.authorities / authority
    return sorted(str(path.parent.relative_to(top)) for path in top.rglob("root.crt"))


def as_first_made(site: Any) -> None:
    """Forget that roots were replaced, so that a whole rollover begins anew."""
    for path in site.authorities.glob("*/retired"):
        path.rename(site.directory / f"retired-{path.parent.name}-{len(list(site.directory.glob('retired-*')))}")


def ledger(site: Any) -> list[dict[str, str]]:
    return [json.loads(line) for line in (site.authorities / "ledger.jsonl").read_text().splitlines()]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", "db1"), "--limit: app1 would be left behind"),
        (("--skip-tags", "verify"), "Run this without tags"),
        (("--tags", "verify"), "Run this without tags"),
        (("-e", "postgres_ca_phase=begin"), "postgres_ca_phase: expected stage, switch, retire, finish"),
        (("-e", "postgres_ca_rotate=servers"), "postgres_ca_rotate: expected a list of server, client, found"),
    ],
)
def test_options_that_would_leave_hosts_behind_or_prove_nothing_stop_it_first(
    site: Any, options: tuple[str, ...], message: str
) -> None:
    before = site.files()
    output = refused(rotate(site, *options))
    assert message in output
    assert "TASK [Check the input" not in output
    assert site.files() == before


def test_a_run_that_begins_behind_the_proof_proves_nothing(site: Any) -> None:
    before = site.files()
    output = refused(rotate(site, "--start-at-task", "Stop where anything is not proven"))
    assert "db1: this run learned nothing about the server, so nothing is proven." in output
    assert site.files() == before


def test_check_mode_says_what_comes_and_changes_nothing(site: Any) -> None:
    before = site.files()
    output = well(rotate(site, "--check"))
    assert "stage a new server CA, which everybody is to trust before it issues" in output
    assert output.count("PLAY [Servers]") - output.count("skipping: no hosts matched") <= 1
    assert site.files() == before


@ONLY_THOROUGH
def test_a_host_that_fails_stops_it_before_anything_is_issued(site: Any) -> None:
    before = site.files()
    output = refused(rotate(site, postgres_server_login_user="nobody"))
    assert re.search(
        r"Phase stage does not begin, because not everything is proven\. db1 failed in this run \(server\)", output
    )
    assert site.files() == before


def test_a_connection_that_does_not_work_stops_it_before_anything_is_issued(site: Any) -> None:
    before = site.files()
    site.cluster.psql("ALTER ROLE app NOLOGIN")
    try:
        output = refused(rotate(site))
    finally:
        site.cluster.psql("ALTER ROLE app LOGIN")
    assert "app1 failed in this run (verification)" in output
    assert "not permitted to log in" in output
    assert site.files() == before


@ONLY_THOROUGH
def test_a_forgotten_client_is_named_before_a_new_root_is_staged_without_it(site: Any) -> None:
    inventory = site.inventory()
    forgotten = {"postgres_client_identities": [{"role": "other", "os_user": site.os_users[1]}]}
    inventory["postgres_clients"]["hosts"]["app2"] = forgotten
    well(site.run(inventory=inventory))
    well(site.run())  # takes its rule away
    before = site.files()
    (line,) = [one for one in ledger(site) if one["id"].startswith("app2/")]
    done = rotate(site, "--check")
    assert "stage a new client CA" in well(done)
    shown = f"{line['id']} (client certificate {line['serial']} of {line['issued']}, until {line['not_after']})"
    assert f"phase: stage continues without certificates that this run has not seen: {shown}" in as_line(done)
    named = {"authority": "client", "id": line["id"], "until": "2999-12-31", "by": "dba team"}
    told = rotate(site, "--check", postgres_ca_outside_holders=[named], postgres_ca_outside_trust=[])
    assert "phase: stage continues without" not in well(told)
    assert "Phase retire is going to ask who trusts the old roots outside this inventory" in as_line(told)
    assert site.files() == before
    _forget(site, line["id"])


def _forget(site: Any, id_: str) -> None:
    """Have the certificates of an id end for good, as if it were long ago."""
    path = site.authorities / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["id"] == id_:
            line["not_after"] = "2020-01-01T00:00:00Z"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@ONLY_THOROUGH
def test_phase_by_phase_a_nightly_run_in_between_changes_nothing(site: Any) -> None:
    first = {name: roots(site, name) for name in ("server", "client")}
    old = issuers(site)
    for number, phase in enumerate(PHASES):
        for wrong in PHASES[number + 1 : number + 2]:  # the one after
            assert f"{phase} comes first" in refused(step(site, wrong))
        if phase == "retire":
            before = site.files()
            unanswered = rotate(site, "--check", "-e", "postgres_ca_phase=retire", postgres_ca_outside_trust=[])
            assert "phase: retire needs an answer. From then on, whatever trusts 'PostgreSQL ser" in refused(unanswered)
            assert site.files() == before
        tables = {"retire": 2, "finish": 0}.get(phase, 1)
        assert well(step(site, phase)).count("CIPHER OR REASON") == tables, "the whole table, once for each step"
        before = site.files()
        assert not any(changed(well(site.run())).values())
        assert not any(changed(well(step(site, phase))).values()), "it was gone through"
        assert site.files() == before
        trusted = {name: roots(site, name) for name in first}
        for name, (kept,) in first.items():
            assert len(trusted[name]) == (2 if phase in ("stage", "switch") else 1)
            assert (kept in trusted[name]) == (phase in ("stage", "switch"))
        assert all(one != another for one, another in zip(old, issuers(site))) == (phase != "stage")
    assert [folders(site, name) for name in first] == [["0002", "retired/0001"]] * len(first)
    assert not list(site.authorities.glob("*/retired/*/*.key"))


@ONLY_THOROUGH
def test_a_whole_rollover_of_one_authority_stops_before_trust_ends_that_a_pooler_outside_may_need(site: Any) -> None:
    """The other authority is left alone, and sessions that continue with an old certificate are told."""
    as_first_made(site)
    sign_outside(site)
    server, client = roots(site, "server"), roots(site, "client")
    one = ("-e", "postgres_ca_rotate=client")
    ended = {"authority": "server", "id": POOLER_HOST, "until": "2020-01-01", "by": "dba team"}
    with session(site) as stays:
        output = refused(rotate(site, *one))
        assert "let the staged client CA issue from now on" in output
        assert "phase: retire needs an answer. postgres_ca_outside_trust: none is wrong" in output
        assert f"Known to be outside, by their certificates: {POOLER_HOST} (server certificate " in output
        assert client[0] in roots(site, "client"), "the old root is trusted still"
        (new,) = {*re.findall(r"rerun with postgres_ca_outside_trust: ([0-9a-f]{8})\.", output)}
        done = rotate(site, *one, postgres_ca_outside_trust=new, postgres_ca_outside_holders=[ended])
        output += well(done)
        assert stays.poll() is None
    assert f"{POOLER_HOST} (server) counted until 2020-01-01 and no longer does. Ask dba team" in as_line(done)
    assert re.search(r'"db1 +app +postgres +127\.0\.0\.1 +psql .*(old_certificate|other_issuer)', output), output
    assert "client CA, phase steady: one root is trusted" in output
    assert "Nothing is left to do." in output
    assert roots(site, "server") == server
    assert not set(roots(site, "client")) & set(client)
    assert len(re.findall(r"connections from 1 client hosts?: (\d+) as expected", output)) == 6
    assert output.count("CIPHER OR REASON") == 4, "the whole table once for each step that a run follows"
    _forget(site, POOLER_HOST)


@ONLY_THOROUGH
def test_a_second_start_after_the_end_does_nothing_and_says_how_to_begin_another_one(site: Any) -> None:
    """The test before has ended a rollover of this authority."""
    before = site.files()
    output = well(rotate(site, "-e", "postgres_ca_rotate=client"))
    assert "Nothing is left to do. ansible-playbook pgops.tls.rotate_ca -e postgres_ca_phase=stage begins" in output
    assert not any(changed(output).values())
    assert site.files() == before


def sign_outside(site: Any) -> None:
    """Have module certificate sign for a host that is in no group of the inventory."""
    command = "openssl req -new -newkey rsa:2048 -nodes -keyout pooler1.key -subj / -out pooler1.csr"
    subprocess.run(command.split(), cwd=site.directory, check=True, capture_output=True)
    csr = "{{ lookup('ansible.builtin.file', 'pooler1.csr') }}"
    task = {
        "pgops.tls.certificate": {
            "directory": str(site.authorities),
            "passphrase": "{{ postgres_ca_passphrase }}",
            "authority": "server",
            "requests": [{"id": POOLER_HOST, "names": [POOLER_HOST], "csr": csr}],
        },
        "register": "signed",
        "failed_when": "signed is failed or signed.refused | length > 0",
    }
    well(site.run(playbook=[{"hosts": "db1", "gather_facts": False, "tasks": [task]}]))


def session(site: Any) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """Have the client connected, as a program that stays for long."""
    connect = f"psql -XAtq 'host=localhost port={site.cluster.port} user=app dbname=postgres sslmode=verify-full'"
    command = ["runuser", "-l", site.os_users[0], "-c", connect]
    return loops.staying(command)


@pytest.fixture(scope="module")
def tasks(site: Any) -> int:
    """Replace both roots in one run; return how many tasks it had."""
    as_first_made(site)
    return well(rotate(site)).count("\nTASK [")


@ONLY_THOROUGH
@pytest.mark.parametrize("tenth", range(10))
def test_killed_anywhere_it_ends_right_when_it_is_started_again(site: Any, tasks: int, tenth: int) -> None:
    as_first_made(site)
    before = {name: roots(site, name) for name in ("server", "client")}
    count = {name: len(folders(site, name)) for name in before}
    killed_after(site, tasks * tenth // 10 + 1)
    well(rotate(site))
    for name, (old,) in before.items():
        (new,) = roots(site, name)
        assert new != old
        (root, *_older) = (path for path in folders(site, name) if "/" not in path)
        assert new in [one.common_name for one in _certificates(site.authorities / name / root / "root.crt")]
        assert len(folders(site, name)) <= count[name] + 1, "one new root, and no more"
    assert not any(changed(well(site.run())).values())


def _certificates(path: Path) -> list[Any]:
    return list(certificate.read_pem(path.read_text(), str(path)))


def killed_after(site: Any, tasks: int) -> None:
    """Start the playbook, and kill it with all its processes when it begins the task with this number."""
    inventory = site.inventory()
    inventory["all"]["vars"]["postgres_ca_outside_trust"] = "none"
    (site.directory / "inventory.yml").write_text(json.dumps(inventory))
    (site.directory / "playbook.yml").write_text(json.dumps(ROTATE))
    with subprocess.Popen(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "playbook.yml"],
        cwd=site.directory,
        env={**site.settings, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        seen = 0
        for line in process.stdout or ():
            seen += line.startswith("TASK [")
            if seen >= tasks:
                break
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it ended before"

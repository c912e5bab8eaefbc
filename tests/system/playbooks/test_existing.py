# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server whose certificate something else renews: from nothing to verified, and new files under connections."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.tests import companies, guides, loops
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.keepers import Keeper
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, ONLY_THOROUGH, RECAP

LOOPS = 4


@pytest.fixture(scope="module")
def keeper() -> Iterator[Keeper]:
    """Give a company's agent, whose files root alone can read."""
    directory = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/opt"))
    found = Keeper(companies.company(start=TODAY - 400 * DAY), directory)
    (directory / "root.pem").write_text(found.company.root.pem)
    yield found
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any, keeper: Keeper) -> Any:
    """Give a site with a server that has a role app, and takes its certificate from the company's agent."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    made = site_on(shared_cluster)
    made.run = functools.partial(
        made.run,
        postgres_ca_sources={"server": {"type": "existing", "roots": str(keeper.directory / "root.pem")}},
        postgres_server_existing={"certificate": str(keeper.certificate), "key": str(keeper.key)},
    )
    return made


def served(site: Any) -> str:
    return wire.observe(wire.Endpoint("127.0.0.1", site.cluster.port)).leaf.sha256


def changed(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    return {host: int(number) for host, number, _unreachable, _failed in RECAP.findall(done.stdout)}


def parameters(site: Any, folder: Path) -> dict[str, str]:
    """Return how to connect with the files of the client host, which are copied for this process."""
    own = site.homes / site.os_users[0] / ".postgresql"
    copies = {"sslrootcert": "root.crt", "sslcert": "postgresql.crt", "sslkey": "postgresql.key"}
    for name in copies.values():
        (folder / name).write_bytes((own / name).read_bytes())
        (folder / name).chmod(0o600)
    found = {option: str(folder / name) for option, name in copies.items()}
    place = {"host": "localhost", "hostaddr": "127.0.0.1", "port": str(site.cluster.port)}
    return {**place, "user": "app", "dbname": "postgres", "sslmode": "verify-full", **found}


def test_from_nothing_to_verified(site: Any, keeper: Keeper) -> None:
    leaf = keeper.renew()
    foreseen = site.run("--check")
    assert well(foreseen), foreseen.stdout[-4000:]
    first = site.run("-vvvv")
    assert well(first), first.stdout[-4000:]
    assert served(site) == leaf
    secret = keeper.key.read_text().splitlines()[5]
    assert secret not in first.stdout + first.stderr
    assert not (site.authorities / "server").exists(), "a CA that nobody needs"
    second = site.run()
    assert well(second), second.stdout[-4000:]
    assert set(changed(second).values()) == {0}
    lines = [json.loads(line) for line in (site.authorities / "ledger.jsonl").read_text().splitlines()]
    assert {one["authority"] for one in lines} == {"client"}, "what others have issued is not ours to revoke"


@ONLY_THOROUGH
def test_files_that_change_between_runs_are_taken_over_under_connections(
    site: Any, keeper: Keeper, tmp_path: Path
) -> None:
    works = [functools.partial(loops.connecting, parameters(site, tmp_path))] * LOOPS
    with loops.beside(*works) as counted:
        for turn in (1, 0):
            leaf = keeper.renew(turn)
            done = site.run()
            assert well(done), done.stdout[-4000:]
            assert changed(done)["db1"] == 1
            assert served(site) == leaf
    assert len(counted) == LOOPS
    assert all(set(one) == {""} for one in counted), counted


def test_files_that_do_not_fit_stop_the_server_by_name_and_nobody_notices(site: Any, keeper: Keeper) -> None:
    before = served(site)
    keeper.renew(names=("db2.example",))
    done = site.run()
    assert done.returncode != 0
    said = f"postgres_server_existing.certificate: {keeper.certificate}: it lacks the names localhost, 127.0.0.1"
    assert said in as_line(done)
    assert "Or correct postgres_server_existing or postgres_server_extra_names" in as_line(done)
    assert served(site) == before
    assert site.connect(0, f"host=localhost port={site.cluster.port} user=app dbname=postgres").returncode == 0


@ONLY_THOROUGH
def test_a_certificate_that_nobody_renews_fails_the_run_in_time(site: Any, keeper: Keeper) -> None:
    leaf = keeper.renew(start=TODAY - 79 * DAY, days=90)
    done = site.run()
    assert done.returncode != 0
    assert "this certificate ends in 10d" in as_line(done)
    assert served(site) == leaf
    keeper.renew()
    assert well(site.run())


def test_a_server_without_files_is_told_what_to_name(site: Any) -> None:
    done = site.run(postgres_server_existing={}, postgres_server_renew=True)
    assert done.returncode != 0
    assert "is of type existing, so nothing here signs certificates of servers. Name the files" in as_line(done)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a directory that only root can change."""
    found = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/opt"))
    yield found
    shutil.rmtree(found)


@ONLY_THOROUGH
def test_a_self_signed_certificate_from_nothing_to_verified(
    site_on: Callable[[Any], Any], billing: Any, folder: Path
) -> None:
    billing.psql("CREATE ROLE app LOGIN")
    own, roots = site_on(billing), folder / "roots.pem"
    ((command, _shown),) = guides.commands_of("guide_existing", "test_existing").commands()

    def make() -> str:
        subprocess.run(["bash", "-ec", command], cwd=folder, check=True, capture_output=True)
        return (folder / "tls.crt").read_text()

    def run(**more: Any) -> subprocess.CompletedProcess[str]:
        files = {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")}
        declared = {"server": {"type": "existing", "roots": str(roots)}}
        done = own.run(postgres_ca_sources=declared, postgres_server_existing=files, **more)
        assert well(done), done.stdout[-4000:]
        return done  # type: ignore[no-any-return]

    roots.write_text(make())
    run()
    target = f"host=localhost port={billing.port} user=app dbname=postgres sslmode=verify-full"
    first = served(own)
    assert own.connect(0, target).returncode == 0
    assert set(changed(run()).values()) == {0}
    kept = {name: (folder / name).read_bytes() for name in ("tls.crt", "tls.key")}
    roots.write_text(roots.read_text() + make())
    new = {name: (folder / name).read_bytes() for name in kept}
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    run()
    for name, content in new.items():
        (folder / name).write_bytes(content)
    run(postgres_server_renew=True)
    assert served(own) != first
    assert own.connect(0, target).returncode == 0
    assert set(changed(run()).values()) == {0}


@ONLY_THOROUGH
def test_the_report_and_a_removal_work_as_ever(site: Any) -> None:
    report = site.run(playbook="pgops.tls.report")
    assert report.returncode == 0, report.stdout[-4000:]
    done = site.run("--limit", "all", playbook="pgops.tls.remove")
    assert done.returncode == 0, done.stdout[-4000:]
    assert site.cluster.psql("SHOW ssl") == "off"

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets up the three fleets of page guide_examples, with its files and its commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import yaml
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.examples.conftest import DOMAIN, Fleet, Team
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.services.conftest import PATRONI as CONFIG

PAGE = guides.FOLDER / "guide_examples.rst"
THIS_FILE = "tests/examples/test_examples.py"
TITLES = ("One server", "Two clusters and a PgBouncer", "Patroni, with a company's CA")
POOLER_FILES = [f"/etc/pgbouncer/{name}" for name in ("pgbouncer.ini", "hba.conf", "userlist.txt")]
PATRONI = "patroni.yml"


def blocks(title: str, by_hand: Mapping[str, str]) -> list[guides.Block]:
    """Return the blocks of a section, with the names of the containers and what else is another one here."""
    text = PAGE.read_text(encoding="utf-8")
    lines = text.splitlines()
    start = lines.index(title)
    end = next((at for at in range(start + 2, len(lines)) if lines[at].startswith("---")), len(lines))
    for there, here in {".example.com": DOMAIN, **by_hand}.items():
        text = text.replace(there, here)
    return [block for block in guides.blocks(PAGE.name, text) if start < block.line < end]


def follow(team: Team, title: str, by_hand: Mapping[str, str], between: Mapping[str, Callable[[str], None]]) -> None:
    """Write the files of a section and run its commands; ``between`` does what belongs to a caption in another way.

    "after N": what is done by hand after the block of commands with this number.
    """
    done = 0
    for block in blocks(title, by_hand):
        if block.caption in between:
            between[block.caption](block.text)
        elif block.language == "yaml":
            team.write(block.caption.replace("all.yml", "all/own.yml"), block.text)
        elif THIS_FILE in block.tests():
            wrong = guides.follow(block, team.folder, team.environment)
            if wrong:
                pytest.fail(wrong, pytrace=False)
            done += 1
            between.get(f"after {done}", lambda _text: None)("")
    assert done, "no command was run"


def test_each_fleet_of_the_page_has_a_test() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(":caption: inventory.yml") == len(TITLES)
    assert [title for title in TITLES if f"\n{title}\n---" not in text] == []


def test_one_server(team: Team) -> None:
    follow(team, TITLES[0], {}, {})
    query = f"host=db1{DOMAIN} user=app dbname=shop sslmode=verify-full"
    assert connect(team.fleet, "app1", query) == "1\n"


def test_two_clusters_and_a_pooler(team: Team, fleet: Fleet) -> None:
    follow(
        team,
        TITLES[1],
        {"192.0.2.20": fleet.address("pool1")},
        {path: partial(fleet.configure_pooler, path) for path in POOLER_FILES},
    )
    assert connect(fleet, "web1", f"service=app@pool1{DOMAIN}") == "1\n"


def test_patroni_with_a_company(team: Team, fleet: Fleet, tmp_path: Path) -> None:
    company, requests = Company(tmp_path / "company"), tmp_path / "requests"

    def verify_replication(text: str) -> None:
        fleet.secure_replication()
        told, found = (yaml.safe_load(one) for one in (text, fleet.inside("shop1", "cat", CONFIG)))
        told, found = (one["postgresql"]["authentication"]["replication"].items() for one in (told, found))
        assert told <= found

    follow(
        team,
        TITLES[2],
        {"/srv/postgres-requests": str(requests), "/etc/company-ca/root.pem": str(company.folder / "root.pem")},
        {"after 1": lambda _text: company.sign_issuing(requests), PATRONI: verify_replication},
    )
    assert connect(fleet, "web2", f"host=shop{DOMAIN} user=app dbname=shop sslmode=verify-full") == "1\n"
    trusted = fleet.inside("web2", "openssl", "x509", "-noout", "-subject", "-in", "/home/shop/.postgresql/root.crt")
    assert "Company Root" in trusted


def connect(fleet: Fleet, host: str, conninfo: str) -> str:
    """Return what OS user shop of a host gets from a server."""
    return fleet.inside(host, "psql", "-XAtc", "SELECT 1", conninfo, user="shop")

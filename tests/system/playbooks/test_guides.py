# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what the pages of the documentation tell their readers to do, and compares what happens with what they show.

Of each page its files are written and its commands run in the order of the page, as root in an empty directory. The
fleet of the pages is this container: two clusters on addresses of their own, and client hosts that are names of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

THIS_FILE = "tests/system/playbooks/test_guides.py"
HOST_OF_ADDRESS = {"127.0.1.1": "db1", "127.0.1.2": "db2", "127.0.1.3": "app1", "127.0.1.4": "report1"}
SOCKETS = {"main": "/run/postgresql", "second": "/run/postgresql-db2"}  # clusters; they listen on db1 and db2
OS_USERS = ("shop", "reporting")
# What the hosts had before: roles, one of them with a password, who is let in by a line that somebody wrote by hand
BEFORE = ["CREATE ROLE app LOGIN PASSWORD 'old'", "CREATE DATABASE shop OWNER app", "CREATE ROLE report LOGIN"]
SHOP_RULE = "\n# the shop, as set up in 2019\nhost  shop  app  127.0.0.0/8  scram-sha-256\n"
# What differs from hosts of their own: both clusters have one /etc and one /run
SECOND_SERVER = (
    f"postgres_server_login_unix_socket: {SOCKETS['second']}\npostgres_server_directory: /etc/postgresql/tls/db2\n"
)


def blocks(page: Path) -> list[guides.Block]:
    """Return the blocks of a page."""
    return guides.blocks(page.name, page.read_text(encoding="utf-8"))


PAGES = [page for page in guides.pages() if any(THIS_FILE in block.tests() for block in blocks(page))]


def run(*argv: object) -> str:
    """Run a command that has to succeed; return its output."""
    done = subprocess.run([*map(str, argv)], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def drop_clusters(version: str) -> None:
    """Stop and remove the clusters and what the collection made for them."""
    for name in SOCKETS:
        subprocess.run(["pg_dropcluster", "--stop", version, name], check=False, capture_output=True)
        shutil.rmtree(f"/etc/postgresql/{version}/{name}", ignore_errors=True)  # files of others stay otherwise
    shutil.rmtree("/etc/postgresql/tls", ignore_errors=True)


def make_clusters(version: str) -> None:
    """Make both clusters as Debian makes them, and what was in them before."""
    for number, (name, socket) in enumerate(SOCKETS.items(), 1):
        run("pg_createcluster", version, name)
        conf = Path("/etc/postgresql", version, name)
        Path(socket).mkdir(exist_ok=True)
        shutil.chown(socket, "postgres", "postgres")
        own = f"listen_addresses = '127.0.1.{number}'\nport = 5432\nunix_socket_directories = '{socket}'\nfsync = off\n"
        (conf / "conf.d" / "own.conf").write_text(own)
        rules = (conf / "pg_hba.conf").read_text()
        (conf / "pg_hba.conf").write_text(re.sub(r"(?m)^host +all .*\n", "", rules) + SHOP_RULE)
        control = ["/usr/lib/postgresql/{v}/bin/pg_ctl", "-D", "/var/lib/postgresql/{v}/{n}", "-o"]
        control += ["-c config_file={c}/postgresql.conf", "-l", "/var/log/postgresql/postgresql-{v}-{n}.log", "-w"]
        start = [part.format(v=version, n=name, c=conf) for part in control]
        run("runuser", "-u", "postgres", "--", *start, "start")
        for query in BEFORE:
            run("runuser", "-u", "postgres", "--", "psql", "-qX", "-h", socket, "-c", query)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Path]:
    """Make the hosts of the pages; return the directory in which their reader works."""
    if not Path("/run/.containerenv").exists():
        pytest.skip("this replaces the clusters of the machine")
    version = run("pg_lsclusters", "--no-header").split()[0]
    hosts, own = Path("/etc/hosts"), Path("/etc/postgresql", version)
    before = hosts.read_text()
    kept = {name: (own / name / "conf.d" / "listen.conf").read_text() for name in SOCKETS}
    drop_clusters(version)
    hosts.write_text(before + "".join(f"{address} {name}.example.com\n" for address, name in HOST_OF_ADDRESS.items()))
    try:
        for name in OS_USERS:
            run("useradd", "--create-home", "--shell", "/bin/bash", name)
        make_clusters(version)
        (tmp_path / "host_vars").mkdir()
        (tmp_path / "host_vars" / "db2.example.com.yml").write_text(SECOND_SERVER)
        yield tmp_path
    finally:
        hosts.write_text(before)
        drop_clusters(version)
        for name in OS_USERS:
            subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)
        for name, port in (("main", 5432), ("second", 5433)):  # as the image has them
            manual = ["--start-conf=manual"] if name == "second" else ["--start"]
            run("pg_createcluster", f"--port={port}", *manual, version, name)
            (own / name / "conf.d" / "listen.conf").write_text(kept[name])
        run("pg_ctlcluster", version, "main", "restart")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of the reader, for whom every host is this one."""
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "home" / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_TRANSPORT": "local",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }


@ONLY_THOROUGH
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_can_be_followed_step_by_step(page: Path, fleet: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml" and re.fullmatch(r"[\w/.-]+\.yml", block.caption):
            (fleet / block.caption).parent.mkdir(exist_ok=True)
            (fleet / block.caption).write_text(block.text)
        elif THIS_FILE in block.tests():
            wrong = guides.follow(block, fleet, environment(fleet))
            if wrong:
                pytest.fail(wrong, pytrace=False)  # whole: an assertion would shorten it


def test_a_command_that_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    def said(text: str) -> str:
        block = guides.Block("page", 1, "code-block", "console", f"Run by {THIS_FILE}", text)
        return guides.follow(block, tmp_path, environment(tmp_path))

    assert said("$ echo a; echo b\na\nb\n$ true") == ""
    assert said("$ seq 9\n1\n...\n9\n$ echo one two\none ...") == ""
    assert "should print" in said("$ echo a\nb")
    assert "should print" in said("$ seq 9\n...\n8")
    assert "failed with 3" in said("$ exit 3")
    assert said("$ echo fatal: no; exit 2\nfatal: no") == ""

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a first run says before it changes something that the inventory does not mention."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    shared_cluster.psql("CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


def said(done: Any) -> str:
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


@ONLY_THOROUGH
def test_an_os_user_who_connects_elsewhere_stops_its_host_until_default_files_is_set(site: Any) -> None:
    home = site.homes / site.os_users[0]
    password_file = home / ".pgpass"
    password_file.write_text("127.0.0.1:*:*:*:one\ndb1:*:*:*:two\nold.example.com:*:*:app:hunter2\n")
    password_file.chmod(0o600)
    os.chown(password_file, pwd.getpwnam(home.name).pw_uid, -1)
    message = (
        f"OS user '{home.name}' also connects to servers outside the inventory: old.example.com (.pgpass). This run"
    )
    for options in (["--check"], []):
        done = site.run(*options)
        assert done.returncode == 2, done.stdout
        assert message in said(done)
        assert "Set default_files for an identity of this OS user in postgres_client_identities" in said(done)
        assert "hunter2" not in said(done)
        assert not (home / ".postgresql").exists()

    inventory = site.inventory()
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"][0]["default_files"] = False
    done = site.run(inventory=inventory)
    assert done.returncode == 0, done.stdout
    assert re.search(r"(\d+) connections from 1 client hosts: \1 as expected", done.stdout), done.stdout
    assert os.listdir(home / ".postgresql") == ["pgops"]
    password_file.unlink()


def test_the_first_set_up_of_a_server_names_the_defaults_that_count(site: Any) -> None:
    shutil.rmtree(site.cluster.home / "tls", ignore_errors=True)
    inventory = site.inventory()
    server = inventory["postgres_servers"]["hosts"]["db1"]
    del server["postgres_server_names"]
    done = said(site.run("--check", "--limit", "db1", inventory=inventory))
    assert "First set-up of db1. These defaults count" in done
    for meaning in ("plaintext is reject: ", "hba has a certificate rule ", "names is the name in the inventory: "):
        assert f"postgres_server_{meaning}" in done
    server.update(postgres_server_plaintext="allow", postgres_server_hba=[])
    done = said(site.run("--check", "--limit", "db1", inventory=inventory, postgres_server_names=["localhost"]))
    assert "First set-up" not in done


def test_variables_beside_a_playbook_that_imports_the_collection_are_named(site: Any, tmp_path: Path) -> None:
    rules = tmp_path / "group_vars" / "postgres_servers.yml"
    rules.parent.mkdir()
    rules.write_text("postgres_server_hba: []\n")
    playbook = tmp_path / "tls.yml"
    playbook.write_text(json.dumps([{"ansible.builtin.import_playbook": "pgops.tls.site"}]))
    before = site.files()
    warning = f"{rules} sets postgres_server_hba, but this run does not use it"
    output = said(site.run("--check", "--tags", "none", playbook=str(playbook)))
    assert warning.replace(" ", "") in output.replace(" ", ""), "ansible-core 2.18 breaks long words of a warning"
    rules.write_text("my_own: 1\n")
    assert "but this run does not use it" not in said(site.run("--check", "--tags", "none", playbook=str(playbook)))
    assert site.files() == before

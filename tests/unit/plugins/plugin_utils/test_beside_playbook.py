# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that a run does not use, as files on disk and Ansible's own loader have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.pgops.tls.plugins.plugin_utils import beside_playbook
from ansible_collections.pgops.tls.plugins.plugin_utils.inventory import Fleet

GROUPS = {"all": ["db1", "app1"], "postgres_servers": ["db1"], "postgres_clients": ["app1"], "empty": []}
RULES = "postgres_server_hba: []\n"


def warnings(directory: Path, everywhere: dict[str, Any] | None = None, **run: Any) -> list[str]:
    """Return the warnings of a run of a playbook in a directory, without that directory's path."""
    (directory / "playbook.yml").write_text("[]")
    given = {"db1": {"postgres_server_port": 5432, "postgres_server_ssl": {"ssl_ciphers": "HIGH"}}, "app1": {}}
    options = {"started": [str(directory / "playbook.yml")], "sources": ["/etc/hosts"], "playbook_dir": "/", **run}
    found = beside_playbook.warnings(
        beside_playbook.Run(**options), Fleet(given, GROUPS, everywhere or {}), DataLoader()
    )
    return [one.replace(f"{directory}/", "").partition(", but this run")[0] for one in found]


FILES = {
    "group_vars/postgres_servers.yml": (RULES, "postgres_server_hba"),
    "group_vars/all": (RULES, "postgres_server_hba"),
    "group_vars/all/tls.yaml": (RULES, "postgres_server_hba"),
    "group_vars/empty.yml": (RULES, ""),
    "group_vars/unknown.yml": (RULES, ""),
    "host_vars/db1.json": ('{"postgres_server_names": ["db1"]}', "postgres_server_names"),
    "host_vars/db1.yml": (f"{RULES}postgres_server_names: [a]\n", "postgres_server_hba, postgres_server_names"),
    "host_vars/db2.yml": (RULES, ""),
    "host_vars/db1.txt": (RULES, ""),
    "group_vars/postgres_clients.yml": (
        "postgres_client_identities: [{role: app, os_user: shop}]\n",
        "postgres_client_identities",
    ),
    "group_vars/all.yml": ("mine: 1\npostgres_server_of_mine: 2\n", ""),
    "group_vars/postgres_servers.yaml": ("postgres_server_port: 5432\n", ""),
    "group_vars/postgres_servers.json": ('{"postgres_server_port": 5433}', "postgres_server_port"),
    "host_vars/db1/1.yml": ("postgres_server_ssl: {ssl_ciphers: HIGH}\n", ""),
    "host_vars/db1/2.yml": ("postgres_server_port: '{{ 5433 }}'\n", ""),
    "host_vars/app1.yml": ("[unfinished\n", ""),
    "host_vars/app1.yaml": ("- a list\n", ""),
    "vars/main.yml": (RULES, ""),
}


@pytest.mark.parametrize("path", FILES)
def test_variables_that_are_not_in_effect(tmp_path: Path, path: str) -> None:
    text, names = FILES[path]
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    assert warnings(tmp_path) == ([f"{path} sets {names}"] if names else [])


def test_where_ansible_reads_them_or_the_command_line_sets_them(tmp_path: Path) -> None:
    folder = tmp_path / "group_vars"
    folder.mkdir()
    (folder / "all.yml").write_text(RULES)
    (tmp_path / "hosts.yml").write_text("")
    assert warnings(tmp_path) == ["group_vars/all.yml sets postgres_server_hba"]
    assert warnings(tmp_path, sources=[str(tmp_path)]) == []
    assert warnings(tmp_path, sources=["/etc/hosts", str(tmp_path / "hosts.yml")]) == []
    assert warnings(tmp_path, playbook_dir=str(tmp_path)) == []
    assert warnings(tmp_path, started=["pgops.tls.site"]) == []
    assert warnings(tmp_path, everywhere={"postgres_server_hba": []}) == []


def test_a_file_for_which_ansible_reads_a_directory_or_another_file(tmp_path: Path) -> None:
    folder = tmp_path / "group_vars"
    (folder / "all").mkdir(parents=True)
    (folder / "all" / "vault.yml").write_text("postgres_ca_passphrase: x\n")
    (folder / "all.yml").write_text(RULES)
    (folder / "postgres_servers.yml").write_text("postgres_server_port: 5432\n")
    (folder / "postgres_servers.yaml").write_text("postgres_server_port: 5433\n")
    (folder / "postgres_clients.txt").write_text("")
    hidden = [
        "group_vars/all.yml sets postgres_server_hba",
        "group_vars/postgres_servers.yaml sets postgres_server_port",
    ]
    assert warnings(tmp_path, sources=[str(tmp_path)]) == hidden
    # It is what Ansible does
    read = DataLoader().find_vars_files(str(folder), "all")
    assert [Path(str(one)).name for one in read] == ["vault.yml"]
    (folder / "all" / "main.yml").write_text(RULES)
    (folder / "postgres_servers.yaml").unlink()
    effective = {"postgres_server_hba": []}
    assert warnings(tmp_path, everywhere=effective, sources=[str(tmp_path)]) == []


def test_the_warning_names_the_place_for_them(tmp_path: Path) -> None:
    (tmp_path / "host_vars" / "db1").mkdir(parents=True)
    (tmp_path / "host_vars" / "db1.yml").write_text(RULES)
    run = beside_playbook.Run([], [str(tmp_path)], "/")
    (found,) = beside_playbook.warnings(run, Fleet({"db1": {}}, {"all": ["db1"]}, {}), DataLoader())
    folder = tmp_path / "host_vars"
    assert found == (
        f"{folder}/db1.yml sets postgres_server_hba, but this run does not use it: Ansible reads {folder}/db1 and no "
        f"other file for the same name. Move them to {folder}/db1/main.yml."
    )

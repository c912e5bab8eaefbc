# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults for a group of modules reach every module of the group, and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.tests.shared import COLLECTIONS, ROOT

ACTION_GROUPS = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
# What the modules cannot do without: they name it before they name options that they do not have
NEEDED: dict[str, dict[str, Any]] = {
    "certificate": {"directory": "/nonexistent", "authority": "server", "requests": []},
    "certificate_authority": {"directory": "/nonexistent"},
    "client": {"identities": [], "roots": "x", "issuing": "x", "trusted_clients": "x", "controller_time": 0},
    "client_kit": {"directory": "/nonexistent", "authorities": {}, "kits": []},
    "connection_info": {"expectations": []},
    "patroni": {
        "names": [], "roots": "x", "server_issuing": "x", "trusted_clients": "x", "client_issuing": "x",
        "controller_time": 0,
    },
    "pgbouncer": {
        "names": [], "roots": "x", "server_issuing": "x", "trusted_clients": "x", "client_issuing": "x",
        "controller_time": 0,
    },
    "endpoint_info": {"host": "localhost", "port": 1},
    "server": {
        "names": [], "ssl_conf": "", "roots": "x", "issuing": "x", "trusted_clients": "x", "controller_time": 0,
    },
}  # fmt: skip


def played(folder: Path, defaults: dict[str, Any], tasks: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run tasks on this machine, each whether or not the one before failed."""
    play = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}
    (folder / "playbook.yml").write_text(json.dumps([play]), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    own = {"ANSIBLE_HOME": str(folder / "home"), "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS, "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", "playbook.yml",
         "-e", f"ansible_python_interpreter={sys.executable}"],
        cwd=folder, env={**kept, **own, "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_defaults_of_a_group_reach_its_modules_and_no_other(tmp_path: Path) -> None:
    tasks = [{f"pgops.tls.{name}": needed, "ignore_errors": True, "name": name} for name, needed in NEEDED.items()]
    done = played(tmp_path, {f"group/pgops.tls.{group}": {f"only_of_{group}": 1} for group in ACTION_GROUPS}, tasks)
    found = {}
    for text in done.stdout.split("TASK [")[1:]:
        name = text.split("]")[0]
        refused = f"Unsupported parameters for (pgops.tls.{name}) module: only_of_"
        found[name] = [group for group in ACTION_GROUPS if refused + group in text]
    assert found == {name: [group for group in ACTION_GROUPS if name in ACTION_GROUPS[group]] for name in NEEDED}, (
        done.stdout
    )


def test_the_authorities_take_their_directory_and_passphrase_from_their_group(tmp_path: Path) -> None:
    options = {"directory": str(tmp_path / "ca"), "passphrase": "never-to-be-seen-4711"}
    tasks = [
        {"pgops.tls.certificate_authority": None},
        {"pgops.tls.certificate": {"authority": "server", "requests": [{"id": "db1", "names": ["db1"], "csr": "x"}]}},
    ]
    done = played(tmp_path, {"group/pgops.tls.authorities": options}, tasks)
    assert done.returncode == 0, done.stdout
    assert b"ENCRYPTED" in (tmp_path / "ca" / "server" / "0001" / "issuing.key").read_bytes()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")))
def test_a_module_documents_the_groups_that_it_is_in(name: str) -> None:
    text = (ROOT / "plugins" / "modules" / f"{name}.py").read_text(encoding="utf-8")
    documented = yaml.safe_load(text.split('DOCUMENTATION = r"""')[1].split('"""')[0])
    fragments = [f"pgops.tls.attributes.{group}" for group in ACTION_GROUPS if name in ACTION_GROUPS[group]]
    known = {"pgops.tls.attributes", *(f"pgops.tls.attributes.{group}" for group in ACTION_GROUPS)}
    named = [one for one in documented["extends_documentation_fragment"] if one in known]
    assert named == ["pgops.tls.attributes", *fragments]

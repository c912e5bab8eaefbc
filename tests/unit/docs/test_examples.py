# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories, variables and playbooks of the documentation, tried by Ansible as a user would run them.

The first play of the playbook pgops.tls.site checks the input of all hosts on the controller. Here it runs in check
mode and alone, so no host of an example is reached and nothing is written. A block is tried when its caption is the
name of a file; "(optional)" behind it keeps the file from those who follow the page step by step.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH, ROOT

INVENTORY_FILE = (
    r"(?:inventory\.yml|inventory/[\w./-]+\.yml|(?:group|host)_vars/[\w./-]+\.yml|[\w/-]*(?:playbook|site)\.yml)"
)
OPTIONAL = r"(?: \(optional\))?"
# What a file of variables is tried with
BASE = """
postgres_servers:
  hosts:
    db1.example.com:
    db2.example.com:
postgres_clients:
  hosts:
    app1.example.com:
shop:
  hosts:
    db1.example.com:
"""
IDENTITIES_TEXT = "postgres_client_identities: [{role: app, os_user: shop, databases: [shop]}]\n"
PASSPHRASE_OPTION = ["-e", "vault_postgres_ca_passphrase=from-a-vault"]  # what examples have in a vault
ROOT_CERTIFICATE = AUTHORITIES["server"].root.pem
MISTAKE = """
.. code-block:: yaml
   :caption: inventory.yml

   postgres_servers:
     hosts:
       db+1:
"""


def examples(name: str, text: str) -> list[guides.Block]:
    """Return the blocks of a page that are files."""
    return [block for block in guides.blocks(name, text) if re.fullmatch(INVENTORY_FILE + OPTIONAL, block.caption)]


def request() -> str:
    """Return a request as somebody outside the inventory would send it."""
    command = ["openssl", "req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made = subprocess.run(
        [*command, "-keyout", os.devnull, "-subj", "/CN=x"], capture_output=True, text=True, check=True
    )
    return made.stdout


def checked(folder: Path, block: guides.Block) -> subprocess.CompletedProcess[str]:
    """Write the example as a file, and have Ansible check it."""
    site = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8"))
    if "postgres_ca_sources:" in block.text:  # it names files and CAs that do not exist here
        site[0]["tasks"] = [task for task in site[0]["tasks"] if "ansible.builtin.import_role" not in task]
    (folder / "input.yml").write_text(yaml.safe_dump(site[:1]))
    (folder / "inventory").mkdir()
    (folder / "inventory" / "hosts.yml").write_text(BASE)
    (folder / "inventory" / "group_vars").mkdir()
    (folder / "inventory" / "group_vars" / "postgres_clients.yml").write_text(IDENTITIES_TEXT)
    files = re.findall(r"group_vars/[\w-]+\.(?:pem|der)", block.text)  # bundles of roots
    files += re.findall(r"inventory_dir ~ '/([\w/-]+\.(?:crt|csr))'", block.text)
    for name in files:
        (folder / "inventory" / name).write_text(request() if name.endswith(".csr") else ROOT_CERTIFICATE)
    caption = block.caption.removesuffix(" (optional)")
    path = "inventory/" + caption.removeprefix("inventory/")
    options = ["-i", "inventory", "input.yml", "--check"]
    if caption.startswith("inventory"):  # whole: nothing of the base
        (folder / "inventory" / "hosts.yml").unlink()
        (folder / "inventory" / "group_vars" / "postgres_clients.yml").unlink()
    elif not caption.startswith(("group_vars", "host_vars")):
        path = caption
        options = ["-i", "inventory", path, "--syntax-check"]
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(block.text)
    # The authorities of an example may be on a host that does not exist, and its way to hosts needs another collection
    local = ["-e", "ansible_connection=local", "-e", "postgres_ca_host=localhost"]
    local += ["-e", f"postgres_ca_directory={folder}/postgres-ca"]
    others = dict.fromkeys(re.findall(r"\bvault_\w+", block.text), "what-a-vault-holds")
    if "company_root:" not in block.text:  # another example of its page has it
        others["company_root"] = ROOT_CERTIFICATE
    local += ["-e", json.dumps(others)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    own = {"ANSIBLE_HOME": str(folder / "home"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections")}
    own.update(ANSIBLE_LOCAL_TEMP=str(folder / "home" / "tmp"), ANSIBLE_NOCOLOR="1", ANSIBLE_LOCALHOST_WARNING="0")
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [program, *options, *local, *PASSPHRASE_OPTION],
        cwd=folder,
        env={**kept, **own},
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


EXAMPLE_STEP = 1 if IS_THOROUGH else 3  # as make test-all sets it; each takes two seconds
ALL_EXAMPLES = [one for path in guides.pages() for one in examples(path.name, path.read_text(encoding="utf-8"))]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("block", ALL_EXAMPLES[::EXAMPLE_STEP], ids=str)
def test_ansible_takes_the_example(block: guides.Block, tmp_path: Path) -> None:
    done = checked(tmp_path, block)
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout, done.stdout
    if "--syntax-check" not in done.args:
        assert re.search(r"^\S+ +: ok=[1-9]", done.stdout, re.MULTILINE), done.stdout


def test_a_mistake_in_an_example_is_found(tmp_path: Path) -> None:
    (block,) = examples("page", MISTAKE)
    done = checked(tmp_path, block)
    assert done.returncode == 2
    assert "'db+1' is neither a DNS name nor an IP address" in done.stdout


def test_variables_are_tried_with_a_fleet(tmp_path: Path) -> None:
    text = MISTAKE.replace("inventory.yml", "group_vars/postgres_servers.yml")
    text = text.replace("   postgres_servers:\n     hosts:\n       db+1:\n", "   postgres_server_plaintext: maybe\n")
    (block,) = examples("page", text)
    done = checked(tmp_path, block)
    assert done.returncode == 2
    assert "postgres_server_plaintext must be one of: reject, allow" in done.stdout, done.stdout
    assert "db1.example.com" in re.findall(r"^(\S+) +: .*failed=1", done.stdout, re.MULTILINE), done.stdout


def test_a_playbook_is_checked_for_its_syntax(tmp_path: Path) -> None:
    playbook = "- hosts: all\n     rolls: []\n"
    (block,) = examples("page", f".. code-block:: yaml\n   :caption: my-playbook.yml\n\n   {playbook}")
    done = checked(tmp_path, block)
    assert done.returncode != 0, done.stdout


def test_the_checkout_has_a_playbook_that_does_the_same_as_the_collection_s(tmp_path: Path) -> None:
    def tasks(playbook: str, *, cwd: Path, **settings: str) -> list[str]:
        own = {"ANSIBLE_HOME": str(tmp_path), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"), "PATH": os.environ["PATH"]}
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [program, "-i", tmp_path / "hosts.yml", playbook, "--list-tasks"]
        done = subprocess.run(command, cwd=cwd, env={**own, **settings}, text=True, check=False, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().splitlines()[1:]  # the first line is the playbook's name

    (tmp_path / "hosts.yml").write_text(BASE)
    installed = tasks("pgops.tls.site", cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".ansible" / "collections"))
    assert tasks("site.yml", cwd=ROOT) == installed
    assert len(installed) > 10

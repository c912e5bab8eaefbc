"""The role as users run it: ansible-playbook on an inventory whose hosts are all this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, signing
from ansible_collections.pgops.tls.tests.shared import COLLECTIONS, PASSPHRASE

# Whatever the inventory says of localhost, the controller is to be used directly, with the Python that runs Ansible.
INVENTORY_TEXT = """
all:
  vars:
    ansible_connection: ansible.builtin.local
    ansible_python_interpreter: /nonexistent/python
  hosts:
    localhost: {ansible_connection: ssh}
  children:
    postgres_servers:
      hosts: {db1: , db2: , db3: }
    postgres_clients:
      hosts: {app1: }
"""
PLAYBOOK_TEXT = """
- name: Certificate authorities
  hosts: postgres_servers:postgres_clients
  gather_facts: false
  roles:
    - role: pgops.tls.postgres_ca

- name: Servers
  hosts: postgres_servers
  gather_facts: false
  vars:
    csr: >-
      {{ 'garbage' if inventory_hostname in garbled | default([])
      else lookup('ansible.builtin.file', inventory_dir ~ '/some.csr') }}
    request: {id: "{{ inventory_hostname }}", csr: "{{ csr }}", names: ["{{ inventory_hostname }}.example"]}
  tasks:
    - name: Lose the first hosts
      ansible.builtin.fail:
        msg: lost
      when: inventory_hostname in lost | default([])

    - name: Note the request
      ansible.builtin.set_fact:
        request: "{{ request }}"

    - name: Sign
      ansible.builtin.include_role:
        name: pgops.tls.postgres_ca
        tasks_from: sign
      vars:
        postgres_ca_sign_authority: server
        postgres_ca_sign_requests: "{{ ansible_play_hosts | map('extract', hostvars, 'request') }}"

    - name: Keep the chain
      ansible.builtin.copy:
        content: "{{ postgres_ca_signed.certificates[inventory_hostname] }}"
        dest: "{{ inventory_dir }}/{{ inventory_hostname }}.crt"
        mode: "0644"
      vars:
        ansible_python_interpreter: "{{ ansible_playbook_python }}"

- name: A later play
  hosts: postgres_clients
  gather_facts: false
  tasks:
    - name: Use what the first play told
      ansible.builtin.debug:
        msg: "root of {{ inventory_hostname }}: {{ postgres_ca_authorities.server.roots[:27] }}"
"""


class Project:
    """A folder with an inventory and a playbook, as a user has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities = folder / "postgres-ca"
        (folder / "inventory.yml").write_text(INVENTORY_TEXT)
        (folder / "site.yml").write_text(PLAYBOOK_TEXT)
        subprocess.run(
            ["openssl", "req", "-new", "-batch", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", "/dev/null", "-subj", "/CN=x", "-out", folder / "some.csr"],
            check=True, capture_output=True,
        )  # fmt: skip

    def run(self, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run the playbook with the passphrase in the environment, and return what it printed."""
        wanted = {"postgres_ca_passphrase": "{{ lookup('ansible.builtin.env', 'CA_PASSPHRASE') }}", **variables}
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventory.yml", "site.yml", *options,
             "-e", json.dumps(wanted)],
            cwd=self.folder, capture_output=True, text=True, check=False,
            env={"CA_PASSPHRASE": PASSPHRASE, **self._environment()},
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        own = {"ANSIBLE_HOME": str(self.folder / ".ansible"), "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS}
        return {**kept, **own, "ANSIBLE_LOCAL_TEMP": str(self.folder / ".ansible" / "tmp"), "ANSIBLE_NOCOLOR": "1"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_fleet_gets_its_certificates_although_its_first_hosts_are_lost(project: Project) -> None:
    planned = project.run("--check", "--diff", lost=["db1", "db2"])
    assert '"issue a server certificate for db3: db3.example' in planned.stdout, planned.stdout
    assert not project.authorities.exists()

    done = project.run(lost=["db1", "db2"])
    assert "root of app1: -----BEGIN CERTIFICATE-----" in done.stdout, done.stdout
    assert [path.name for path in project.folder.glob("*.crt")] == ["db3.crt"]

    again = project.run()
    assert again.returncode == 0, again.stdout
    assert sorted(path.name for path in project.folder.glob("*.crt")) == ["db1.crt", "db2.crt", "db3.crt"]
    ids = [json.loads(line)["id"] for line in (project.authorities / "ledger.jsonl").read_text().splitlines()]
    assert ids == ["db3", "db1", "db2", "db3"]


@pytest.mark.parametrize("bad", ["db1", "db10"], ids=["the first host", "one whose name begins with another's"])
def test_a_host_whose_request_is_refused_fails_alone(project: Project, bad: str) -> None:
    (project.folder / "inventory.yml").write_text(INVENTORY_TEXT.replace("db3", "db10"))
    done = project.run(garbled=[bad])
    assert done.returncode == 2
    failed = re.findall(r"fatal: \[(\S+)\].*?requests\[(\S+)\]\.csr: expected a certificate request", done.stdout)
    assert failed == [(bad, bad)], done.stdout
    assert sorted(path.stem for path in project.folder.glob("*.crt")) == sorted({"db1", "db2", "db10"} - {bad})
    assert "root of app1: -----BEGIN CERTIFICATE-----" in done.stdout, "the run did not go on"

    planned = project.run("--check", garbled=[bad])
    assert re.findall(r"fatal: \[(\S+)\].*?requests\[", planned.stdout) == [bad], planned.stdout


def test_what_is_wrong_with_the_authority_stops_all_hosts(project: Project) -> None:
    assert project.run().returncode == 0
    (project.authorities / "ledger.jsonl").unlink()
    (project.authorities / "ledger.jsonl").symlink_to("/dev/null")
    done = project.run(garbled=["db1"])
    assert "ledger.jsonl: expected a place" in done.stdout
    assert "Keep the chain" not in done.stdout
    assert "requests[" not in done.stdout


def test_the_passphrase_is_never_seen_whatever_happens(project: Project) -> None:
    made = project.run("-vvvvv", "--diff")
    assert made.returncode == 0, made.stdout
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (project.authorities / "server/0001/issuing.key").read_bytes()
    (project.authorities / "client/0001/issuing.crt").unlink()
    failed = project.run("-vvvvv", "--diff")
    assert "client/0001/issuing.crt: this file of the authority is missing" in failed.stdout
    for done in (made, failed):
        assert PASSPHRASE not in done.stdout + done.stderr
        assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in done.stdout


def test_an_empty_passphrase_is_an_error_and_no_clear_key(project: Project) -> None:
    done = project.run(postgres_ca_passphrase="")
    assert "postgres_ca_passphrase: expected at least 8 characters, found an empty one" in done.stdout
    assert not project.authorities.exists()


def test_another_host_keeps_the_authorities_with_its_own_python(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    options = {"postgres_ca_host": "app1", "postgres_ca_directory": str(place)}
    failed = project.run(**options)
    assert "/nonexistent/python" in failed.stdout
    (project.folder / "host_vars").mkdir()
    (project.folder / "host_vars" / "app1.yml").write_text(f"ansible_python_interpreter: {sys.executable}\n")
    done = project.run(**options)
    assert done.returncode == 0, done.stdout
    assert "db1 -> app1" in done.stdout
    assert place.is_dir()
    assert not project.authorities.exists()


def test_the_summary_puts_certificates_back_that_the_ledger_lost_and_is_silent_where_it_lost_none(
    project: Project,
) -> None:
    """The plays are those of site.yml; what hosts showed is set in between."""
    now, csr = int(time.time()), (project.folder / "some.csr").read_text()
    keeping.keep(keeping.Wish(str(project.authorities), "P-256", PASSPHRASE), now, is_dry=False)
    wanted = [{"id": host, "csr": csr, "names": [f"{host}.example"]} for host in ("db1", "db2", "db3")]
    order = signing.Order(str(project.authorities), PASSPHRASE, "server", wanted, "90d")
    chains = signing.sign(order, now, is_dry=False).certificates
    ledger = project.authorities / "ledger.jsonl"
    before = [json.loads(line) for line in ledger.read_text().splitlines()]
    ledger.unlink()
    site = yaml.safe_load((Path(COLLECTIONS) / "ansible_collections/pgops/tls/playbooks/site.yml").read_text())
    (summary,) = [play for play in site if play["name"] == "Summary"]
    facts = {"postgres_server_converged": "{{ shown }}", "postgres_server_failed": "{{ failed | default('') }}"}
    shown = {"hosts": "postgres_servers", "gather_facts": False, "tasks": [{"ansible.builtin.set_fact": facts}]}
    plays = [yaml.safe_load(PLAYBOOK_TEXT)[0], shown, summary]
    (project.folder / "site.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    hosts = {}
    for line in before:
        hosts[line["id"]] = {"shown": {"certificate": {"serial": line["serial"], "pem": chains[line["id"]]}}}
    inventory = yaml.safe_load(INVENTORY_TEXT)
    inventory["all"]["children"]["postgres_servers"]["hosts"] = hosts
    hosts["db2"]["failed"] = "cannot be reached"
    (project.folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    failed = project.run()
    assert failed.returncode == 2, "for db2, which failed"
    assert failed.stdout.count("postgres_ca : Keep the authorities") == 2
    assert "db2 (server): cannot be reached" in failed.stdout
    told = " ".join((failed.stdout + failed.stderr).split())
    assert "ledger.jsonl did not hold certificates that are in use: db1 (server certificate " in told
    after = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(line["id"], line["serial"], line["sha256"]) for line in after] == [
        (line["id"], line["serial"], line["sha256"]) for line in before
    ]
    del hosts["db2"]["failed"]
    (project.folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    again = project.run()
    assert again.returncode == 0, again.stdout
    assert again.stdout.count("postgres_ca : Keep the authorities") == 1, "by the first play alone"

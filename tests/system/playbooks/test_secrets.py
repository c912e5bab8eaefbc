# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No passphrase, password or private key is ever seen: in output, logs, process lists or files that are left behind."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__
from ansible_collections.pgops.tls.plugins.module_utils.x509 import pkcs12
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, PASSPHRASE

WRONG = "also-never-to-be-seen-0815"
RULE_SECRETS = {"ldapbindpasswd": "bind-secret-1", "radiussecrets": "radius-secret-2", "own": "bind-secret-3"}
CONF_SECRET = "conninfo-secret-4"
STORE_SECRET = "keystore-secret-5"
LDAP = {"user": "eve", "method": "ldap", "ldapserver": "ldap.invalid", "ldapbasedn": "dc=x", "ldapbinddn": "cn=x",
        "ldapbindpasswd": RULE_SECRETS["ldapbindpasswd"]}  # fmt: skip
RADIUS = {"user": "eve", "database": "postgres", "method": "radius", "radiusservers": "127.0.0.1",
          "radiussecrets": RULE_SECRETS["radiussecrets"]}  # fmt: skip
LOUD = ("-vvvv", "--diff")
# From 2.22 on Ansible's debugging prints what modules answer as it comes, with what they tell it to hide
DEBUG = "1" if tuple(map(int, __version__.split(".")[:2])) < (2, 22) else "0"
AS_LOUD_AS_POSSIBLE = {
    "ANSIBLE_DEBUG": DEBUG,
    "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1",
    "ANSIBLE_INJECT_INVOCATION": "1",  # the arguments of modules in their results: from 2.21 on only if asked for
    "ANSIBLE_NO_LOG": "false",
}


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a server whose own files hold passwords."""
    shared_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE eve LOGIN")
    shared_cluster.append("postgresql.conf", f"primary_conninfo = 'host=x password={CONF_SECRET}'\n")
    own = 'host all eve 192.0.2.1/32 ldap ldapserver=x ldapbasedn=x "ldapbindpasswd={own}"'.format(**RULE_SECRETS)
    shared_cluster.hba(own)
    shared_cluster.reload()
    return site_on(shared_cluster)


def run(site: Any, *options: str, rules: list[dict[str, str]] | None = None, **given: Any) -> Any:
    """Run site.yml at the highest verbosity with rules that hold passwords; nothing secret may come of it."""
    inventory = site.inventory()
    rule, own = {"user": "app", "method": "cert"}, inventory["postgres_clients"]["hosts"]["app1"]
    own["postgres_client_identities"][0]["formats"] = ["pk8", "pkcs12", "truststore"]
    own["postgres_client_pkcs12_passwords"] = {f"{site.os_users[0]}/app": STORE_SECRET}
    inventory["postgres_servers"]["hosts"]["db1"]["postgres_server_hba"] = [rule, *(rules or [LDAP, RADIUS])]
    with watched_processes() as seen:
        done = site.run(*LOUD, *options, inventory=inventory, environment=AS_LOUD_AS_POSSIBLE, **given)
    (site.directory / "inventory.yml").unlink()  # the one file that holds them on purpose
    # Ansible's own debugging prints what it sends to each module, whatever is said to be secret
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "done with _execute_module" not in line]
    output = "\n".join(lines)
    assert len(seen) > 3
    places = {"output": output, "processes": "\n".join(seen), "log": system_log(), "files": left_behind(site)}
    found = {(place, one) for place, text in places.items() for one in secrets(site) if one in text}
    assert found == set(), output[-3000:]
    return done


def secrets(site: Any) -> set[str]:
    """Return everything secret: words, and the lines of private keys that nothing public has."""
    tops = (site.authorities, site.cluster.home / "tls", site.homes)
    keys = "".join(path.read_text() for top in tops for path in top.rglob("*.key"))
    bodies = re.findall(r"PRIVATE KEY-----\n(.*?)-----END", keys, re.DOTALL)
    # the lines behind the second one hold the public key of an EC key, which certificates hold too
    lines = {line for body in bodies for line in body.splitlines()[:2]}
    return lines | {PASSPHRASE, WRONG, CONF_SECRET, STORE_SECRET, "PRIVATE KEY-----", *RULE_SECRETS.values()}


@contextlib.contextmanager
def watched_processes() -> Iterator[set[str]]:
    """Collect the command lines of all processes for a while."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def system_log() -> str:
    """Return what modules told the system's log; a test machine without one has nothing to tell."""
    if not shutil.which("journalctl"):
        return ""
    return subprocess.run(["journalctl", "--no-pager", "-o", "cat"], capture_output=True, text=True, check=True).stdout


def left_behind(site: Any) -> str:
    """Return the texts of Ansible's temporary files on controller and host."""
    tops = (site.directory / "remote", site.directory / "home", site.directory / ".ansible")
    found = [path.read_bytes() for top in tops for path in top.rglob("*") if path.is_file()]
    return b"\n".join(found).decode(errors="replace")


def test_a_passphrase_that_is_encrypted_in_place_is_taken(site: Any) -> None:
    inventory = site.inventory()
    del inventory["all"]["vars"]["postgres_ca_passphrase"]
    (site.directory / "vault-password").write_text("of the vault\n")
    variables = site.directory / "group_vars" / "all.yml"
    variables.parent.mkdir()
    encrypt = ["encrypt_string", "--vault-password-file=vault-password", "--name=postgres_ca_passphrase", PASSPHRASE]
    try:
        variables.write_bytes(
            subprocess.run(
                [sys.executable, "-m", "ansible", "vault", *encrypt],
                cwd=site.directory,
                env=site.settings,
                check=True,
                capture_output=True,
            ).stdout
        )
        check = [
            {"hosts": "all", "gather_facts": False, "tasks": [{"run_once": True, "pgops.tls.check_inventory": {}}]}
        ]
        done = site.run("-vvv", "--vault-password-file=vault-password", inventory=inventory, playbook=check)
    finally:
        shutil.rmtree(variables.parent)
    assert done.returncode == 0, done.stdout
    assert "!vault" not in done.stdout
    assert PASSPHRASE not in done.stdout + done.stderr


@ONLY_THOROUGH
def test_no_secret_is_seen_in_check_mode(site: Any) -> None:
    done = run(site, "--check")
    assert done.returncode == 0, done.stdout
    assert "ldapbindpasswd=********" in done.stdout
    assert "radiussecrets=********" in done.stdout
    assert "+hostssl all app all cert" in done.stdout, "the difference is shown all the same"


def test_no_secret_is_seen_when_everything_is_set_up_and_again_when_nothing_changes(site: Any) -> None:
    done = run(site)
    assert done.returncode == 0, done.stdout
    rules = (site.cluster.data / "pg_hba.conf").read_text()
    assert all(secret in rules for secret in RULE_SECRETS.values()), "what is masked is written all the same"
    [store] = site.homes.rglob("current/app/postgresql.p12")
    assert pkcs12.opened(str(store), STORE_SECRET), "what is masked is used all the same"
    assert len(secrets(site)) > 12
    again = run(site)
    assert again.returncode == 0
    assert re.search(r"changed=[1-9]", again.stdout) is None


@pytest.mark.sampled(3)
@pytest.mark.parametrize("option", ["extra_trusted_clients", "roots"])
@pytest.mark.parametrize("alone", [False, True], ids=["site", "role"])
def test_no_key_is_seen_that_somebody_put_among_certificates(site: Any, option: str, alone: bool) -> None:
    role, variable = {
        "extra_trusted_clients": ("postgres_server", "postgres_server_extra_trusted_clients"),
        "roots": ("postgres_client", "postgres_client_extra_roots"),
    }[option]
    [root, *_others] = site.authorities.rglob("root.crt")
    key = (site.cluster.home / "tls" / "current" / "server.key").read_text()
    play = {"hosts": f"{role}s", "gather_facts": False, "roles": ["pgops.tls.postgres_ca", f"pgops.tls.{role}"]}
    before = site.files()
    done = run(site, playbook=[play] if alone else None, **{variable: root.read_text() + key})
    assert done.returncode == 2
    assert f"{option if alone else variable}: expected only what is public, found a private key" in done.stdout, (
        done.stdout[-3000:]
    )
    assert site.files() == before


def test_no_secret_is_seen_with_a_wrong_passphrase(site: Any) -> None:
    done = run(site, postgres_ca_passphrase=WRONG)
    assert "the passphrase is wrong" in done.stdout


def test_no_secret_is_seen_when_the_rehearsal_fails(site: Any) -> None:
    done = run(site, postgres_server_ssl={"ssl_ciphers": "NO-SUCH-CIPHER"})
    assert "'NO-SUCH-CIPHER' is no cipher list that OpenSSL accepts" in done.stdout


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({**RADIUS, "radiusservers": "no-address.invalid"}, "The server refuses pg_hba.conf: /"),
        ({**LDAP, "ldapsrver": "x"}, "method ldap has no option 'ldapsrver'"),
        ({**LDAP, "ldapbindpasswd": RULE_SECRETS["ldapbindpasswd"] + "\n"}, "holds a line break"),
        ({**LDAP, "ldapbindpasswd": [RULE_SECRETS["ldapbindpasswd"]]}, "expected a word"),
        ({key: value for key, value in LDAP.items() if key != "method"}, "the rule has no method"),
        ({**LDAP, "ldapprefix": "x"}, "ldapprefix and ldapsuffix cannot be combined with ldapbasedn"),
    ],
    ids=["servers", "option", "line break", "list", "method", "combination"],
)
def test_no_secret_is_seen_when_a_rule_is_refused(site: Any, rule: dict[str, Any], message: str) -> None:
    done = run(site, rules=[rule])
    assert done.returncode == 2
    assert message in done.stdout, done.stdout[-3000:]

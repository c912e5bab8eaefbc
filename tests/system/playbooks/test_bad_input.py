# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every mistake that a user can make ends site.yml with a clear message, and nothing was changed anywhere.

The authorities exist, server and client host are untouched: whatever came too far would leave a trace.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CA_PLAYBOOK = [{"hosts": "all", "gather_facts": False, "roles": ["pgops.tls.postgres_ca"]}]
# What tells that a mistake was not foreseen
UNFORESEEN = re.compile(
    r"Traceback|AttributeError|KeyError|TypeError|ValueError|Unexpected|MODULE FAILURE|object has no|template error"
)
Inventory = dict[str, Any]


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make the authorities and the role that logs in; the rest is as it was."""
    made = site_on(shared_cluster)
    shared_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE weak LOGIN")
    done = made.run(playbook=CA_PLAYBOOK)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def server(inventory: Inventory) -> dict[str, Any]:
    """Return the variables of the server, to change them."""
    found: dict[str, Any] = inventory["postgres_servers"]["hosts"]["db1"]
    return found


def client(inventory: Inventory) -> dict[str, Any]:
    """Return the variables of the client host, to change them."""
    found: dict[str, Any] = inventory["postgres_clients"]["hosts"]["app1"]
    return found


def refused(site: Any, message: str, *options: str, **given: Any) -> str:
    """Run site.yml; it has to fail with a message (a pattern), without a surprise and without any change."""
    before = site.files()
    done = site.run(*options, **given)
    after = site.files()
    shutil.rmtree(site.cluster.home / "tls", ignore_errors=True)  # or it would hide from the next test that it was made
    output = done.stdout + done.stderr
    text = re.sub(r"\s+", " ", output)
    assert done.returncode == 2, output
    assert re.search(message, text), output
    assert UNFORESEEN.search(output) is None, output
    assert "changed=0" in done.stdout
    assert re.search(r"changed=[1-9]", done.stdout) is None, output
    assert after == before
    return output


# The authorities


@pytest.fixture
def copied(site: Any) -> Iterator[Path]:
    """Copy the authorities, for a test that damages them."""
    copy = site.directory / "postgres-ca-damaged"
    shutil.copytree(site.authorities, copy)
    yield copy
    shutil.rmtree(copy, ignore_errors=True)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("passphrase", "message"),
    [
        ("not the right one", r"server/0001/issuing\.key: the private key cannot be read: the passphrase is wrong"),
        (None, r"server/0001/issuing\.key: the key is encrypted and no passphrase was given\. Set postgres_ca_pass"),
        ("", r"postgres_ca_passphrase: expected at least 8 characters, found an empty one"),
        ("brief", r"postgres_ca_passphrase: expected at least 8 characters, found a shorter one"),
    ],
)
def test_a_wrong_passphrase_stops_everything(site: Any, passphrase: str | None, message: str) -> None:
    output = refused(site, message, postgres_ca_passphrase=passphrase)
    assert "PLAY [Servers]" not in output


def test_a_revocation_that_only_client_hosts_have_stops_everything(site: Any) -> None:
    inventory = site.inventory()
    inventory["postgres_clients"]["vars"] = {"postgres_ca_revoked": [{"role": "leaver"}]}
    message = r"app1: postgres_ca_revoked: found another value than db1 has\."
    assert "PLAY [Servers]" not in refused(site, message, inventory=inventory)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda ca: (ca / "server/0001/issuing.key").unlink(), r"server/0001/issuing\.key: this file .* is missing"),
        (
            lambda ca: (ca / "client/0001/root.crt").unlink(),
            r"client/0001/root\.crt: this file .* is missing\. Restore",
        ),
        (
            lambda ca: shutil.copy(ca / "client/0001/issuing.key", ca / "server/0001/issuing.key"),
            r"server/0001/issuing\.key: this key does not belong to .*issuing\.crt\. Restore both",
        ),
        (
            lambda ca: shutil.copytree(ca / "client", ca / "server", dirs_exist_ok=True),
            r"server/0001/issuing\.crt: expected the certificate of a server CA, found one with another purpose",
        ),
        (
            lambda ca: (ca / "server/0001/issuing.crt").write_bytes(b"half"),
            r"server/0001/issuing\.crt: .*expected",
        ),
        (
            lambda ca: (ca / "server/0001/issuing.key").write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nabc\n"),
            r"server/0001/issuing\.key: the private key cannot be read",
        ),
    ],
    ids=["no key", "no root", "foreign key", "foreign folder", "torn certificate", "torn key"],
)
def test_damaged_authorities_stop_everything(
    site: Any, copied: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(copied)
    output = refused(site, message, postgres_ca_directory=str(copied))
    assert "PLAY [Servers]" not in output


def test_a_directory_that_cannot_be_written_to_stops_everything(site: Any) -> None:
    output = refused(site, r"/proc: .*expected a directory that .* can write|/proc/.*Expected a directory",
                     postgres_ca_directory="/proc/authorities")  # fmt: skip
    assert "PLAY [Servers]" not in output


def test_a_file_in_place_of_the_directory_stops_everything(site: Any) -> None:
    path = str(site.directory / "inventory.yml")
    refused(
        site, r"inventory\.yml: expected a directory \(or nothing yet\), found another kind", postgres_ca_directory=path
    )


@pytest.mark.parametrize("kind", ["Ed25519", "P-521"])
def test_a_key_type_that_authorities_do_not_have_is_refused(site: Any, kind: str) -> None:
    message = rf"postgres_ca_key_type must be one of: P-256, P-384, RSA-3072, RSA-4096, got: {kind}"
    refused(site, message, postgres_ca_key_type=kind)


def test_a_key_type_that_the_authorities_do_not_have_is_refused(site: Any) -> None:
    refused(
        site, r"key_type: P-384 was asked for, but the server CA in .* has P-256 keys", postgres_ca_key_type="P-384"
    )


@pytest.mark.parametrize("directory", ["postgres-ca", "postgres-ca-not-there-yet"])
def test_certificates_that_would_outlive_their_issuer_are_refused(site: Any, directory: str) -> None:
    message = r"certificate_lifetime: 6y is longer than the issuer's: .* choose a shorter lifetime"
    path = str(site.directory / directory)
    refused(site, message, postgres_ca_certificate_lifetime="6y", postgres_ca_directory=path)


def test_a_lifetime_that_is_none_is_refused(site: Any) -> None:
    message = r"certificate_lifetime: '90' is not a duration\. Expected a positive whole number and a unit"
    refused(site, message, postgres_ca_certificate_lifetime="90")


# What the inventory says of servers


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"postgres_server_names": ["db+1"]},
            r"postgres_server_names: 'db\+1' is neither a DNS name nor an IP address",
        ),
        ({"postgres_server_names": ["1.2.3.400"]}, r"postgres_server_names: '1\.2\.3\.400' is neither"),
        ({"postgres_server_extra_names": ["a b"]}, r"postgres_server_names: 'a b' is neither"),
        ({"postgres_server_names": "db"}, r"postgres_server_names: expected a list, found a text"),
        (
            {"postgres_server_extra_names": [{"name": "db", "port": 0}]},
            r"postgres_server_extra_names\[0\]\.port: found 0, expected a TCP port, 1 to 65535",
        ),
        (
            {"postgres_server_extra_names": ["a", {"name": "db", "from": ["ap1"]}]},
            r"db1: postgres_server_extra_names\[1\]\.from: 'ap1' is no group or host .*, such as app1",
        ),
        ({"postgres_server_ssl": "ssl_ciphers=x"}, r"postgres_server_ssl: expected a dictionary, found a text"),
        ({"postgres_server_hba": None}, r"postgres_server_hba: expected a list, found nothing"),
        ({"postgres_server_names": []}, r"postgres_server_names: no names were given\. .* needs at least one"),
        ({"postgres_server_key_type": "DSA"}, r"postgres_server_key_type must be one of: P-256, .*, got: DSA"),
        ({"postgres_server_renew_before": "soon"}, r"postgres_server_renew_before: 'soon' is not a duration"),
        (
            {"postgres_server_renew_before": "13w"},
            r"postgres_server_renew_before: 13w is not shorter than the life .*lifetime: 90d\).* Choose less",
        ),
        (
            {"postgres_server_renew_before": "30d", "postgres_ca_certificate_lifetime": "4w"},
            r"postgres_server_renew_before: 30d is not shorter than the life .*lifetime: 4w\).* Choose less",
        ),
        (
            {"postgres_server_plaintext": "maybe"},
            r"postgres_server_plaintext must be one of: reject, allow, got: maybe",
        ),
        ({"postgres_server_port": "main"}, r"postgres_server_port.*int"),
        ({"postgres_server_ssl": {"ssl_ciphers": "a\nb"}}, r"postgres_server_ssl: .* holds a line break"),
        ({"postgres_server_ssl": {"ssl": False}}, r"postgres_server_ssl: ssl is set by the collection itself"),
        (
            {"postgres_server_hba": [{"user": "app"}]},
            r"postgres_server_hba\[0\]: the rule has no method\. .*add method",
        ),
        (
            {
                "postgres_server_hba": [
                    {"user": "app", "method": "cert"},
                    {"user": "x", "method": "cert", "clientcrt": 1},
                ]
            },
            r"postgres_server_hba\[1\]: method cert has no option 'clientcrt'\. It takes map, clientcert",
        ),
        (
            {"postgres_server_hba": [{"type": "hostsll", "user": "app", "method": "cert"}]},
            r"postgres_server_hba\[0\]: type 'hostsll' is unknown\. Expected one of local, host",
        ),
        (
            {"postgres_server_hba": [{"user": "app", "method": "crt"}]},
            r"postgres_server_hba\[0\]: method 'crt' is unknown\. Expected one of trust",
        ),
        ({"postgres_server_hba": ["hostssl"]}, r"postgres_server_hba.*dict"),
        ({"postgres_server_ident": [{"map": "m"}]}, r"postgres_server_ident\[0\]: expected the keys map, system_user"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_mistake_in_a_servers_variables_is_refused_on_the_controller(
    site: Any, variables: dict[str, object], message: str
) -> None:
    inventory = site.inventory()
    server(inventory).update(variables)
    output = refused(site, message, inventory=inventory)
    assert "PLAY [Servers]" not in output


def test_all_mistakes_of_a_server_are_named_at_once(site: Any) -> None:
    inventory = site.inventory()
    rules = [{"user": "app"}, {"user": "app", "method": "crt"}]
    server(inventory).update(postgres_server_names=["a b"], postgres_server_hba=rules)
    refused(site, r"'a b' is neither.*hba\[0\]: the rule has no method.*hba\[1\]: method 'crt'", inventory=inventory)


# What only the server's host can tell


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"postgres_server_ssl": {"ssl_protocols": "TLSv1.3"}},
            r"postgres_server_ssl: PostgreSQL \d+ has no setting 'ssl_protocols'\. It knows ssl, ",
        ),
        (
            {"postgres_server_ssl": {"ssl_min_protocol_version": "TLSv9"}},
            r"ssl_min_protocol_version is 'TLSv9', expected one of .*'TLSv1\.2'",
        ),
        (
            {"postgres_server_ssl": {"ssl_prefer_server_ciphers": "maybe"}},
            r"ssl_prefer_server_ciphers is 'maybe', expected on or off",
        ),
        ({"postgres_server_port": 1}, r"port 1\b.*Start the server, correct the port, or name the directory"),
        ({"postgres_server_login_unix_socket": "/nowhere"}, r"/nowhere.*ame the directory of (its|the) socket"),
        ({"postgres_server_login_user": "weak"}, r"role 'weak' is no superuser; .* in postgres_server_login_user"),
        ({"postgres_server_login_user": "nobody"}, r"psql as OS user .* and role 'nobody' failed: .*does not exist"),
        (
            {"postgres_server_hba": [{"user": "app", "method": "cert", "map": "people"}]},
            r"map=people names a map that pg_ident\.conf does not have.* Add it to postgres_server_ident",
        ),
        ({"postgres_server_directory": "tls"}, r"directory: 'tls', expected an absolute path"),
        ({"postgres_server_directory": "/proc/tls"}, r"/proc/\S+: .*Nothing was changed"),
    ],
    ids=lambda value: str(next(iter(value.items()))) if isinstance(value, dict) else None,
)
def test_a_mistake_that_only_the_host_can_see_is_refused_there(
    site: Any, variables: dict[str, object], message: str
) -> None:
    inventory = site.inventory()
    inventory["postgres_clients"]["hosts"] = {}
    server(inventory).update(variables)
    refused(site, message, inventory=inventory)


def test_a_server_that_does_not_run_is_named(site: Any) -> None:
    inventory = site.inventory()
    inventory["postgres_clients"]["hosts"] = {}
    options = f"-p {site.cluster.port} -k {site.cluster.socket_directory}"
    control = ["runuser", "-u", site.cluster.account, "--", str(site.cluster.programs / "pg_ctl"), "-w"]
    control += ["-D", str(site.cluster.data), "-l", str(site.cluster.log_path)]
    subprocess.run([*control, "stop"], check=True, cwd="/", stdout=subprocess.DEVNULL)
    try:
        refused(site, rf"port {site.cluster.port}.*Start the server", inventory=inventory)
    finally:
        subprocess.run([*control, "-o", options, "start"], check=True, cwd="/", stdout=subprocess.DEVNULL)


def test_a_host_without_openssl_is_told_to_install_it(site: Any, without: Callable[..., Any]) -> None:
    with without("/usr/bin/openssl"):
        refused(site, r"The command openssl was not found on this host; it is needed to make private keys.* Install it")


def test_a_host_without_psql_is_told_to_install_it(site: Any, without: Callable[..., Any]) -> None:
    with without(str(site.cluster.programs / "psql"), os.path.realpath("/usr/bin/psql")):
        message = r"The command psql was not found on this host; it is needed to ask the PostgreSQL server.* Install"
        refused(site, message, "--limit=db1")  # clients go on when a server fails


@pytest.mark.sampled(4)
@pytest.mark.parametrize("apart", [-301, 301])
@pytest.mark.parametrize("host", ["db1", "app1"])
def test_clocks_that_are_apart_by_more_than_the_backdating_stop_the_run(site: Any, host: str, apart: int) -> None:
    common = {
        "roots": "{{ postgres_ca_authorities.server.roots }}",
        "trusted_clients": "{{ postgres_ca_authorities.client.bundle }}",
        "controller_time": "{{ now().timestamp() + " + str(apart + (5 if apart > 0 else -5)) + " }}",
    }
    module = {"names": ["localhost"], "ssl_conf": "", "issuing": "{{ postgres_ca_authorities.server.issuing }}"}
    task: dict[str, Any] = {"pgops.tls.server": {**common, **module}}
    if host == "app1":
        who = [{"role": "app", "os_user": site.os_users[0]}]
        issuing = "{{ postgres_ca_authorities.client.issuing }}"
        task = {"pgops.tls.client": {**common, "identities": who, "issuing": issuing}}
    playbook = [*CA_PLAYBOOK, {"hosts": host, "gather_facts": False, "tasks": [task]}]
    side = "behind" if apart > 0 else "ahead of"
    message = rf"The clock of this host is 30\d s {side} the controller's\. .* by 300 s only.* Synchronize them"
    refused(site, message, playbook=playbook)


# What the inventory says of clients


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("identities", "message"),
    [
        ([{"role": "app", "os_user": "{a}"}] * 2, r"postgres_client_identities\[1\]: 'app' .* is listed twice"),
        (
            [{"role": "app", "os_user": "{a}", "home": "/srv/x"}, {"role": "b", "os_user": "{b}", "home": "/srv/x/"}],
            r"postgres_client_identities\[1\]\.home: .* have the same home /srv/x/, so their files would be the same",
        ),
        (
            [{"role": "../app", "os_user": "{a}"}],
            r"postgres_client_identities\[0\]\.role: '\.\./app' also becomes the name",
        ),
        (
            [{"role": "a" * 64, "os_user": "{a}"}],
            r"postgres_client_identities\[0\]\.role: .* has 64 bytes, expected at most 63",
        ),
        ([{"role": "app"}], r"os_user.*postgres_client_identities"),
        ([{"role": "app", "os_user": ""}], r"postgres_client_identities\[0\]\.os_user: found '', expected a name"),
        ([{"role": "app", "os_user": "{a}", "user": "x"}], r"postgres_client_identities.*user"),
        (["app"], r"postgres_client_identities.*dict"),
        (
            [{"role": "app", "os_user": "{a}", "databases": "shop"}],
            r"postgres_client_identities\[0\]\.databases: found 'shop', expected a list of names, such as \[shop\]",
        ),
        ("{a}", r"postgres_client_identities.*dict"),
    ],
    ids=[
        "twice",
        "same home",
        "path",
        "long",
        "no OS user",
        "empty OS user",
        "unknown key",
        "no dictionary",
        "database",
        "text",
    ],
)
def test_a_mistake_in_an_identity_is_found_before_the_servers_are_changed(
    site: Any, identities: list[Any], message: str
) -> None:
    inventory = site.inventory()
    names = dict(zip(("{a}", "{b}"), site.os_users))
    client(inventory)["postgres_client_identities"] = (
        [
            {key: names.get(value, value) for key, value in one.items()} if isinstance(one, dict) else one
            for one in identities
        ]
        if isinstance(identities, list)
        else identities
    )
    output = refused(site, message, inventory=inventory)
    assert "PLAY [Servers]" not in output


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"postgres_client_key_type": "secp256k1"}, r"postgres_client_key_type must be one of: .*, got: secp256k1"),
        ({"postgres_client_renew_before": "1 week"}, r"postgres_client_renew_before: '1 week' is not a duration"),
        (
            {"postgres_client_renew_before": "90d"},
            r"postgres_client_renew_before: 90d is not shorter than the life .*lifetime: 90d\).* Choose less",
        ),
        (
            {"postgres_verify_refusals": ["everything"]},
            r"postgres_verify_refusals must be one or more of: plaintext, .*Got no match for: everything",
        ),
        ({"postgres_verify_connect_timeout": "long"}, r"postgres_verify_connect_timeout.*int"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_mistake_in_a_clients_variables_is_found_before_the_servers_are_changed(
    site: Any, variables: dict[str, object], message: str
) -> None:
    inventory = site.inventory()
    client(inventory).update(variables)
    output = refused(site, message, inventory=inventory)
    assert "PLAY [Servers]" not in output


def test_an_os_user_that_does_not_exist_is_named(site: Any) -> None:
    inventory = site.inventory()
    client(inventory)["postgres_client_identities"] = [{"role": "app", "os_user": "nobody-here"}]
    message = r"postgres_client_identities: os_user: there is no OS user 'nobody-here' on this host\. Create it first"
    refused(site, message, "--limit", "app1", inventory=inventory)


def test_a_mistake_of_a_client_is_found_where_the_run_is_limited_to_servers(site: Any) -> None:
    inventory = site.inventory()
    client(inventory)["postgres_client_identities"][0]["databases"] = "shop"
    message = r"postgres_client_identities: databases is 'shop', expected a list of names, such as \[shop\]"
    refused(site, message, "--limit", "db1", inventory=inventory)


def test_one_mistake_among_many_hosts_stops_the_run_before_anything_changes(site: Any) -> None:
    inventory = site.inventory()
    inventory["postgres_servers"]["hosts"]["db2"] = {**server(inventory), "postgres_server_names": ["db+2"]}
    refused(site, r"db2: postgres_server_names: 'db\+2' is neither a DNS name nor an IP address", inventory=inventory)


def test_a_name_that_two_servers_have_by_mistake_stops_the_run_before_anything_changes(site: Any) -> None:
    inventory = site.inventory()
    server(inventory)["postgres_server_extra_names"] = [{"name": "db.example.com", "shared": True}]
    more = {"postgres_server_port": 1, "postgres_server_names": [{"name": "DB.example.com", "port": site.cluster.port}]}
    inventory["postgres_servers"]["hosts"]["db2"] = {**server(inventory), **more, "postgres_server_extra_names": []}
    message = (
        rf"db1, db2: 'db\.example\.com', port {site.cluster.port}, is a name of each of these 2 servers\. .* for db2\."
    )
    refused(site, message, "--limit", "db1", inventory=inventory)


def test_a_mistake_beside_an_import_of_the_playbook_is_found(site: Any) -> None:
    path = str(Path(__file__).resolve().parents[3] / "playbooks" / "site.yml")
    playbook = [{"import_playbook": path, "vars": {"postgres_server_plaintext": "maybe"}}]
    refused(site, r"db1: value of postgres_server_plaintext must be one of: reject, allow", playbook=playbook)


def test_templates_that_filter_in_extra_variables_and_in_the_inventory_are_read(site: Any) -> None:
    inventory = site.inventory()
    server(inventory)["postgres_server_extra_names"] = ["{{ ('[\"db+1\"]' | from_json)[0] }}"]
    extra = '{"postgres_server_renew": "{{ 1 == 1 }}"}'
    refused(site, r"db1: postgres_server_names: 'db\+1' is neither a DNS name", "-e", extra, inventory=inventory)

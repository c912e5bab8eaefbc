# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad variables of the roles as data: what differs from an inventory that works, and what the error has to say."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.tests.bad_inputs import KEY, NO_ROLES, NOT_PEM, ROOT_PEM, STRANGE, Bad

# Identities for services that are not PostgreSQL, and what runs when their files change
OUTSIDE = {"role": "x", "endpoints": [{"host": "db.provider.example"}]}
SERVICES: list[tuple[dict[str, Any], str]] = [
    ({**OUTSIDE, "servers": ["db1"]}, r"identities\[0\]: found endpoints and servers"),
    ({**OUTSIDE, "login": "both"}, r"identities\[0\]: found endpoints and login"),
    ({**OUTSIDE, "formats": ["pk8"]}, r"identities\[0\]\.formats: found pk8 for an identity with a password"),
    ({**OUTSIDE, "endpoints": [{"host": "a\nb"}]}, r"endpoints\[0\]\.server: .* has control characters"),
    ({**OUTSIDE, "endpoints": [{"host": "h", "port": 0}]}, r"endpoints\[0\]\.port: found 0, expected a TCP port"),
    ({**OUTSIDE, "endpoints": [{"port": 5432}]}, "host found in postgres_client_identities -> endpoints"),
    ({**OUTSIDE, "endpoints": "db.provider.example"}, "endpoints"),
    ({"role": "x", "trust": ["bundle.pem"]}, r"identities\[0\]: found trust without endpoints"),
    ({}, r"identities\[0\]\.role: found None, expected a name"),
    ({"names": ["app1"]}, r"identities\[0\]\.name: found nothing, expected a name for the directory"),
    ({"name": "x", "names": []}, r"identities\[0\]\.names: no names were given"),
    ({"name": "x", "names": ["a b"]}, r"identities\[0\]\.names: 'a b' is neither a DNS name nor an IP address"),
    ({"name": "x", "names": ["app1"], "role": "app"}, r"identities\[0\]: found role 'app' and names"),
    (
        {"name": "x", "names": ["app1"], "servers": ["db1"]},
        r"identities\[0\]: found names and servers\. .* Remove servers",
    ),
    ({"name": "x", "names": ["app1"], "login": "certificate"}, r"identities\[0\]: found names and login"),
    (
        {"name": "x", "names": ["app1"], "authority": "server"},
        r"identities\[0\]\.authority: found 'server', expected the",
    ),
    (
        {"role": "b", "authority": "Back up"},
        r"identities\[0\]\.authority: found 'Back up', expected the name of a client",
    ),
    ({"role": "b", "authority": "backup", "databases": ["shop"]}, r"identities\[0\]: found authority and databases"),
    ({"role": "b", "authority": "backup", "servers": ["db1"]}, r"identities\[0\]: found authority and servers"),
    ({"role": "b", "authority": "backup", "address": ["self"]}, r"identities\[0\]: found authority and address"),
    ({"role": "b", "authority": "backup", "default_files": False}, r"found authority and default_files"),
    ({"role": "b", "formats": ["pkcs7"]}, r"formats.*pkcs7"),
    (
        {"role": "b", "login": "password", "formats": ["bundle"]},
        r"formats: found bundle for an identity with a password",
    ),
    ({"role": "b", "login": "password", "formats": ["truststore", "pk8"]}, r"formats: found pk8 for an identity with"),
    ({"role": "b", "after_change": "reload"}, r"after_change"),
    ({"role": "b", "after_change": {}}, r"identities\[0\]\.after_change: found a dictionary with nothing, expected"),
    (
        {"role": "b", "after_change": {"unit": "a;b"}},
        r"identities\[0\]\.after_change\.unit: found 'a;b', expected the name",
    ),
    ({"role": "b", "after_change": {"unit": "a", "action": "stop"}}, r"reload, restart, got: stop"),
    (
        {"role": "b", "after_change": {"unit": "a", "command": ["b"]}},
        r"after_change: found a dictionary with 'unit' and 'com",
    ),
    (
        {"role": "b", "after_change": {"command": []}},
        r"after_change\.command: expected a list of texts, the program first",
    ),
    (
        {"role": "b", "after_change": {"command": "systemctl reload x"}},
        r"after_change\.command: expected a list of texts",
    ),
    ({"role": "b", "after_change": {"command": ["kill", 1]}}, r"after_change\.command: .* numbers in quotes"),
    ({"role": "b", "after_change": {"command": ["a"], "as_root": "maybe"}}, r"after_change.*(as_root|bool)"),
]

# Passwords of an identity shop/app with pkcs12. None of them may be seen in a message
PKCS12 = "postgres_client_pkcs12_passwords"
SECRETS: list[tuple[Any, str]] = [
    ("shop/app", r"(?:expected a dictionary|dictionary requested)"),
    ({"shop/clerk": "long enough"}, r"'shop/clerk' is not an identity .* Expected one of: shop/app"),
    ({"app": "long enough"}, r"'app' is not an identity \(OS_USER/NAME\)"),
    ({"shop/app": "short"}, r"shop/app: found 5 characters, expected a password of 6 to 128"),
    ({"shop/app": "two\nlines"}, r"shop/app: found 9 characters"),
    ({"shop/app": "na\N{LATIN SMALL LETTER I WITH DIAERESIS}vet\N{LATIN SMALL LETTER E WITH ACUTE}"}, r"found 7 char"),
    ({"shop/app": " blank at the start"}, r"shop/app: found 19 characters"),
    ({"shop/app": 12345678}, r"shop/app: found a value of type int, .* Quote one that is a number"),
    ({"shop/app": ["long enough"]}, r"shop/app: found a value of type list"),
    ({"shop/app": "x" * 129}, r"shop/app: found 129 characters"),
]

HBA_VARIABLE = "postgres_server_hba"
ROLE = r"identities\[0\]\.role: "
SERVER_RULES = [
    ({"method": "cert"}, r"hba\[0\]: the rule has no user"),
    ({"user": "a", "method": "cert", "type": "host"}, r"hba\[0\]: method cert works only on hostssl"),
    (
        {"user": "a", "method": "md5", "type": "host", "clientcert": "verify-full"},
        r"hba\[0\]: clientcert works only on hostssl",
    ),
    ({"user": "a", "method": "cert", "clientcert": "no"}, r"hba\[0\]: clientcert=no, expected one of"),
    ({"user": [], "method": "cert"}, r"hba\[0\]: the rule has no user"),
    ({"user": {"a": 1}, "method": "cert"}, r"hba\[0\]: expected a word, found a dict"),
    ({"user": "a\nb", "method": "cert"}, r"hba\[0\]: a value holds a line break"),
    ({"user": "a\0", "method": "cert"}, r"hba\[0\]: a value holds a line break or a NUL"),
    ({"user": "a", "method": "cert", "type": "local"}, r"hba\[0\]: method cert works only on hostssl"),
    (
        {"user": "a", "method": "peer", "type": "local", "address": "all"},
        r"hba\[0\]: a rule of type local has no address",
    ),
]
REVOKED = [
    ({}, r"\[0\]: expected exactly one of role, host, serial, found none of them"),
    ({"role": "a", "serial": "1"}, r"\[0\]: expected exactly one of role, host, serial, found role and serial"),
    ({"serial": "no number"}, r"\[0\]\.serial: found 'no number', expected a serial number in hexadecimal"),
    ({"serial": "1" * 41}, r"\[0\]\.serial: found '1+', expected a serial number"),
    ({"serial": KEY}, r"\[0\]\.serial: found a private key, expected a serial number"),
    ({"role": "a\nb"}, r"\[0\]\.role: found 'a\\nb', expected the name of a role"),
    ({"host": " "}, r"\[0\]\.host: found ' ', expected the name of a host"),
    ({"role": KEY}, r"\[0\]\.role: found a private key, expected the name of a role"),
    ({"serial": ROOT_PEM}, r"\[0\]\.serial: found '-----BEGIN.* \([0-9]+ characters\), expected a serial number"),
    ({"serial": "\u0661"}, r"\[0\]\.serial: found '\u0661', expected a serial number in hexadecimal"),
    ({"serial": 1.5}, r"\[0\]\.serial: found 1\.5, expected a serial number in hexadecimal"),
    ({"serial": "1" * 5_000_000}, r"\[0\]\.serial: found '1+\.\.\. \([0-9]+ characters\), expected a serial number"),
]
KIT = {"name": "anna", "role": "app", "directory": "/srv/kits"}
BAO = {"type": "openbao", "url": "https://bao.example:8200", "role": "db", "token": "hvs.never-to-be-seen"}
BY_COMMAND = {"type": "command", "command": ["/usr/local/bin/sign"], "roots": "/srv/roots.pem"}
BY_ACME = {
    "type": "acme",
    "url": "https://ca.example/dir",
    "challenge": "http-01",
    "command": ["/bin/show"],
    "roots": "/r",
}
BY_FILES = {"type": "files", "directory": "/srv/requests", "roots": "/srv/roots.pem"}
SOURCES: list[tuple[Any, str]] = [
    ({"billing": {"type": "own"}}, r": no server uses an authority billing. Expected a key among server, client"),
    ({"Server": {"type": "own"}}, r", a key of it: found 'Server', expected the name of an authority"),
    ({"server": "openbao"}, r"\.server: expected a dictionary with type"),
    ({"server": {}}, r"\.server\.type: found nothing, expected one of own, files, existing, openbao, command, acme"),
    ({"server": {"type": "vault"}}, r"\.server\.type: found 'vault', expected one of"),
    ({"server": {"type": "own", "url": "x"}}, r"\.server: type own has no key 'url'. It has directory, roots, crls"),
    ({"server": {"type": "own", "roots": "/x"}}, r"\.server\.directory: found nothing, expected an absolute path"),
    ({"server": {"type": "own", "crls": "/x"}}, r"\.server\.directory: found nothing, expected an absolute path"),
    ({"client": {**BY_FILES, "type": "own"}}, r"\.client: PostgreSQL lets in every certificate .*dedicated: true"),
    (
        {"server": {**BY_FILES, "url": "x"}},
        r"\.server: type files has no key 'url'. It has directory, roots, crls",
    ),
    ({"server": {"type": "files", "roots": "/x"}}, r"\.server\.directory: found nothing, expected an absolute path"),
    (
        {"server": {**BY_FILES, "directory": "x"}},
        r"\.server\.directory: expected an absolute path .*found something else",
    ),
    ({"server": {**BAO, "url": "http://bao.example"}}, r"\.server\.url: expected a URL such as https://"),
    ({"server": {**BAO, "url": "https://u:p@bao.example"}}, r"\.server\.url: expected a URL such as https://"),
    ({"server": {**BAO, "role": None}}, r"\.server\.role: found nothing, expected the name of a role"),
    ({"server": {**BAO, "token": None}}, r"\.server: expected exactly one of token, token_file, approle, found none"),
    ({"server": {**BAO, "token_file": "/x"}}, r"\.server: expected exactly one of .*, found token and token_file"),
    ({"server": {**BAO, "token": "two words"}}, r"\.server\.token: expected one word, found something else"),
    (
        {"server": {**BAO, "token": None, "approle": {"role_id": "a"}}},
        r"\.server\.approle: expected a dictionary with role_id",
    ),
    ({"server": {**BAO, "tokken": "hvs.x"}}, r"\.server: type openbao has no key 'tokken'. It has url, mount, role,"),
    (
        {"server": {**BY_COMMAND, "command": None}},
        r"\.server\.command: found nothing, expected a list",
    ),
    ({"server": {**BY_COMMAND, "command": "/bin/sign"}}, r"\.server\.command: expected a list .*found something else"),
    ({"server": {**BY_COMMAND, "command": []}}, r"\.server\.command: expected a list with the absolute path"),
    ({"server": {**BY_COMMAND, "command": ["sign"]}}, r"\.server\.command: expected a list with the absolute path"),
    ({"server": {**BY_COMMAND, "command": ["/bin/sign", 5]}}, r"\.server\.command: expected a list with the absolute"),
    ({"server": {**BY_COMMAND, "roots": None}}, r"\.server\.roots: found nothing, expected an absolute path"),
    ({"server": {**BY_COMMAND, "timeout": 0}}, r"\.server\.timeout: expected a whole number of seconds from 1 to 3600"),
    ({"server": {**BY_COMMAND, "timeout": "60"}}, r"\.server\.timeout: expected a whole number of seconds"),
    ({"server": {**BY_COMMAND, "timeout": True}}, r"\.server\.timeout: expected a whole number of seconds"),
    ({"client": BY_COMMAND}, r"\.client: PostgreSQL lets in every certificate below the roots .*dedicated: true"),
    (
        {"server": {**BY_ACME, "url": "ca.example"}},
        r"\.server\.url: expected the URL of an ACME directory, such as https",
    ),
    ({"server": {**BY_ACME, "challenge": None}}, r"\.server\.challenge: found nothing, expected http-01 or dns-01"),
    ({"server": {**BY_ACME, "challenge": "tls-alpn-01"}}, r"\.server\.challenge: expected http-01 or dns-01"),
    ({"server": {**BY_ACME, "command": None}}, r"\.server\.command: found nothing, expected a list"),
    ({"server": {**BY_ACME, "roots": None}}, r"\.server\.roots: found nothing, expected an absolute path"),
    ({"server": {**BY_ACME, "email": "a b"}}, r"\.server\.email: expected an address such as"),
    ({"server": {**BY_ACME, "terms_agreed": "yes"}}, r"\.server\.terms_agreed: expected true or false"),
    ({"server": {**BY_ACME, "dedicated": True}}, r"\.server: type acme has no key 'dedicated'"),
    ({"client": BY_ACME}, r"\.client\.type: found acme for a client authority\. .*Leave clients to the own authority"),
    ({"client": BAO}, r"\.client: PostgreSQL lets in every certificate below the roots .*dedicated: true"),
    ({"client": BY_FILES}, r"\.client: PostgreSQL lets in every certificate below the roots .*dedicated: false"),
    ({"server": {"type": "existing"}}, r"\.server\.roots: found nothing, expected an absolute path"),
    ({"client": {"type": "existing", "roots": "/x"}}, r"\.client\.type: found existing, which is for authority server"),
]
EXTRA = {"server": "postgres_server_extra_trusted_clients", "client": "postgres_client_extra_roots"}
NO_TEXTS: list[tuple[Any, str]] = [([ROOT_PEM], "a list"), ({"a": 1}, "a dict"), (5, "a int"), (None, "nothing")]
VARIABLES = [
    *(
        Bad(f"revoked {number}", "server", {"postgres_ca_revoked": [entry]}, f"postgres_ca_revoked{message}")
        for number, (entry, message) in enumerate(REVOKED)
    ),
    *(
        Bad(f"sources {number}", "server", {"postgres_ca_sources": value}, f"postgres_ca_sources{message}")
        for number, (value, message) in enumerate(SOURCES)
    ),
    *(
        Bad(f"{option}: {name}", role, {option: pem}, f"{option}: .*{message}")
        for role, option in EXTRA.items()
        for name, (pem, message) in NOT_PEM.items()
        if pem.strip()
    ),
    *(
        Bad(f"{option}: {found}", role, {option: value}, f"{option}: expected a text with PEM .*found {found}.")
        for role, option in EXTRA.items()
        for value, found in NO_TEXTS
    ),
    *(
        Bad(f"revoked: {value!r}", "server", {"postgres_ca_revoked": value}, "postgres_ca_revoked")
        for value in (5, None, {"role": "app"}, [5], [None], ["app"], [["app"]])
    ),
    Bad("patroni_api is a word", "server", {"postgres_server_patroni_api": "maybe"}, "postgres_server_patroni_api"),
    *(
        Bad(f"patroni_authority: {name!r}", "server", {"postgres_server_patroni_authority": name}, message)
        for name, message in (
            ("No Name", "postgres_server_patroni_authority: found 'No Name'"),
            ("server", "postgres_server_patroni_authority: found 'server'"),
            ("a/../b", "postgres_server_patroni_authority: found 'a/../b'"),
        )
    ),
    Bad(
        "patroni_authority of clients",
        "server",
        {"postgres_server_patroni_api": True, "postgres_server_patroni_authority": "client"},
        "postgres_server_patroni_authority: found client, whose clients log in to PostgreSQL",
    ),
    Bad(
        "revoked: a key as reason",
        "server",
        {"postgres_ca_revoked": [{"role": "gone", "reason": KEY}]},
        "reason must be one of: .*, got: a private key. Remove it",
    ),
    Bad(
        "outside holders: without an end",
        "server",
        {"postgres_ca_outside_holders": [{"authority": "server", "id": "pooler1", "by": "dba team"}]},
        "postgres_ca_outside_holders",
    ),
    Bad(
        "outside holders: no day",
        "server",
        {"postgres_ca_outside_holders": [{"authority": "server", "id": "pooler1", "until": "May", "by": "dba team"}]},
        r"postgres_ca_outside_holders\[0\]\.until: found 'May', expected the last day on which it counts",
    ),
    Bad("outside holders: a text", "server", {"postgres_ca_outside_holders": "pooler1"}, "postgres_ca_outside_holders"),
    Bad("kits: a text", "server", {"postgres_ca_kits": "anna"}, "postgres_ca_kits"),
    Bad("kits: no directory", "server", {"postgres_ca_kits": [{"name": "a", "role": "app"}]}, "directory"),
    Bad("kits: a key", "server", {"postgres_ca_kits": [{**KIT, "csr": "x", "fetched": KEY}]}, "found a private key"),
    Bad("kits: no password", "server", {"postgres_ca_kits": [KIT]}, r"postgres_ca_kits\[0\].password: expected a"),
    Bad(
        "kits: no such server",
        "server",
        {"postgres_ca_kits": [{**KIT, "csr": "x", "servers": ["nowhere"]}]},
        r"postgres_ca_kits\[0\].servers: 'nowhere' is no group or host of the inventory",
    ),
    Bad(
        "revoked: an authority of a host",
        "server",
        {"postgres_ca_revoked": [{"host": "gone", "authority": "client"}]},
        r"postgres_ca_revoked\[0\]\.authority: found 'client', .* beside a serial or a role",
    ),
    Bad("revoked: a text", "server", {"postgres_ca_revoked": "app"}, "postgres_ca_revoked"),
    Bad("revoked: an unknown key", "server", {"postgres_ca_revoked": [{"user": "app"}]}, "there is no such key"),
    Bad(
        "revoked: an unknown reason",
        "server",
        {"postgres_ca_revoked": [{"role": "gone", "reason": "because"}]},
        "reason must be one of: unspecified, keyCompromise",
    ),
    Bad(
        "revoked: a server that stays",
        "server",
        {"postgres_ca_revoked": [{"host": "db1"}]},
        r"postgres_ca_revoked\[0\]: host 'db1' must have no valid certificate, but group postgres_servers gives",
    ),
    Bad(
        "plaintext in spite of reject",
        "server",
        {HBA_VARIABLE: [{"user": "a", "method": "cert"}, {"type": "host", "user": "b", "method": "md5"}]},
        r"hba\[1\] \(host all b all md5\) lets connections without TLS in, but postgres_server_plaintext is reject",
    ),
    *(
        Bad(f"rule {number}", "server", {HBA_VARIABLE: [rule]}, message)
        for number, (rule, message) in enumerate(SERVER_RULES)
    ),
    *(
        Bad(f"names: {name}", "server", {"postgres_server_names": [text]}, "postgres_server_names: .* is neither")
        for name, text in STRANGE.items()
        if name != "template"
    ),
    *(
        Bad(f"name {element}", "server", {"postgres_server_extra_names": [element]}, rf"extra_names\[0\]{message}")
        for element, message in [
            ({"nmae": "db"}, r": there is no key 'nmae'\. Write name\."),
            ({"port": 6432}, ": found .* expected a DNS name or an IP address in its key name"),
            ({"name": "db", "port": 65536}, r"\.port: found 65536, expected a TCP port, 1 to 65535"),
            ({"name": "db", "port": "x"}, r"\.port: found 'x', expected a number, 1 to 65535"),
            ({"name": "db", "from": "app1"}, r"\.from: found 'app1', expected a list of groups or hosts"),
            ({"name": "db", "shared": 1}, r"\.shared: found 1, expected true or false"),
        ]
    ),
    *(
        Bad(
            f"password of PKCS#12 {number}",
            "client",
            {
                "postgres_client_identities": [{"role": "app", "os_user": "shop", "formats": ["pkcs12"]}],
                PKCS12: passwords,
            },
            rf"{PKCS12}\b.*{message}",
        )
        for number, (passwords, message) in enumerate(SECRETS)
    ),
    *(
        Bad(
            f"default_files: {said}",
            "client",
            {
                "postgres_client_identities": [
                    {"role": f"role{number}", "os_user": "a", "default_files": one} for number, one in enumerate(said)
                ]
            },
            message,
        )
        for said, message in [
            (("sometimes",), "default_files"),
            ((True, True), r"identities\[1\]\.default_files: true for the roles 'role0' and 'role1' of OS user 'a'"),
        ]
    ),
    *(
        Bad(f"service: {own}", "client", {"postgres_client_identities": [{"os_user": "a", **own}]}, message)
        for own, message in SERVICES
    ),
    *(
        Bad(f"role: {name}", "client", {"postgres_client_identities": [{"role": STRANGE[name], "os_user": "a"}]}, ROLE)
        for name in NO_ROLES
    ),
    *(
        Bad(f"{variable} is {value!r}"[:60], variable.split("_")[1], {variable: value}, f"^[a-z0-9]+: .*{variable}")
        for variable, value in [
            ("postgres_client_trust", "bundle.pem"), ("postgres_client_trust", {"a": 1}),
            ("postgres_server_port", 65536), ("postgres_server_port", -1), ("postgres_server_port", "x"),
            ("postgres_server_port", [1]), ("postgres_server_names", {"a": 1}), ("postgres_server_names", 5),
            ("postgres_server_names", [None]), ("postgres_server_names", [["a"]]), ("postgres_server_ssl", ["a"]),
            ("postgres_server_ssl", {"ssl_ciphers": ["a"]}), ("postgres_server_ssl", {"ssl_ciphers": None}),
            ("postgres_server_hba", "hostssl"), ("postgres_server_hba", [None]), ("postgres_server_hba", {"user": "a"}),
            ("postgres_server_ident", [{"map": 1}]), ("postgres_server_ident", ["a b c"]),
            ("postgres_server_plaintext", None), ("postgres_server_plaintext", ["reject"]),
            ("postgres_server_renew", "perhaps"), ("postgres_server_renew_before", "90"),
            ("postgres_server_renew_before", "-1d"), ("postgres_server_key_type", ["P-256"]),
            ("postgres_server_existing", "/a"), ("postgres_server_existing", {"certificate": "/a"}),
            ("postgres_server_existing", {"certificate": "a", "key": "/a"}), ("postgres_server_existing", {"crt": 1}),
            ("postgres_server_existing", {"certificate": "/a", "key": "/a\n"}), ("postgres_server_existing", ["/a"]),
            ("postgres_server_replication_role", "a\nb"), ("postgres_server_replication_role", ["x"]),
            ("postgres_server_replication_role", KEY), ("postgres_server_replication_role", "nobody"),
            ("postgres_pooler_port", 0), ("postgres_pooler_port", 65536), ("postgres_pooler_port", "x"),
            ("postgres_pooler_names", []), ("postgres_pooler_names", "pool"), ("postgres_pooler_names", {"a": 1}),
            ("postgres_pooler_names", [None]), ("postgres_pooler_names", [{"nmae": "x"}]),
            ("postgres_pooler_names", [{"name": "pool", "port": 0}]), ("postgres_pooler_names", ["pool+1"]),
            ("postgres_pooler_servers", "shop"), ("postgres_pooler_servers", [""]), ("postgres_pooler_servers", [5]),
            ("postgres_pooler_address", "nonsense"), ("postgres_pooler_address", ["192.0.2.0/99"]),
            ("postgres_pooler_address", None), ("postgres_pooler_address", []), ("postgres_pooler_address", "all\nall"),
            ("postgres_pooler_role", ""), ("postgres_pooler_role", " "), ("postgres_pooler_role", "a\nb"),
            ("postgres_pooler_role", "a" * 64), ("postgres_pooler_role", KEY), ("postgres_pooler_role", None),
            ("postgres_pooler_role", ["x"]), ("postgres_pooler_role", 5),
            ("postgres_pooler_client_authority", "server"), ("postgres_pooler_client_authority", "Up"),
            ("postgres_pooler_client_authority", None), ("postgres_pooler_client_tls_sslmode", "disable"),
            ("postgres_pooler_settings", "a"), ("postgres_pooler_settings", {"server_tls_sslmode": "disable"}),
            ("postgres_pooler_settings", {"client_tls_cert_file": "x"}),
            ("postgres_pooler_settings", {"client_tls_ciphers": "a\nb"}),
            ("postgres_pooler_settings", {"client_tls_ciphers": None}),
            ("postgres_pooler_settings", {"client_tls_ciphers": KEY}), ("postgres_pooler_renew", "perhaps"),
            ("postgres_pooler_renew_before", "90"), ("postgres_pooler_renew_before", "90d"),
            ("postgres_pooler_key_type", "DSA"), ("postgres_pooler_nmaes", ["pool"]),
        ]
    ),
]  # fmt: skip

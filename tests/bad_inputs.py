# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad inputs as data: what differs from a call that works, and what the error has to say.

``OPTIONS`` are for modules that are called directly, ``REQUESTS`` for what they are asked to sign; those for the roles
are in bad_variables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.pgops.tls.tests import clients, servers
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

KEY = clients.new_key().decode()
SECRETS = [*KEY.splitlines()[1:-1]]  # lines that no message may hold
ROOT_PEM = AUTHORITIES["server"].root.pem
SAMPLE_LEAF = clients.sign(AUTHORITIES["server"].issuing_key.public_key(), "app")
TRUNCATED = ROOT_PEM[: len(ROOT_PEM) // 2]
DAMAGED = ROOT_PEM.replace("MII", "MIJ", 1)
HUGE = "-----BEGIN CERTIFICATE-----\n" + "A \n" * 3_400_000  # 10 MB
EXPIRED = clients.issuing.new_authority("server", "P-256", TODAY - 4000 * DAY).root.pem
# Harmless where text is text; each does harm somewhere where it is not
STRANGE = {
    "command": "; rm -rf /",
    "substitution": "$(id)",
    "backticks": "`id`",
    "template": "{{ 7 * 7 }}",
    "quote": "it's",
    "double quote": 'a"b',
    "backslash": "a\\",
    "percent": "%s%n",
    "comma": "a,b",
    "hash": "a#b",
    "line break": "a\nb",
    "return": "a\rb",
    "NUL": "a\0b",
    "right to left": "a\u202eb",
    "combining": "a\u0301",
    "zero width": "a\u200bb",
    "emoji": "\U0001f600",
    "half a character": "\ud800",
    "path": "../../etc",
    "option": "--help",
    "long": "a" * 10_000,
    "key": KEY,
    "blank": " ",
}

# Of these, what no role may be called; the others are names like any other
NO_ROLES = ["line break", "return", "NUL", "right to left", "zero width", "half a character"]
NO_ROLES += ["long", "key", "path", "blank"]


class Bad(NamedTuple):
    """One bad input: its name, what it is for (a role's group or a module), what is given, what the error says."""

    name: str
    target: str
    given: dict[str, Any]
    message: str  # a regular expression


PEM_OPTIONS = {"server": ("roots", "issuing", "trusted_clients"), "client": ("roots", "issuing", "trusted_clients")}
FOUND_KEY = "expected only what is public, found a private key.* Remove the key .* replace that key, too"
NOT_PEM = {
    "nothing": ("", "expected PEM certificates, found nothing"),
    "blanks": (" \n", "expected PEM certificates, found nothing"),
    "garbage": (
        "garbage",
        "expected PEM certificates, found 7 characters.* Give each whole, from its BEGIN to its END",
    ),
    "a key": (KEY, FOUND_KEY),
    "a key behind a root": (ROOT_PEM + KEY, FOUND_KEY),
    "a key before half a root": (KEY + TRUNCATED, FOUND_KEY),
    "the end of a key": (ROOT_PEM + KEY[-99:], FOUND_KEY),
    "half a root": (TRUNCATED, "expected PEM certificates, found"),
    "a root and a half": (ROOT_PEM + TRUNCATED, "expected PEM certificates, found"),
    "a damaged root": (DAMAGED, "damaged .*Copy it again"),
    "a leaf": (SAMPLE_LEAF, "expected certificates of authorities, .*found one of 'app', a leaf. Remove it"),
    "10 MB": (HUGE, "expected PEM certificates, found 10"),
    "not ASCII": (ROOT_PEM.replace("M", "\u041c"), "expected PEM certificates, found"),
    "a NUL": ("\0", "expected PEM certificates, found"),
}


LIST = servers.lists("client", 4711)
FOREIGN_LIST = "there is no list of revoked certificates of .* Give a list of every trusted authority"
NO_LIST = r"expected lists of revoked certificates \(CRLs\) in PEM, found"
WHOLE = "Give each whole, from its BEGIN to its END line, and no key"
NOT_LISTS = {
    "garbage": ("garbage", f"{NO_LIST} 7 characters that are no whole list. {WHOLE}"),
    "a key": (KEY, FOUND_KEY),
    "a key behind a list": (f"{LIST}{KEY}", FOUND_KEY),
    "a root": (ROOT_PEM, f"{NO_LIST} certificates. {WHOLE}"),
    "half a list": (LIST[:200], f"{NO_LIST} 200 characters"),
    "a list and a half": (LIST + LIST[:200], f"{NO_LIST} [0-9]+ characters"),
    "a damaged list": (
        LIST.replace("\nMI", "\nAA", 1),
        "the list of revoked certificates in it is damaged .*Copy it again",
    ),
    "2 MB": (HUGE[:2_000_000].replace("CERTIFICATE", "X509 CRL"), f"{NO_LIST} 19"),
    "not ASCII": (LIST.replace("M", "\u041c"), f"{NO_LIST} "),
    "a NUL": ("\0", f"{NO_LIST} 1 characters"),
    "blanks": (" \n", FOREIGN_LIST),
    "of others": (LIST, FOREIGN_LIST),
    "ended": (
        servers.lists("client", start=TODAY - 100 * DAY),
        "is valid from .* to .* Run site.yml, which makes a new",
    ),
}
NO_SERIALS = {
    "no number": ["no number"],
    "too long": ["1" * 41],
    "10 MB": ["f" * 10_000_000],
    "digits that are not ASCII": ["\u0661"],
    "with colons": ["1F:2E"],
    "a key": [KEY],
    "a root": [ROOT_PEM],
    "one of several": ["1f", "", "2e"],
}


def _lists() -> Iterator[Bad]:
    for module in ("server", "client"):
        for name, (pem, message) in NOT_LISTS.items():
            yield Bad(f"{module} crls: {name}", module, {"crls": pem}, f"crls: .*{message}")
            option = "trusted_clients_crls"
            if module == "client" and message.startswith((NO_LIST, FOUND_KEY, "the list of")):
                yield Bad(f"{module} {option}: {name}", module, {option: pem}, f"{option}: .*{message}")
        for name, numbers in NO_SERIALS.items():
            message = "revoked: found .*, expected a list of serial numbers in hexadecimal, .*Write each in quotes"
            yield Bad(f"{module} revoked: {name}", module, {"revoked": numbers}, message)
            option = "server_revoked"
            if module == "client":
                yield Bad(f"{module} {option}: {name}", module, {option: numbers}, f"{option}: .*{message[9:]}")
        yield Bad(f"{module} revoked: a dictionary", module, {"revoked": {"a": 1}}, "revoked.*list")
    for name in ("emoji", "long", "combining"):
        message = "revoked: role: .*: no certificate of it is in ledger.jsonl"
        yield Bad(f"revoked role: {name}", "certificate_authority", {"revoked": [{"role": STRANGE[name]}]}, message)
    wrong = {"role": KEY, "host": "a\0b", "serial": ROOT_PEM}
    for kind, value in wrong.items():
        message = rf"revoked\[0\]\.{kind}: found .*, expected"
        yield Bad(f"revoked {kind}: odd", "certificate_authority", {"revoked": [{kind: value}]}, message)


def _pem() -> Iterator[Bad]:
    for name, (pem, message) in NOT_PEM.items():
        if pem.strip():  # none is what the option means
            option = "extra_trusted_clients"
            yield Bad(f"server {option}: {name}", "server", {option: pem}, f"{option}: .*{message}")
            yield Bad(
                f"client server_issuing: {name}", "client", {"server_issuing": pem}, f"server_issuing: .*{message}"
            )
    for module, options in PEM_OPTIONS.items():
        for option, (name, (pem, message)) in itertools.product(options, NOT_PEM.items()):
            yield Bad(f"{module} {option}: {name}", module, {option: pem}, f"{option}: .*{message}")
    for name, (pem, message) in NOT_PEM.items():
        if name not in ("nothing", "a leaf"):  # none is what the option means, and any leaf may be trusted as such
            yield Bad(f"probe roots: {name}", "endpoint_info", {"roots": pem}, f"roots: .*{message}")
    for option in ("roots", "trusted_clients"):
        message = f"{option}: expected at least one self-signed root that is valid now"
        yield Bad(f"client {option}: expired", "client", {option: EXPIRED}, message)
        yield Bad(f"server {option}: expired", "server", {option: EXPIRED}, message)


def _strange() -> Iterator[Bad]:
    names = r"names: .* is neither a DNS name nor an IP address|names: a private key is neither"
    for name, text in STRANGE.items():
        if name == "half a character":
            continue  # Ansible itself lets none through to a module
        yield Bad(f"server names: {name}", "server", {"names": [text]}, names)
        yield Bad(f"probe names: {name}", "endpoint_info", {"names": [text]}, names)
        yield Bad(
            f"server login_user: {name}",
            "server",
            {"login_user": text},
            "login_user|role .* (failed|is no super)|could not be started",
        )
        yield Bad(
            f"server login_unix_socket: {name}",
            "server",
            {"login_unix_socket": "/x/" + text},
            "No PostgreSQL server was found on port",
        )
        yield Bad(
            f"server renew_before: {name}", "server", {"renew_before": text}, "renew_before: .* is not a duration"
        )
        yield Bad(
            f"client renew_before: {name}", "client", {"renew_before": text}, "renew_before: .* is not a duration"
        )
        yield Bad(
            f"client os_user: {name}",
            "client",
            {"identities": [{"role": "app", "os_user": text}]},
            r"no OS user|identities\[0\]\.os_user: ",
        )
        yield Bad(f"client certificates: {name}", "client", {"certificates": {text: ROOT_PEM}}, "is not an identity")
        yield Bad(
            f"connection os_user: {name}",
            "connection_info",
            {"expectations": [{"host": "localhost", "role": "app", "os_user": text}]},
            r"os_user: ",
        )
        yield Bad(f"certificate lifetime: {name}", "certificate", {"lifetime": text}, "lifetime: .* is not a duration")
        yield Bad(
            f"authority lifetime: {name}",
            "certificate_authority",
            {"certificate_lifetime": text},
            "certificate_lifetime: .* is not a duration",
        )
        yield Bad(
            f"root to drop: {name}",
            "certificate_authority",
            {"drop": "client", "drop_confirmed": text},
            "drop: .*To do it, confirm the root by its name",
        )
        yield Bad(
            f"authority directory: {name}",
            "certificate_authority",
            {"directory": text},
            "directory: expected an absolute path|postgres-ca: ",
        )
    for name in (one for one in NO_ROLES if one != "half a character"):
        identity = [{"role": STRANGE[name], "os_user": "{user}"}]
        yield Bad(f"client role: {name}", "client", {"identities": identity}, r"identities\[0\]\.role: ")
    for name in ("line break", "NUL", "long", "key", "blank"):
        identity = [{"role": "app", "os_user": "{user}", "databases": [STRANGE[name]]}]
        yield Bad(f"client databases: {name}", "client", {"identities": identity}, r"identities\[0\]\.databases: ")
        identity = [{"role": "app", "os_user": "{user}", "home": STRANGE[name]}]
        yield Bad(
            f"client home: {name}", "client", {"identities": identity}, r"identities\[0\]\.home: |the home directory"
        )
    for name in ("NUL", "line break", "quote", "backslash", "right to left"):
        yield Bad(
            f"server directory: {name}",
            "server",
            {"directory": "/tmp/" + STRANGE[name]},
            "directory: .* expected an absolute path",
        )


def _sources() -> Iterator[Bad]:
    bao = {"type": "openbao", "url": "https://bao.example", "role": "db"}
    wrong = {
        "no type": ({}, "type"),
        "an unknown type": ({"type": "vault"}, "type.*must be one of"),
        "no login": (bao, r"sources\.server: expected exactly one of token, token_file, approle"),
        "a key as token": ({**bao, "token": KEY}, r"sources\.server\.token: expected one word, found something else"),
        "no path": ({"type": "files", "directory": "x", "roots": "/x"}, r"sources\.server\.directory: expected an abs"),
        "no file": (
            {"type": "files", "directory": "/x", "roots": "/nonexistent"},
            r"sources\.server\.roots: /nonexistent: expected a file with the root's certificate",
        ),
    }
    wrong |= {
        "half of a company": (
            {"type": "own", "roots": "/x"},
            r"sources\.server\.directory: found nothing, expected an",
        ),
        "no root of a company": (
            {"type": "own", "directory": "/x", "roots": "/nonexistent"},
            r"sources\.server\.roots: /nonexistent: expected a file with the root's certificate",
        ),
    }
    program = {"type": "command", "command": ["/nonexistent/sign"], "roots": "/x"}
    wrong |= {
        "no program": (program, r"sources\.server\.command: /nonexistent/sign: expected a program .*, found nothing"),
        "no time": ({**program, "timeout": 0}, r"sources\.server\.timeout: expected a whole number of seconds"),
        "no challenge": ({**program, "type": "acme"}, r"sources\.server\.url: found nothing, expected the URL"),
    }
    for name, (source, message) in wrong.items():
        given = {"sources": [{"authority": "server", "source": source}]}
        yield Bad(f"source: {name}", "certificate_authority", given, message)


OPTIONS = [
    *_pem(),
    *_lists(),
    *_sources(),
    *_strange(),
    Bad("port too large", "server", {"port": 65536}, "port: found 65536, expected a TCP port, 1 to 65535"),
    Bad("port below zero", "server", {"port": -1}, "port: found -1, expected a TCP port"),
    Bad("port is a word", "server", {"port": "main"}, "port.*int"),
    Bad("no server there", "server", {"port": 1}, "No PostgreSQL server was found on port 1"),
    Bad("no names", "server", {"names": []}, "names: no names were given"),
    Bad(
        "100,000 names",
        "server",
        {"names": [f"db{one}.example.com" for one in range(100_000)]},
        "names: 100000 names with",
    ),
    Bad(
        "patroni_api without authorities",
        "server",
        {"patroni_api": True},
        "patroni_api is True but all of the following are missing: patroni_trusted_clients, patroni_issuing",
    ),
    Bad(
        "patroni_trusted_clients is a key",
        "server",
        {"patroni_api": True, "patroni_trusted_clients": KEY, "patroni_issuing": ROOT_PEM},
        f"trusted_clients: {FOUND_KEY}",
    ),
    Bad("names are a number", "server", {"names": 5}, "names: '5' is neither"),
    Bad("names are a dictionary", "server", {"names": {"a": 1}}, "names.*list"),
    Bad("clock is a word", "server", {"controller_time": "now"}, "controller_time.*float"),
    Bad(
        "clock is no number", "server", {"controller_time": "nan"}, "controller_time: found nan, expected Unix seconds"
    ),
    Bad("clock without end", "client", {"controller_time": "inf"}, "controller_time: found inf, expected Unix seconds"),
    Bad(
        "clock of 1970",
        "server",
        {"controller_time": 0},
        "The clock of this host is [0-9]+ s ahead of the controller's",
    ),
    Bad("key type", "server", {"key_type": "DSA"}, "key_type must be one of"),
    Bad("key type of clients", "client", {"key_type": "P-521"}, "key_type must be one of"),
    Bad("relative directory", "server", {"directory": "tls"}, "directory: .* expected an absolute path"),
    Bad("the root directory", "server", {"directory": "/"}, "directory: '/', expected an absolute path"),
    Bad(
        "somebody else's directory",
        "server",
        {"directory": "/etc"},
        "directory: /etc belongs to user id 0; expected a directory of OS user",
    ),
    Bad("a file as directory", "server", {"directory": "/etc/passwd"}, "directory: /etc/passwd"),
    Bad("a device as directory", "server", {"directory": "/dev/zero"}, "directory: /dev/zero"),
    Bad(
        "ssl_conf is no setting", "server", {"ssl_conf": "ssl = on\n$(id)\n"}, "ssl.conf line 2: expected NAME = VALUE"
    ),
    Bad(
        "ssl_conf is a key", "server", {"ssl_conf": KEY}, "ssl.conf line 1: expected NAME = VALUE, found a private key"
    ),
    Bad("ssl_conf is huge", "server", {"ssl_conf": "x" * 5_000_000}, "ssl.conf line 1: expected NAME = VALUE"),
    Bad("hba is a key", "server", {"hba": KEY}, "line 1: "),
    Bad("hba is garbage", "server", {"hba": "\u202e\U0001f600 \x01"}, "line 1: type"),
    Bad("hba is a list", "server", {"hba": ["hostssl"]}, "line 1: |hba.*str"),
    Bad("hba_mode", "server", {"hba_mode": "append"}, "hba_mode must be one of"),
    Bad(
        "ident is garbage",
        "server",
        {"ident": "one\n"},
        "ident line 1: .* expected MAP SYSTEM-USER DATABASE-USER",
    ),
    Bad(
        "option_names",
        "server",
        {"ident": "one\n", "option_names": {"ident": "my_maps"}},
        "my_maps line 1: .* expected MAP SYSTEM-USER DATABASE-USER",
    ),
    Bad("option_names is a text", "server", {"option_names": "ident"}, "option_names.*dict"),
    Bad("renew", "server", {"renew": "perhaps"}, "renew.*bool"),
    Bad("unknown option", "server", {"nmaes": []}, "Unsupported parameters.*nmaes"),
    Bad("identities are a word", "client", {"identities": "app"}, "dictionary requested|identities.*dict"),
    Bad("an identity is a number", "client", {"identities": [5]}, "identities.*(dict|list)"),
    Bad("an identity without user", "client", {"identities": [{"role": "app"}]}, "os_user.*identities"),
    Bad(
        "root's home",
        "client",
        {"identities": [{"role": "app", "os_user": "{user}", "home": "/root"}]},
        "/root.*belongs to the user id 0|'/root'",
    ),
    Bad(
        "home is a file",
        "client",
        {"identities": [{"role": "app", "os_user": "{user}", "home": "/etc/passwd"}]},
        "the home directory '/etc/passwd'",
    ),
    Bad(
        "certificate is a key",
        "client",
        {"certificates": {"{user}/app": KEY}},
        f"certificates: .*/app: {FOUND_KEY}",
    ),
    Bad("certificates are a list", "client", {"certificates": [1]}, "certificates.*dict"),
    Bad(
        "unknown host option",
        "connection_info",
        {"expectations": [{"host": "a,b", "role": "app", "os_user": "{user}"}]},
        r"expectations\[0\]\.host: 'a,b' is no host name",
    ),
    Bad(
        "a socket as host",
        "connection_info",
        {"expectations": [{"host": "/tmp", "role": "app", "os_user": "{user}"}]},
        r"expectations\[0\]\.host: '/tmp' is no host name",
    ),
    Bad(
        "NUL in a host",
        "connection_info",
        {"expectations": [{"host": "a\0b", "role": "app", "os_user": "{user}"}]},
        r"expectations\[0\]\.host: .* control characters",
    ),
    Bad(
        "NUL in a role",
        "connection_info",
        {"expectations": [{"host": "localhost", "role": "a\0b", "os_user": "{user}"}]},
        r"expectations\[0\]\.role: .* control characters",
    ),
    Bad(
        "port of a connection",
        "connection_info",
        {"expectations": [{"host": "localhost", "role": "a", "os_user": "{user}", "port": 65536}]},
        r"expectations\[0\]\.port: found 65536",
    ),
    Bad(
        "kind without refusal",
        "connection_info",
        {"expectations": [{"host": "localhost", "role": "a", "os_user": "{user}", "kind": "plaintext"}]},
        "kind is only for expect=refused",
    ),
    Bad("port of a probe", "endpoint_info", {"port": 65536}, "port: found 65536, expected a TCP port"),
    Bad("negative port of a probe", "endpoint_info", {"port": -1}, "port: found -1"),
    Bad("no time", "endpoint_info", {"timeout": 0}, "timeout: found 0 s, expected 1 to"),
    Bad("negative time", "endpoint_info", {"timeout": -1}, "timeout: found -1 s, expected 1 to"),
    Bad("endless time", "endpoint_info", {"timeout": 10**12}, "timeout: found 1e.12 s, expected 1 to"),
    Bad(
        "a trust file that is missing",
        "endpoint_info",
        {"trust_files": ["/nowhere"]},
        "trust_files: /nowhere does not exist",
    ),
    Bad(
        "a trust file that is a directory",
        "endpoint_info",
        {"trust_files": ["/etc"]},
        "trust_files: /etc: expected a regular file, found another kind",
    ),
    Bad(
        "a trust file without certificates",
        "endpoint_info",
        {"trust_files": ["/etc/passwd"]},
        "trust_files: /etc/passwd: expected PEM",
    ),
    Bad("a host with an empty label", "endpoint_info", {"host": "a..b"}, "no TCP connection"),
    Bad("a host with a NUL", "endpoint_info", {"host": "a\0b"}, "no TCP connection"),
    Bad("a host of 10,000 characters", "endpoint_info", {"host": "a" * 10_000}, "no TCP connection"),
    Bad("a command as host", "endpoint_info", {"host": "$(id)"}, "no TCP connection"),
    Bad("an impossible name to ask for", "endpoint_info", {"server_name": "a" * 300}, "TLS handshake failed"),
    Bad("passphrase is wrong", "certificate_authority", {"passphrase": "wrong passphrase"}, "the passphrase is wrong"),
    Bad("passphrase is missing", "certificate_authority", {"passphrase": None}, "no passphrase was given"),
    Bad("passphrase is short", "certificate", {"passphrase": "!"}, "expected at least 8 characters"),
    Bad(
        "passphrase is wrong for signing", "certificate", {"passphrase": "wrong passphrase"}, "the passphrase is wrong"
    ),
    Bad(
        "authorities in a file",
        "certificate_authority",
        {"directory": "/etc/passwd"},
        "/etc/passwd: expected a directory .*, found another kind",
    ),
    Bad("authorities in a device", "certificate", {"directory": "/dev/zero"}, "/dev/zero: expected a directory"),
    Bad(
        "authorities where nobody can write",
        "certificate_authority",
        {"directory": "/proc/ca"},
        "/proc.*xpected a directory",
    ),
    Bad(
        "authority", "certificate", {"authority": "Both"}, "authority: found 'Both', expected the name of an authority"
    ),
    Bad(
        "revoked: never issued",
        "certificate_authority",
        {"revoked": [{"serial": "1"}]},
        "revoked: serial: 1: no certificate of it is in ledger.jsonl",
    ),
    Bad(
        "outside_holders: no day",
        "certificate_authority",
        {"outside_holders": [{"authority": "server", "id": "pooler1", "until": "2027", "by": "dba team"}]},
        r"outside_holders\[0\]\.until: found '2027', expected the last day",
    ),
    Bad(
        "outside_holders: no authority",
        "certificate_authority",
        {"outside_holders": [{"authority": "Both", "id": "pooler1", "until": "2027-01-01", "by": "dba team"}]},
        "authority: found 'Both', expected the name of the authority",
    ),
    Bad(
        "unrecorded: no id",
        "certificate_authority",
        {"unrecorded": [{"authority": "server", "certificate": "x"}]},
        r"\bid found in unrecorded",
    ),
    Bad("revoked: nothing", "certificate_authority", {"revoked": [{}]}, r"revoked\[0\]: expected exactly"),
    Bad("an unknown phase", "certificate_authority", {"phase": "begin"}, "phase must be one of: stage, switch"),
    Bad(
        "a phase before its turn",
        "certificate_authority",
        {"phase": "retire"},
        "retire is not next .* stage comes first",
    ),
    Bad(
        "an unknown authority",
        "certificate_authority",
        {"phase": "stage", "rotate": ["both"]},
        "phase: there is no both CA in this directory, which has the server CA, the client CA",
    ),
    Bad("a client authority of servers", "certificate_authority", {"clients": ["server"]}, "clients: found 'server'"),
    Bad(
        "revoked: an authority that does not exist",
        "certificate_authority",
        {"revoked": [{"serial": "1", "authority": "both"}]},
        "revoked: serial: 1: found authority 'both', expected one of server, client",
    ),
    Bad("a phase in an emergency", "certificate_authority", {"phase": "stage", "drop": "client"}, "mutually exclusive"),
    Bad(
        "certificates in use: no serial",
        "certificate_authority",
        {"certificates_in_use": [{"authority": "server", "id": "db1"}]},
        "missing .* serial",
    ),
    Bad("no root to drop", "certificate_authority", {"drop": "client"}, "To do it, confirm the root by its name"),
    Bad("a root of nobody", "certificate_authority", {"drop_confirmed": "root"}, "required by 'drop_confirmed': drop"),
    Bad(
        "a longer life than the issuer's",
        "certificate",
        {"lifetime": "999999999y"},
        "lifetime: 999999999y is longer than the issuer's",
    ),
    Bad("no life", "certificate", {"lifetime": "0d"}, "lifetime: '0d' is not a duration"),
    Bad("an id twice", "certificate", {"requests": [{"id": "a"}, {"id": "a"}]}, "the id 'a' appears twice"),
    Bad(
        "an id with a line break",
        "certificate",
        {"requests": [{"id": "a\nb"}]},
        "requests: found the id .*, expected printable text",
    ),
    Bad("requests are a word", "certificate", {"requests": "a"}, "dictionary requested|requests.*dict"),
]

# Requests that are refused one by one: the task itself continues with the others
BAD_REQUESTS = {
    "no request": ({"names": ["db"]}, "expected a certificate request in PEM, found nothing"),
    "a key": ({"names": ["db"], "csr": KEY}, FOUND_KEY),
    "a certificate": ({"names": ["db"], "csr": ROOT_PEM}, "expected a certificate request in PEM, found none"),
    "huge": ({"names": ["db"], "csr": HUGE}, "expected a certificate request in PEM, found none"),
    "no names": ({"csr": KEY}, "no names were given"),
    "a role of a server": ({"names": ["db"], "role": "app"}, "a server's certificate has names and no role"),
    **{
        f"names: {name}": ({"names": [text]}, r"\.names: .* is neither")
        for name, text in STRANGE.items()
        if name != "half a character"
    },
}

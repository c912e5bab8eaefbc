# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers that an OS user's files name, and nothing else of what is in them."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import destinations

PASSWORD_LINES = {
    b"db1.example.com:5432:shop:app:hunter2": ["db1.example.com"],
    b"*:*:*:app:hunter2": [],
    b"# db1:5432:shop:app:hunter2": [],
    b"#db1:5432:shop:app:hunter2": [],
    b"192.0.2.7:*:*:*:a:b:c": ["192.0.2.7"],
    rb"\:\:1:5432:shop:app:hunter2": ["::1"],
    rb"2001\:db8\:\:7:5432:shop:app:hunter2": ["2001:db8::7"],
    rb"db\1.example.com:5432:shop:a\:b:hunter2": ["db1.example.com"],
    b"/var/run/postgresql:5432:shop:app:hunter2": [],
    b"db1:5432:shop:app:hunter2\r": ["db1"],
    b"db1:5432:shop:app": [],  # libpq needs the fifth field, too
    b"hunter2": [],
    b"": [],
    b"host with spaces:5432:shop:app:hunter2": [],
    b"\xff\xfe:5432:shop:app:hunter2": [],
    b":5432:shop:app:hunter2": [],
}


@pytest.mark.parametrize("line", PASSWORD_LINES)
def test_hosts_of_a_password_file(line: bytes) -> None:
    assert destinations.of_password_file(line) == PASSWORD_LINES[line]
    twice = destinations.of_password_file(b"first:1:d:u:p\n" + line + b"\n" + line + b"\nlast:1:d:u:p")
    assert twice == ["first", *PASSWORD_LINES[line], "last"]


FILES = "sslrootcert=/r\nsslcert=/c\nsslkey=/k\n"
SERVICES = {
    "[one]\nhost=db1.example.com\nuser=me\npassword=hunter2\n": ["db1.example.com"],
    "[one]\nhost=db1,db2\n[two]\nhost=db1\n": ["db1", "db2"],
    "[one]\nhostaddr=192.0.2.7\n": ["192.0.2.7"],
    "[one]\nhost=db1\nhostaddr=192.0.2.7\n": ["db1"],
    "[one]\nhost=db1\nhost=db2\n": ["db1"],
    "  [one]\r\n  host=db1\r\n": ["db1"],
    "[one]\n# host=db1\nuser=me\n": [],
    "[one]\nhost=/var/run/postgresql\n": [],
    "[one]\nhost=db1\nsslmode=disable\n": [],
    "[one]\nhost=db1\nsslmode=prefer\n": ["db1"],
    f"[one]\nhost=db1\n{FILES}": [],
    f"[one]\nhost=db1\n{FILES}[two]\nhost=db2\n": ["db2"],
    "[one]\nhost=db1\nsslrootcert=/r\nsslcert=/c\n": ["db1"],
    "host=db1\n": [],
    "ldap://ldap.example.com/dc=example?uniqueMember?one?\n": [],
}


@pytest.mark.parametrize("text", SERVICES)
def test_hosts_of_services(text: str) -> None:
    assert destinations.of_services(text.encode()) == SERVICES[text]


KNOWN = ["db1.example.com", "192.0.2.1", "2001:db8::1", "*.shop.example.com"]
OUTSIDE = {
    "db1.example.com": False,
    "DB1.Example.COM.": False,
    "192.0.2.1": False,
    "2001:0db8:0::1": False,
    "a.shop.example.com": False,
    "a.b.shop.example.com": True,
    "shop.example.com": True,
    "db1": True,
    "192.0.2.10": True,
    "localhost": True,
}


@pytest.mark.parametrize("host", OUTSIDE)
def test_which_hosts_are_outside(host: str) -> None:
    assert destinations.outside([host], KNOWN) == ([host] if OUTSIDE[host] else [])

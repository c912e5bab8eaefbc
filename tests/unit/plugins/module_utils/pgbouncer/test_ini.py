# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a pgbouncer.ini, and how our line gets into it."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini

TLS = "/tls/current/tls.ini"
OURS = f"{ini.MARK}\n%include {TLS}\n"
FILES = {
    TLS: "client_tls_sslmode = require\n",
    "/more": "client_tls_sslmode = allow\n",
    "/section": "[pgbouncer]\nlisten_port = 2\n",
    "/loop": "%include /loop\n",
    "/databases": "; ours\n[databases]\nshop = host=a\n",
    "/nested": "%include /databases\n",
    "/both": "client_tls_sslmode = allow\n[users]\n",
    "/whole": "[users]\n[pgbouncer]\na = 1\n",
    "/empty": "; nothing\n",
}
NEW = (1, 25)


def read(text: str) -> list[ini.Line]:
    return ini.lines(text, "/p.ini", FILES.get)


def with_ours(text: str) -> str:
    return ini.with_include(text, TLS, "/p.ini", read(ini.without_include(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[pgbouncer]\na = 1\n", f"[pgbouncer]\na = 1\n{OURS}"),
        ("[pgbouncer]\na = 1", f"[pgbouncer]\na = 1\n{OURS}"),
        ("[pgbouncer]\na = 1\n\n; end\n\n[users]\n", f"[pgbouncer]\na = 1\n{OURS}\n; end\n\n[users]\n"),
        ("[pgbouncer]\n[users]\n", f"[pgbouncer]\n{OURS}[users]\n"),
        (
            "[pgbouncer]\na = 1\n[users]\n[pgbouncer]\nb = 2\n",
            f"[pgbouncer]\na = 1\n[users]\n[pgbouncer]\nb = 2\n{OURS}",
        ),
        (f"[pgbouncer]\n{OURS}a = 1\n", f"[pgbouncer]\na = 1\n{OURS}"),
        (f"[pgbouncer]\na = 1\n{OURS.replace('/tls/', '/old/')}", f"[pgbouncer]\na = 1\n{OURS}"),
        ("[pgbouncer]\n%include /more\n", f"[pgbouncer]\n%include /more\n{OURS}"),
        ("[pgbouncer]\n%include /empty\n", f"[pgbouncer]\n%include /empty\n{OURS}"),
        ("[pgbouncer]\na = 1\n%include /databases\n", f"[pgbouncer]\na = 1\n{OURS}%include /databases\n"),
        ("[pgbouncer]\na = 1\n%include /nested\nx = 1\n", f"[pgbouncer]\na = 1\n{OURS}%include /nested\nx = 1\n"),
        (f"[pgbouncer]\n%include /databases\n{OURS}", f"[pgbouncer]\n{OURS}%include /databases\n"),
        ("%include /whole\n[users]\n", f"%include /whole\n{OURS}[users]\n"),
        ("[users] [pgbouncer] a = 1\n[users]\n", f"[users] [pgbouncer] a = 1\n{OURS}[users]\n"),
        ("[pgbouncer] ; ours\n[users] ; theirs\n", f"[pgbouncer] ; ours\n{OURS}[users] ; theirs\n"),
    ],
)
def test_our_line_is_the_last_of_the_last_section(text: str, expected: str) -> None:
    after = with_ours(text)
    assert after == expected
    assert with_ours(after) == after
    assert ini.settings(read(after))["client_tls_sslmode"].value == "require"
    kept = [line for line in after.split("\n") if line not in OURS.split("\n")]
    assert [line for line in ini.without_include(after).split("\n") if line] == [line for line in kept if line]


def test_a_text_without_the_section_is_refused() -> None:
    with pytest.raises(TlsError, match=r"/p\.ini: expected a section \[pgbouncer\], found none"):
        with_ours("[databases]\n")


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("[pgbouncer]\nlisten_port = 1\nlisten_port=3", "3"),
        ("[pgbouncer]\nlisten_port = 1\n[databases]\nlisten_port = 9\n", "1"),
        ("[pgbouncer]\nlisten_port = 1\n[pgbouncer]\na = b\n", None),
        ("[pgbouncer]\nlisten_port = 1\n[databases]\n%include /section\n", "2"),
        ("[pgbouncer]\n; listen_port = 1\n# listen_port = 1\n", None),
    ],
)
def test_the_last_line_after_the_last_header_decides(text: str, port: str | None) -> None:
    line = ini.settings(read(text)).get("listen_port")
    assert (line.value if line else None) == port


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pgbouncer]\nx", "/p.ini line 2: found neither a section"),
        ("a = 1", "/p.ini line 1: found neither a section"),
        ("[pgbouncer]\nno_such = 1", "line 2: found setting 'no_such', which this version"),
        ("[pgbouncer]\n%include /nowhere", "line 2: found an included file that does not exist"),
        ("[pgbouncer]\n%include /loop", "/loop line 1: found an included file"),
        ("[databases]\nx = host=a password=SECRET\n[pgbouncer]\nSECRET", "line 4: found neither"),
        ("[databases] SECRET", "line 1: found neither"),
        ("[databases\nx = host=a", "line 1: found neither"),
        ("[databases]\n'' = host=a", "line 2: found neither"),
        ('[databases]\n"my db" = host=a', "line 2: found neither"),
        ("[databases]\n'shop@ro' = host=SECRET", "line 2: found a name in quotes, which PgBouncer 1.24 does not take."),
    ],
)
def test_a_line_that_would_not_load_is_named_and_not_shown(text: str, message: str) -> None:
    found = ini.broken(read(text), ["a"], (1, 24))
    assert message in found
    assert "SECRET" not in found


def test_lines_that_load_are_no_fault() -> None:
    text = "[databases] ; ours\n'my db' = host=a\n* =\n= host=b\n[pgbouncer] a = 1\n'a' = 2\n%include /more\n"
    assert ini.broken(read(text), ["a", "client_tls_sslmode"], NEW) == ""
    assert ini.settings(read(text))["a"].value == "2"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("shop =", ini.Database("shop", [], 5432, "shop", "")),
        ("shop = host=db1", ini.Database("shop", ["db1"], 5432, "shop", "")),
        ("shop = host=/run port=1", ini.Database("shop", [], 1, "shop", "")),
        ("shop = host=a,b port=6000 dbname=x user=u", ini.Database("shop", ["a", "b"], 6000, "x", "u")),
        ("shop = host='db1' password='a''b host=c' user='o''x'", ini.Database("shop", ["db1"], 5432, "shop", "o'x")),
        ("* = host=db2", ini.Database("*", ["db2"], 5432, "postgres", "")),
        ("'shop@ro' = host=db2", ini.Database("shop@ro", ["db2"], 5432, "shop@ro", "")),
    ],
)
def test_what_a_database_says_of_the_way_to_postgresql(line: str, expected: ini.Database) -> None:
    assert ini.databases(read(f"[databases]\n{line}\n")) == [expected]


def test_what_overrides_ours_is_named() -> None:
    text = with_ours("[pgbouncer]\na = 1\n")
    assert ini.overridden(read(text), {"client_tls_sslmode": "require"}) == []
    later = read(f"{text}%include /more\n")
    assert ini.overridden(later, {"client_tls_sslmode": "require"}) == ["client_tls_sslmode in /more line 1"]
    reset = read(f"{text}%include /section\n")
    assert ini.overridden(reset, {"client_tls_sslmode": "require"}) == [
        "client_tls_sslmode by the header in /section line 1"
    ]
    before = read(with_ours("[pgbouncer]\na = 1\n%include /both\n"))
    assert ini.overridden(before, {"client_tls_sslmode": "require"}) == ["client_tls_sslmode in /both line 1"]

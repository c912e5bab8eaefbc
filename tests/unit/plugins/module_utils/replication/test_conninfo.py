# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection strings are read as libpq reads them, and what may be secret is never shown."""

from __future__ import annotations

import ctypes

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.plugins.module_utils.verification import libpq
from hypothesis import given
from hypothesis import strategies as st

SECRET = "never-to-be-seen-0815"
STRINGS = [
    "",
    "  ",
    "host=db1 port=5432 user=replicator",
    " host = db1  port= 5432\tuser\n=\nreplicator ",
    r"user='a\'b\c' password=a\ b\'c host=x",
    "host='a'user=b",
    "user= host=x",
    "user='' host=x",
    "user=x\\",
    "host=x host=y",
    "user=a'b host=x",
    "postgresql://",
    "postgres://localhost",
    "postgresql://user@db1:5433/shop",
    "postgresql://user:se%20cret@db1:5433,db2/shop?sslmode=verify-full&sslrootcert=%2Fetc%2Froot.crt",
    "postgresql://user:@[2001:db8::1]:5433/?ssl=true",
    "postgresql:///shop?host=/var/run/postgresql&port=5433",
    "postgresql://%2Fvar%2Frun/shop",
    "postgresql://db1?user=replicator",
]
BROKEN = [
    "user='a b' password='it''s' host=x",
    "host",
    "host=x user='a",
    "=x",
    "user='a\\'",
    "host x=y",
    "postgresql://[::1/shop",
    "postgresql://db1?user",
    "postgresql://db1?user=a=b",
    "postgresql://%zz",
    "postgresql://%00",
    "postgresql://[]/x",
]


class _Option(ctypes.Structure):
    """PQconninfoOption."""

    _fields_ = [
        *((name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")),
        ("dispsize", ctypes.c_int),
    ]


def of_libpq(text: str) -> dict[str, str] | None:
    """Return the parameters that libpq finds in a connection string, None for one that it refuses."""
    functions = libpq.load().functions
    functions.PQconninfoParse.restype = ctypes.POINTER(_Option)
    found = functions.PQconninfoParse(text.encode(), None)
    if not found:
        return None
    values, at = {}, 0
    while found[at].keyword is not None:
        if found[at].val is not None:
            values[found[at].keyword.decode()] = found[at].val.decode()
        at += 1
    functions.PQconninfoFree(found)
    return values


@pytest.mark.parametrize("text", STRINGS)
def test_it_is_read_as_libpq_reads_it(text: str) -> None:
    assert conninfo.parse(text) == of_libpq(text)


@pytest.mark.parametrize("text", BROKEN)
def test_what_libpq_cannot_read_is_refused(text: str) -> None:
    assert of_libpq(text) is None
    with pytest.raises(TlsError) as refused:
        conninfo.parse(text)
    assert refused.value.code == "conninfo_invalid"


@given(
    st.dictionaries(
        st.sampled_from(["host", "user", "password", "sslcert", "application_name"]),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    )
)
def test_what_is_rendered_is_read_again_by_both(parameters: dict[str, str]) -> None:
    text = conninfo.render(parameters)
    assert conninfo.parse(text) == parameters == of_libpq(text)


@pytest.mark.parametrize("text", [f"host=db1 password='{SECRET}' sslpassword={SECRET}", f"postgres://u:{SECRET}@db1"])
def test_passwords_are_not_shown(text: str) -> None:
    found = conninfo.parse(text)
    assert SECRET in found.values()
    assert SECRET not in str(conninfo.shown(found)) + conninfo.in_words(found)
    with pytest.raises(TlsError) as refused:
        conninfo.parse(f"{text} 'broken' {SECRET}" if "=" in text else f"{text}?{SECRET}")
    assert SECRET not in refused.value.message


def test_a_service_gives_what_the_string_leaves_out() -> None:
    text = "# comment\n[other]\nhost=x\n[replicator@db1]\nhost=db1\nport=5433\n#user=y\n[replicator]\nuser=z\n"
    found = conninfo.with_service({"service": "replicator@db1", "port": "5432"}, text)
    assert found == {"service": "replicator@db1", "host": "db1", "port": "5432"}
    assert conninfo.with_service({"service": "none"}, text) == {"service": "none"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host=db1", True),
        ("hostaddr=192.0.2.1", True),
        ("host=/run/postgresql,db1", True),
        ("host=/run/postgresql", False),
        ("host=@abstract", False),
        ("user=x", False),
    ],
)
def test_only_tcp_has_tls(text: str, expected: bool) -> None:
    assert conninfo.uses_network(conninfo.parse(text)) is expected

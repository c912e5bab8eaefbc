# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service files of any content: refused, or with our block in them and every other byte as it was."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.client import identities, service_file
from ansible_collections.pgops.tls.plugins.module_utils.postgres import databases
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import example, given
from hypothesis import strategies as st

SERVICE_FILE_PIECES = st.sampled_from(
    [service_file.BEGIN, service_file.END, b"\n", b"\r\n", b" ", b"[app]", b"[other]", b"host=x", b"\0", b"\xff", b"#"]
)
SERVICE_FILES = st.binary() | st.lists(SERVICE_FILE_PIECES, max_size=12).map(b"".join)
SAMPLE_IDENTITIES = [identities.Identity("app", "alice", ("shop",)), identities.Identity('Rôle "x"; $(id)', "alice")]


@given(st.none() | SERVICE_FILES)
def test_any_service_file_is_refused_or_merged_once(content: bytes | None) -> None:
    merged, message = attempt(
        service_file.merge, content, SAMPLE_IDENTITIES, "/home/alice/.postgresql/pgops/current", "/p"
    )
    if message:
        assert message.startswith("/p: ")
        return
    assert service_file.merge(merged, SAMPLE_IDENTITIES, "/home/alice/.postgresql/pgops/current", "/p") == merged
    parts, before = service_file.split(merged, "/p"), service_file.split(content or b"", "/p")
    assert (parts.before.rstrip(b"\n"), parts.after) == (before.before.rstrip(b"\n"), before.after)


@given(
    st.text() | st.text(st.sampled_from("a./]['\"`$();\\ \n\0\u202e\u0301\U0001f600\ud800"), max_size=70),
    st.text(max_size=5),
)
@example("a" * 10_000, "shop")
@example("root.crt", "shop")
def test_a_name_that_is_taken_breaks_no_line_and_leaves_no_directory(role: str, database: str) -> None:
    item = {"role": role, "os_user": "alice", "databases": [database]}
    found, message = attempt(identities.parse, [item], "postgres_client_identities")
    if message:
        assert message.startswith("postgres_client_identities[0].")
        assert len(message) < 500
        return
    assert "/" not in role
    assert role not in (".", "..")
    block = service_file.render(found, "/current").split(b"\n")
    assert len(block) == 9 + len(databases.named([database], role))
    assert block[1] == f"[{role}]".encode()

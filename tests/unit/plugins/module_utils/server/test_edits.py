# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order rules and maps are written: whoever reloads the server in between must not lock anybody out."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rules import Fault
from ansible_collections.pgops.tls.plugins.module_utils.server.edits import Rewrite, in_steps, lasting

RULES_REWRITE = Rewrite("pg_hba.conf", "rules", "other rules")
A, B = "people alice app\n", "staff bob app\n"


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ("", A, [A, "other rules"]),
        (A, A + B, [A + B, "other rules"]),
        (A, "", ["other rules", ""]),
        (A + B, "# a note\n" + B, ["other rules", "# a note\n" + B]),
        (A, B, [B + A, "other rules", B]),
    ],
    ids=["first map", "more", "no map", "less", "another"],
)
def test_the_maps_of_both_sides_are_there_while_the_rules_change(before: str, after: str, steps: list[str]) -> None:
    found = in_steps([Rewrite("pg_ident.conf", before, after), RULES_REWRITE], 15)
    assert [step.after for step in found] == steps
    contents = {"pg_ident.conf": before, "pg_hba.conf": "rules"}
    for step in found:
        assert contents[step.name] == step.before
        contents[step.name] = step.after


@pytest.mark.parametrize("rewrites", [[], [RULES_REWRITE], [Rewrite("pg_ident.conf", A, B)]])
def test_a_file_alone_is_written_at_once(rewrites: list[Rewrite]) -> None:
    assert in_steps(rewrites, 15) == rewrites


def test_the_settings_of_a_generation_lead_into_it_and_are_read_back_as_declared() -> None:
    declared = b"ssl_cert_file = '/d/current/server.crt'\nssl_crl_file = '/d/current/other'\n"
    pinned = settings.pinned(declared, "/d", "0007")
    assert pinned == b"ssl_cert_file = '/d/generations/0007/server.crt'\nssl_crl_file = '/d/current/other'\n"
    assert settings.unpinned(pinned, "/d", "0007") == declared
    assert settings.unpinned(declared, "/d", "0007") == declared, "as an earlier version has left it"
    assert settings.unpinned(pinned, "/d", "0008") == pinned


PATHS = {"pg_hba.conf": "/d/pg_hba.conf", "pg_ident.conf": "/d/pg_ident.conf"}
BROKEN_RULE = "host all all broken"


@pytest.mark.parametrize(
    ("file", "text", "after", "stays"),
    [
        ("/d/pg_hba.conf", BROKEN_RULE, "local all all peer\n", False),
        ("/d/pg_hba.conf", BROKEN_RULE, f"local all all peer\n{BROKEN_RULE}\n", True),
        ("/d/pg_hba.conf", "", "local all all peer\n", True),
        ("/d/more.conf", BROKEN_RULE, "local all all peer\n", False),
        ("/d/more.conf", BROKEN_RULE, "include more.conf\n", True),
        ("/d/more.conf", BROKEN_RULE, "local all include peer\n", False),
        ("/d/more.conf", BROKEN_RULE, "# include more.conf\n\nlocal all all peer\n", False),
        ("/d/pg_hba.conf", BROKEN_RULE, None, True),
    ],
)
def test_a_fault_lasts_where_its_line_does(file: str, text: str, after: str | None, stays: bool) -> None:
    fault = Fault("pg_hba.conf", file, 3, text, "invalid")
    rewrites = [Rewrite("pg_hba.conf", "before", after)] if after is not None else [Rewrite("pg_ident.conf", A, B)]
    assert lasting([fault], rewrites, PATHS, 17) == ([fault] if stays else [])

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of rules in a patroni.yml, as PyYAML reads them before and after, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import yaml_list
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration

NAME = "pg_hba"
LINES = "hostssl all app all cert map='a b'\n\n  # why\nhost all \"it's\" all reject"
BLOCK = configuration.with_block("", LINES, "x")
DEBIAN = """scope: "15-main"
bootstrap:
  dcs:
    postgresql:
      pg_hba:
      - local   all   all   peer
#      - host    all   all   10.0.0.0/8  md5
postgresql:
  # Custom clone method
  create_replica_method:
    - pg_clonecluster
  listen: "*:5432"
  data_dir: /var/lib/postgresql/15/main # here
  authentication:
    superuser:
      password: "s: # ecret"
  parameters:
    log_directory: '/var/log/postgresql'
"""
HBA = """  pg_hba:
  - local   all             all                                     peer
#  - host    all             all             10.0.0.0/8              md5
  - 'host    all             "o''hara"       ::1/128                 md5'  # old
  - "host    all             all             all                     md5"
  # last
"""
WITH_LIST = DEBIAN + HBA
IN_BETWEEN = DEBIAN.replace("  parameters:", HBA + "  parameters:")
DEEPER = DEBIAN + HBA.replace("  -", "      -")
WIDE = 'postgresql:\n    "pg_hba" :   # rules\n    - a b\n\n    - c\n\n\ntags: {\n  nosync: true\n}\n'
AT_THE_START = "---\npostgresql:\n  pg_hba:\n    - a b\n  listen: x\n"


def parsed(text: str, name: str = NAME) -> tuple[Any, Any]:
    """Return what PyYAML finds in the list, and everything else."""
    whole = yaml.safe_load(text)
    return whole["postgresql"].pop(name, None), whole


@pytest.mark.parametrize("text", [WITH_LIST, IN_BETWEEN, DEEPER, WIDE, AT_THE_START], ids=range(5))
def test_a_list_is_what_the_parser_reads_and_changes_alone(text: str) -> None:
    found = yaml_list.read(text, NAME, "/p.yml")
    rules, rest = parsed(text)
    assert found.exists
    assert list(found.rules) == rules
    after = yaml_list.rewritten(text, NAME, configuration.with_block(found.text, LINES, "x"), "/p.yml")
    declared = [line for line in LINES.split("\n") if line and "#" not in line]
    assert parsed(after) == (declared + rules, rest)
    assert configuration.BEGIN in after
    kept = [line for line in text.split("\n") if line]
    assert [line for line in after.split("\n") if line in kept] == kept
    again = yaml_list.read(after, NAME, "/p.yml").text
    assert configuration.with_block(again, LINES, "x") == again, "the next run changes nothing"
    without = configuration.with_block(again, "", "x")
    assert yaml_list.rewritten(after, NAME, without, "/p.yml") == text


@pytest.mark.parametrize("text", [DEBIAN, "postgresql:\n    # none\n    listen: x\ntags:\n- a\n"])
def test_a_list_that_is_missing_comes_first_in_its_section(text: str) -> None:
    found = yaml_list.read(text, NAME, "/p.yml")
    assert not found.exists
    assert found.text == ""
    after = yaml_list.rewritten(text, NAME, BLOCK + "host all all all md5\n", "/p.yml")
    rules, rest = parsed(after)
    assert rules[-1] == "host all all all md5"
    assert len(rules) == 3
    assert (rest["postgresql"] or None) == yaml.safe_load(text)["postgresql"]
    assert yaml_list.read(after, NAME, "/p.yml").text == BLOCK + "host all all all md5\n"


def test_a_list_of_ours_alone_keeps_its_end_and_leaves_a_line_for_patroni() -> None:
    after = yaml_list.rewritten(DEBIAN, "pg_ident", BLOCK, "/p.yml")
    found = yaml_list.read(after, "pg_ident", "/p.yml")
    assert found.text == BLOCK
    emptied = yaml_list.rewritten(after, "pg_ident", configuration.with_block(found.text, "", "x"), "/p.yml")
    assert parsed(emptied, "pg_ident")[0] == [yaml_list.NO_RULES]
    left = yaml_list.read(emptied, "pg_ident", "/p.yml").text
    assert yaml_list.rewritten(emptied, "pg_ident", left, "/p.yml") == emptied
    back = yaml_list.rewritten(emptied, "pg_ident", configuration.with_block(left, LINES, "x"), "/p.yml")
    assert len(parsed(back, "pg_ident")[0]) == 2


def test_a_list_without_rules_is_filled_where_it_stands() -> None:
    after = yaml_list.rewritten("postgresql:\n  pg_hba:\n  # none\n  listen: x\n", NAME, "a b\n", "/p.yml")
    assert yaml.safe_load(after) == {"postgresql": {"pg_hba": ["a b"], "listen": "x"}}


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("scope: x\n", 1, "no section postgresql"),
        ("postgresql: {pg_hba: [a]}\n", 1, "postgresql: with a value on its own line"),
        ("postgresql: &x\n  pg_hba:\n  - a\n", 1, "postgresql: with a value"),
        ("postgresql:\n  pg_hba: [a, b]\n", 2, "pg_hba: with a value"),
        ("postgresql:\n  pg_hba: *rules\n", 2, "pg_hba: with a value"),
        ("postgresql:\n  pg_hba: |\n    a\n", 2, "pg_hba: with a value"),
        ("postgresql:\n  pg_hba:\n  - a\n  pg_hba:\n  - b\n", 4, "a second pg_hba"),
        ("postgresql:\n  a: b\npostgresql:\n  c: d\n", 3, "a second postgresql"),
        ("postgresql:\n\tpg_hba:\n", 2, "a tab before"),
        ("postgresql:\r\n  pg_hba:\r\n  - a\r\n", 1, "carriage return"),
        ("a: b\n---\npostgresql:\n  a: b\n", 2, "more than one document"),
        ("%YAML 1.1\n---\npostgresql:\n  a: b\n", 1, "a directive"),
        ("postgresql:\n  a: b\n...\n", 3, "more than one document"),
        ("postgresql:\n  pg_hba:\n  - a\n    b\n", 4, "a rule that is not one line"),
        ("postgresql:\n  pg_hba:\n  - >\n    a b\n", 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n  - [a]\n", 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n  - !!str a\n", 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n  - &x a\n", 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n  - *x\n", 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n  - a: b\n", 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n  - - a\n", 3, "no simple text"),
        ('postgresql:\n  pg_hba:\n  - "a\\tb"\n', 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n  - 'a\n", 3, "no simple text"),
        ("postgresql:\n  pg_hba:\n    a: b\n", 3, "a rule that is not one line"),
    ],
)
def test_other_forms_are_refused_with_their_line(text: str, line: int, found: str) -> None:
    with pytest.raises(TlsError, match=rf"^/p\.yml line {line}: expected .*; found .*{found}.*Nothing was changed"):
        yaml_list.rewritten(text, NAME, BLOCK, "/p.yml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (DEBIAN, "/var/lib/postgresql/15/main"),
        ("postgresql:\n  data_dir: '/x y'\n", "/x y"),
        ('postgresql:\n  "data_dir": "/x"\n', "/x"),
        ("postgresql:\n  listen: x\n", ""),
        ("postgresql:\n  deeper:\n    data_dir: x\n", ""),
        ("data_dir: x\n", ""),
    ],
)
def test_a_single_value_is_read(text: str, value: str) -> None:
    assert yaml_list.scalar(text, "data_dir", "/p.yml") == value


def test_what_the_parser_would_take_for_something_else_than_a_rule_stays_text() -> None:
    lines = [
        "yes",
        "12",
        "null",
        "{a}",
        "[b]",
        "- c",
        "a: b",
        "*x",
        "&y",
        "!z",
        "%w",
        "@v",
        "`u",
        "'q'",
        '"r" # s',
        "\\",
    ]
    after = yaml_list.rewritten(DEBIAN, NAME, "".join(f"{line}\n" for line in lines), "/p.yml")
    assert parsed(after)[0] == lines
    assert list(yaml_list.read(after, NAME, "/p.yml").rules) == lines

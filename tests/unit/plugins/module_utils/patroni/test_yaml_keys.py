# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths in sections of patroni.yml: what the file is afterwards, read by a real parser."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import yaml_keys

FILE = """\
scope: shop
restapi: # of this node
  listen: 127.0.0.1:8008
  certfile: /etc/old.crt  # until spring
  'keyfile': "/etc/old.key"
# what follows is the store's
etcd3:
  hosts: 127.0.0.1:2379
"""
NEW: dict[str, dict[str, str | None]] = {
    "restapi": {"certfile": "/t/api.crt", "keyfile": "/t/api.key", "cafile": "/t/trusted.crt"},
    "ctl": {"certfile": "/t/ctl.crt", "cacert": "/t/it's here"},
}
OLD: dict[str, dict[str, str | None]] = {
    "restapi": {"certfile": "/etc/old.crt", "keyfile": "/etc/old.key", "cafile": None},
    "ctl": {"certfile": None, "cacert": None},
}


def parsed(text: str) -> Any:
    return yaml.safe_load(text)


def test_values_change_and_everything_else_stays() -> None:
    text = yaml_keys.rewritten(FILE, NEW, "f")
    before, after = parsed(FILE), parsed(text)
    assert after["restapi"] == {**before["restapi"], **NEW["restapi"]}
    assert after["ctl"] == NEW["ctl"]
    assert {**after, "restapi": 0, "ctl": 0} == {**before, "restapi": 0, "ctl": 0}
    assert "  certfile: /t/api.crt  # until spring\n" in text
    assert [row for row in FILE.splitlines() if "file" not in row and row not in text.splitlines()] == []
    assert yaml_keys.rewritten(text, NEW, "f") == text


def test_the_way_back_leads_to_the_same_file() -> None:
    back = yaml_keys.rewritten(yaml_keys.rewritten(FILE, NEW, "f"), OLD, "f")
    assert parsed(back) == parsed(FILE)
    assert back.splitlines() == [row.replace('"', "") for row in FILE.splitlines()]


@pytest.mark.parametrize(
    "section",
    [
        "ctl:\n  insecure: false\n",
        "ctl:\n# nothing yet\n",
        "ctl:\n    insecure: false\n    # end\n\n",
        'ctl:\n  "cacert": /x\n',
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_section_that_is_there_gets_the_keys(section: str, is_last: bool) -> None:
    text = FILE + section if is_last else section + FILE
    done = yaml_keys.rewritten(text, NEW, "f")
    assert parsed(done)["ctl"] == {**(parsed(text)["ctl"] or {}), **NEW["ctl"]}
    assert parsed(done)["etcd3"] == parsed(FILE)["etcd3"]
    gone = parsed(yaml_keys.rewritten(done, {"ctl": dict.fromkeys(NEW["ctl"])}, "f"))
    assert gone.get("ctl", {}) == ({"insecure": False} if "insecure" in section else {})


def test_a_file_without_a_last_line_end_is_taken() -> None:
    assert parsed(yaml_keys.rewritten(FILE.rstrip("\n"), NEW, "f"))["ctl"] == NEW["ctl"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("restapi: # of this node", "restapi: {listen: 'x', certfile: a}\nother:"),
        ("/etc/old.crt  # until spring", "&a /etc/old.crt"),
        ("/etc/old.crt  # until spring", "|\n    /etc/old.crt"),
        ("/etc/old.crt  # until spring", "\n    /etc/old.crt"),
        ("/etc/old.crt  # until spring", "# nothing"),
        ("/etc/old.crt  # until spring", "/etc/old\n    .crt"),
        ("scope: shop", "---\nscope: shop\n---"),
        ("etcd3:", "restapi:"),
    ],
)
def test_other_forms_are_refused_with_their_line(before: str, after: str) -> None:
    text = FILE.replace(before, after)
    assert text != FILE
    with pytest.raises(TlsError, match=r"f line \d+: expected keys of restapi and ctl in block style") as failure:
        yaml_keys.rewritten(text, NEW, "f")
    assert failure.value.code == "patroni_config_form"

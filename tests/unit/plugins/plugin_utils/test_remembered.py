# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.plugin_utils.remembered import Hostvars


class Counted(dict[str, Any]):
    """A dictionary that counts who asks for what."""

    asked: Counter[str]

    def __getitem__(self, key: str) -> Any:
        self.asked[key] += 1
        return super().__getitem__(key)


def counted(values: dict[str, Any]) -> Counted:
    found = Counted(values)
    found.asked = Counter()
    return found


def test_each_host_and_each_variable_is_asked_for_once() -> None:
    host = counted({"name": "db1", "other": 1})
    everything = counted({"db1": host})
    hostvars = Hostvars(everything)
    assert [hostvars["db1"]["name"] for _time in range(3)] == ["db1"] * 3
    assert [dict(hostvars["db1"]) for _time in range(2)] == [{"name": "db1", "other": 1}] * 2
    assert (everything.asked, host.asked) == ({"db1": 1}, {"name": 1, "other": 1})


def test_whether_there_is_a_variable_is_known_without_its_value() -> None:
    host = counted({"name": "db1"})
    hostvars = Hostvars({"db1": host})
    assert "name" in hostvars["db1"]
    assert "nope" not in hostvars["db1"]
    assert (len(hostvars["db1"]), list(hostvars), len(hostvars)) == (1, ["db1"], 1)
    assert host.asked == {}


def test_what_is_missing_is_missing_and_what_is_no_mapping_stays() -> None:
    hostvars = Hostvars({"db1": {}, "marker": 1})
    with pytest.raises(KeyError):
        hostvars["db1"]["nope"]
    assert hostvars.get("db2") is None
    assert hostvars["marker"] == 1

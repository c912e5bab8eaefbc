# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who looks for TLS from other authorities, and where."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.plugin_utils import traces


def test_a_host_looks_at_its_own_directories() -> None:
    directories = [["db1", "/tls"], ["app1", "/one"], ["app1", "/two"]]
    assert traces.shared_out(directories, ["app1", "db1", "spare"]) == {
        "app1": [["app1", "/one"], ["app1", "/two"]],
        "db1": [["db1", "/tls"]],
        "spare": [],
    }


def test_hosts_outside_the_play_are_shared_out_evenly_and_each_is_asked_by_one() -> None:
    outside = [[f"app{number}", directory] for number in range(5) for directory in ("/one", "/two")]
    found = traces.shared_out([["db1", "/tls"], *outside], ["db1", "db2"])
    assert found["db1"] == [["db1", "/tls"], *(one for one in outside if one[0] in ("app0", "app2", "app4"))]
    assert found["db2"] == [one for one in outside if one[0] in ("app1", "app3")]

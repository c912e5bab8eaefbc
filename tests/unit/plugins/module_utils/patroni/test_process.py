# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which command lines are those of a Patroni, and of which configuration file."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.patroni import process


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("/usr/bin/python3 /usr/bin/patroni /etc/patroni/15-main.yml", "/etc/patroni/15-main.yml"),
        ("/opt/patroni/bin/python -u /opt/patroni/bin/patroni shop.yml", "shop.yml"),
        ("python3 -m patroni shop.yml", "shop.yml"),
        ("python3 ./patroni.py shop.yml", "shop.yml"),
        ("/usr/bin/python3 /usr/bin/patroni", ""),
        ("/usr/bin/python3 /usr/bin/patronictl -c shop.yml list", ""),
        ("patroni shop.yml", ""),  # whose Python is not known
        ("less /usr/bin/patroni /etc/patroni/15-main.yml", ""),
        ("", ""),
    ],
)
def test_a_patroni_is_known_by_its_command_line(command: str, config: str) -> None:
    assert process.started([*command.split(" "), ""]) == config

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of servers that are laid out as RPM packages, or the official image, do it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import layouts
from ansible_collections.pgops.tls.tests.adoption import CONFIGURATION_FILES, REMOVE
from ansible_collections.pgops.tls.tests.endings import well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

VERIFIED = re.compile(r"(\d+) connections from 1 client hosts?: \1 as expected")
RENEW = {"postgres_server_renew": True, "postgres_client_renew": True}


@dataclasses.dataclass
class Host:
    """A server of some layout, and the site that it is db1 of."""

    layout: layouts.Layout
    site: Any

    def run(self, **variables: Any) -> str:
        """Run a playbook that has to go well; return its output."""
        inventory, inside = self.site.inventory(), self.layout.inside
        for name in ("postgres_server_login_unix_socket", "postgres_server_directory"):
            del inventory["all"]["vars"][name]  # what these layouts have is found
        inventory["all"]["vars"] |= self.layout.variables
        within = inside.within(self.site.directory) if inside else ()
        return well(self.site.run("--limit", "all", inventory=inventory, within=within, **variables))

    def changed(self, **variables: Any) -> dict[str, str]:
        """Run a playbook; return how many tasks changed each host."""
        return dict(re.findall(r"^(\S+) +: .*changed=(\d+) ", self.run(**variables), re.MULTILINE))

    def files(self) -> list[str]:
        """Return the configuration files."""
        return [self.layout.text(self.layout.data / name) for name in CONFIGURATION_FILES]

    def leaf(self) -> str:
        """Return the certificate in use."""
        return self.layout.text(self.layout.tls / "current" / "server.crt")


@pytest.fixture(params=["rpm", "image"])
def host(request: pytest.FixtureRequest, site_on: Callable[[Any], Any], tmp_path: Path) -> Iterator[Host]:
    made = layouts.of_rpm() if request.param == "rpm" else layouts.of_image(tmp_path)
    with made as layout:
        layout.psql("CREATE ROLE app LOGIN")
        yield Host(layout, site_on(_Cluster(layout)))


@dataclasses.dataclass
class _Cluster:
    """What a site asks of its cluster."""

    layout: layouts.Layout

    @property
    def port(self) -> int:
        return self.layout.port

    @property
    def socket_directory(self) -> str:
        return self.layout.socket_directory

    @property
    def home(self) -> Path:
        return self.layout.data.parent


@ONLY_THOROUGH
def test_a_server_of_another_layout_is_set_up_renewed_and_left_as_it_was(host: Host) -> None:
    before = host.files()
    assert VERIFIED.search(host.run())
    assert host.changed() == {"db1": "0", "app1": "0"}
    host.layout.restart()
    leaf = host.leaf()
    assert VERIFIED.search(host.run(**RENEW))
    assert host.leaf() != leaf
    host.run(playbook=REMOVE, postgres_server_remove_directory=True)
    assert host.files() == before
    assert not host.layout.exists(host.layout.tls)
    host.layout.restart()

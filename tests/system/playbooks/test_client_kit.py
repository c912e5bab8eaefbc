# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kits in a fleet that site.yml has set up: made by a playbook, let in by default rules, listed, and waited for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.endings import as_line, refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

MAKE, REPORT, ROTATE = (
    [{"ansible.builtin.import_playbook": f"pgops.tls.{name}"}] for name in ("client_kit", "report", "rotate_ca")
)
NAME = "db1.example.com"  # nobody resolves it: these tests say where it is
PASSWORD = "correct horse battery"


class World:
    """A site, and the kits that its inventory declares."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.site, self.directory = site, folder / "kits"
        (command,) = [
            command
            for page in guides.pages()
            for block in guides.blocks(page.name, page.read_text())
            for command, _output in block.commands()
            if command.startswith("openssl req -new -newkey")
        ]
        subprocess.run(["sh", "-ec", command], cwd=folder, check=True, capture_output=True)
        own = {"role": "reporting", "databases": ["postgres"], "directory": str(self.directory)}
        self.anna = {**own, "name": "anna", "password": PASSWORD}
        self.ben = {**own, "name": "ben", "csr": (folder / "partner.csr").read_text()}
        self.key = folder / "own.key"

    def inventory(self) -> dict[str, Any]:
        """Return an inventory whose server has a name for everybody."""
        found: dict[str, Any] = self.site.inventory()
        found["postgres_servers"]["hosts"]["db1"]["postgres_server_extra_names"] = [NAME]
        return found

    def run(self, *options: str, playbook: Any = None, **changes: Any) -> str:
        """Run a playbook that ends well; return what it prints."""
        kits = {"postgres_ca_kits": [self.anna, self.ben], **changes}
        done = self.site.run(*options, playbook=playbook, inventory=self.inventory(), **kits)
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return str(done.stdout)

    def serial(self, name: str = "anna") -> str:
        return self.given(name)["serial"]

    def given(self, name: str) -> dict[str, str]:
        """Return the serial number in a kit, and when it was given."""
        with zipfile.ZipFile(self.directory / f"{name}.zip") as archive:
            found: dict[str, str] = json.loads(archive.read(f"{name}/kit.json"))
        return found

    def rotate(self, *fetched: str) -> subprocess.CompletedProcess[str]:
        """Replace the roots, as far as the holders allow who have ``fetched`` the newest kit."""
        kits = [
            {**one, "fetched": self.serial(one["name"])} if one["name"] in fetched else one
            for one in (self.anna, self.ben)
        ]
        options = {"postgres_ca_kits": kits, "postgres_ca_outside_trust": "none"}
        done: subprocess.CompletedProcess[str] = self.site.run(playbook=ROTATE, inventory=self.inventory(), **options)
        assert PASSWORD not in done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def world(site_on: Callable[[Any], Any], shared_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    for role in ("app", "reporting"):
        shared_cluster.psql(f"CREATE ROLE {role} LOGIN")
    found = World(site_on(shared_cluster), tmp_path_factory.mktemp("holders"))
    said = found.run("--skip-tags", "verify")
    assert re.search(r"Kits that are due: 2\..*kit anna \(role reporting\), never made: no_kit", said, re.DOTALL), said
    return found


KEYS = {"anna": "postgresql.key", "ben": "own.key"}


def log_in(world: World, name: str, directory: Path | None = None) -> str:
    """Log in by the service of an unpacked kit, of the newest one or of one that was kept in ``directory``."""
    folder, key = world.directory / f"{name}-unpacked", KEYS[name]
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile((directory or world.directory) / f"{name}.zip") as archive:
        archive.extractall(folder)
    for path in (folder / name).glob("*.key"):
        path.chmod(0o600)  # unzip does that by itself
    if key == "own.key":
        shutil.copy(world.key, folder / name / key)
    environment = {"PATH": os.environ["PATH"], "PGSERVICEFILE": "pg_service.conf"}
    target = f"service={name}@db1 hostaddr=127.0.0.1 sslpassword='{PASSWORD}'"
    query = "SELECT current_user || ' ' || client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    done = subprocess.run(
        ["psql", "-XAtc", query, target],
        cwd=folder / name, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).strip()


def test_kits_are_made_once_and_their_holders_get_in(world: World) -> None:
    checked = world.run("--check", playbook=MAKE)
    assert f"anna: {world.directory}/anna.zip is due (no_kit)" in checked
    assert not world.directory.exists()
    made = world.run("-vvv", playbook=MAKE)
    assert f"anna: hand out {world.directory}/anna.zip (role reporting, serial number {world.serial()}" in made
    assert re.search(r"ben: hand out .* It has no private key", made)
    for name in KEYS:
        assert log_in(world, name) == f"reporting {int(world.serial(name), 16)}"
    before = (world.directory / "anna.zip").read_bytes()
    assert "hand out" not in world.run(playbook=MAKE)
    assert (world.directory / "anna.zip").read_bytes() == before


def test_the_report_has_them(world: World) -> None:
    if not world.directory.exists():
        world.run(playbook=MAKE)
    world.run("--limit", "db1", playbook=REPORT)
    folder = world.site.directory / "postgres-report"
    kits = json.loads((folder / "report.json").read_text())["kits"]
    assert kits["anna"]["certificate"]["serial"] == world.serial()
    assert re.search(
        r'certificate_not_after_timestamp_seconds{host="anna",kind="kit"} \d', (folder / "report.prom").read_text()
    )
    lost = {**world.anna, "directory": str(world.key)}
    world.run("--limit", "db1", playbook=REPORT, postgres_ca_kits=[lost, world.ben])
    found = json.loads((folder / "report.json").read_text())["kits"]
    assert {name: one["status"] for name, one in found.items()} == {"anna": "failed", "ben": "failed"}
    assert "own.key is a file, expected a directory" in found["ben"]["message"], "one mistake stops the look at all"
    assert found["anna"]["certificate"] == kits["anna"]["certificate"], "what was known before stays"


def test_a_kit_with_a_mistake_stops_the_playbook_before_anything_is_made(world: World) -> None:
    before = world.site.files()
    wrong = {**world.anna, "directory": f"{world.directory}-wrong", "servers": ["db7"]}
    done = world.site.run(playbook=MAKE, inventory=world.inventory(), postgres_ca_kits=[wrong])
    assert done.returncode != 0
    assert "postgres_ca_kits[0].servers: 'db7' is no group or host of the inventory" in done.stdout, done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    assert not Path(f"{world.directory}-wrong").exists()
    assert world.site.files() == before


@pytest.fixture
def resolved() -> Iterator[None]:
    """Have the name of the server lead to this machine, for the verification."""
    if not Path("/run/.containerenv").exists():
        pytest.skip("names of this machine are its own")
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    hosts.write_text(f"{before}127.0.0.1 {NAME}\n")
    try:
        yield
    finally:
        hosts.write_text(before)


def kept(world: World, name: str) -> Path:
    """Keep the newest kits as their holders have them, and see that they work."""
    folder = world.directory.parent / name
    folder.mkdir()
    for one in KEYS:
        shutil.copy(world.directory / f"{one}.zip", folder)
        assert log_in(world, one, folder).startswith("reporting ")
    return folder


@ONLY_THOROUGH
@pytest.mark.usefixtures("resolved")
def test_a_replacement_of_roots_waits_until_the_holders_have_fetched_the_new_kits(world: World) -> None:
    """Twice: when the new root is trusted, and when it issues."""
    world.run("--skip-tags", "verify")
    world.run(playbook=MAKE)
    first = kept(world, "first")
    said = refused(world.rotate())
    assert "stage a new server CA" in said
    for name in KEYS:
        one = world.given(name)
        assert f"kit:{name} (client certificate {one['serial']} given to its holder at {one['issued']}, until" in said
    assert "phase: switch is not safe yet" in said

    early = world.rotate("anna", "ben")  # they tell a kit that cannot have the new root
    assert "phase: switch is not safe yet" in refused(early)
    assert "Kits that are due: 2." in as_line(early)

    world.run(playbook=MAKE)
    second = kept(world, "second")
    one = world.given("ben")
    waiting = world.rotate("anna")
    given = f"{one['serial']} given to its holder at {one['issued']}, until"
    assert f"kit:ben (client certificate {given}" in refused(waiting)
    assert "kit:anna (" not in refused(waiting)
    assert f"kit:ben: given at {one['issued']} with serial number {one['serial']}, which ends at" in as_line(waiting)

    said = refused(world.rotate("anna", "ben"))
    assert "let the staged client CA issue from now on" in said
    assert re.search(r"phase: retire is not safe yet: kit:anna .* given to its holder at .*, kit:ben ", said)
    assert all(log_in(world, name, folder).startswith("reporting ") for name in KEYS for folder in (first, second))

    world.run(playbook=MAKE)
    third = kept(world, "third")
    assert "Nothing is left to do." in well(world.rotate("anna", "ben"))
    due = world.run("--check", playbook=MAKE)
    for name in KEYS:
        assert log_in(world, name, third) == f"reporting {int(world.serial(name), 16)}"
        for folder in (first, second):
            assert re.search("certificate verify failed|unknown ca", log_in(world, name, folder))
        assert f"{name}.zip is due (trust_changed)" in due, "it has the old root, too"


@ONLY_THOROUGH
def test_a_hundred_people_get_theirs_from_one_task(world: World) -> None:
    people = [{**world.anna, "name": f"person{number}"} for number in range(100)]
    made = world.run("-v", playbook=MAKE, postgres_ca_kits=people)
    assert made.count("hand out ") >= 100
    assert {path.stem for path in world.directory.glob("person*.zip")} == {one["name"] for one in people}
    assert len({world.serial(one["name"]) for one in people}) == 100
    assert "hand out" not in world.run(playbook=MAKE, postgres_ca_kits=people)


def test_a_kit_whose_key_is_revoked_keeps_no_other_from_being_made(world: World) -> None:
    world.run(playbook=MAKE)
    carl, serial = {**world.anna, "name": "carl"}, world.serial("ben")
    changes = {
        "postgres_ca_revoked": [{"serial": serial, "reason": "keyCompromise"}],
        "postgres_ca_kits": [world.ben, world.anna, carl],
    }
    why = f"certificate {serial} for the key in this request is revoked, so the kit was not made. Ask for a request"
    site = " ".join(world.run("--skip-tags", "verify", **changes).split())
    assert f"Kits that cannot be made: 1. kit ben: postgres_ca_kits[ben].csr: {why}" in site.replace('", "', " "), site
    world.run("--limit", "db1", playbook=REPORT, **changes)
    found = json.loads((world.site.directory / "postgres-report" / "report.json").read_text())["kits"]
    known = {name: (one["certificate"] or {}).get("reasons", ["no_kit"]) for name, one in found.items()}
    assert known == {"ben": ["revoked"], "anna": [], "carl": ["no_kit"]}

    said = refused(world.site.run(playbook=MAKE, inventory=world.inventory(), **changes))
    assert f"Kit ben: postgres_ca_kits[ben].csr: {why}" in said
    assert f"carl: hand out {world.directory}/carl.zip" in said
    assert PASSWORD not in said
    assert world.given("carl")["serial"]
    assert world.serial("ben") == serial
    assert "hand out" not in world.run(playbook=MAKE, postgres_ca_kits=[world.anna, carl])

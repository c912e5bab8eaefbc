# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role reads and is given is an input of an entry point, or a result that a README tells."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible_collections.pgops.tls.tests.shared import ROLE_FOLDERS, ROOT

PLAYBOOK_FILES = sorted((ROOT / "playbooks").rglob("*.yml"))
# What messages name is not read
OPTION_NAMES = re.compile(r"^__\w+_option_names:\n(?:  .*\n)+", re.MULTILINE)
VARIABLE = re.compile(rf"(?<!\w)(?:{'|'.join(role.name for role in ROLE_FOLDERS)})_\w+")
REGISTERED, SET_FACT, VARS = "register", "ansible.builtin.set_fact", "vars"
IMPORTED = ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks")
INCLUDED = ("ansible.builtin.import_role", "ansible.builtin.include_role")


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Return every dictionary in what a file has, from the outside to the inside."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(child)


@functools.lru_cache(maxsize=None)
def content(path: Path) -> list[dict[str, Any]]:
    """Return every dictionary in a file with YAML."""
    return list(mappings(yaml.safe_load(path.read_text(encoding="utf-8"))))


@functools.lru_cache(maxsize=None)
def variables(path: Path) -> set[str]:
    """Return the variables of roles that a file has, outside of its comments and the names for messages."""
    text = OPTION_NAMES.sub("", path.read_text(encoding="utf-8"))
    return set(VARIABLE.findall(re.sub(r"(?m)(^|\s)#.*$", "", text)))


def given(path: Path, keys: tuple[str, ...]) -> set[str]:
    """Return the variables of roles that a file sets under ``keys`` of its tasks, plays and playbooks."""
    found = {
        name
        for one in content(path)
        for key in keys
        for name in ([one.get(key)] if isinstance(one.get(key), str) else one.get(key) or ())
    }
    return {name for name in found if VARIABLE.fullmatch(str(name))}


@functools.lru_cache(maxsize=None)
def inputs(role: Path) -> dict[str, set[str]]:
    """Return the inputs of each entry point of a role that its argument specification has."""
    text = (role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return {name: set(one["options"]) for name, one in yaml.safe_load(text)["argument_specs"].items()}


@functools.lru_cache(maxsize=None)
def results(role: Path, *setters: Path) -> set[str]:
    """Return what ``setters``, by default the role's tasks, leave for others and the role's README tells of."""
    told = set(re.findall(r"`(\w+)", (role / "README.md").read_text(encoding="utf-8")))
    files = setters or tuple((role / "tasks").iterdir())
    return told & {name for path in files for name in given(path, (REGISTERED, SET_FACT))}


def of_others(role: Path) -> set[str]:
    """Return what a role may read of the others: their inputs and results, and what playbooks note of them."""
    others = [one for one in ROLE_FOLDERS if one != role]
    declared = {name for one in others for names in inputs(one).values() for name in names}
    return declared.union(*(results(one) | results(one, *PLAYBOOK_FILES) for one in others))


def files_of(role: Path, entry_point: str) -> list[Path]:
    """Return the file of an entry point, and the tasks that it imports."""
    path = role / "tasks" / f"{entry_point}.yml"
    imported = [str(one[key]) for one in content(path) for key in IMPORTED if key in one]
    return [path, *(file for name in imported for file in files_of(role, name.removesuffix(".yml")))]


@pytest.fixture(params=ROLE_FOLDERS, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    """Give one role after the other."""
    return Path(request.param)


def test_what_an_entry_point_reads_is_declared_for_it(role: Path) -> None:
    declared, common = inputs(role), results(role) | of_others(role)
    undeclared = {
        f"{entry_point}: {name}"
        for entry_point in declared
        for path in files_of(role, entry_point)
        for name in variables(path) - declared["main"] - declared[entry_point] - common
    }
    assert undeclared == set()


def test_what_variables_and_templates_read_is_declared_for_all_entry_points(role: Path) -> None:
    known = inputs(role)["main"] | results(role) | of_others(role)
    files = [path for folder in ("defaults", "vars", "templates") for path in (role / folder).glob("*")]
    assert {name for path in files for name in variables(path)} - known == set()


def test_every_file_of_tasks_is_an_entry_point(role: Path) -> None:
    assert sorted(inputs(role)) == sorted(path.stem for path in (role / "tasks").iterdir())


@pytest.mark.parametrize(
    "path",
    [*PLAYBOOK_FILES, *(path for role in ROLE_FOLDERS for path in (role / "tasks").iterdir())],
    ids=lambda path: path.stem,
)
def test_what_a_role_is_given_is_an_input_or_a_result(path: Path) -> None:
    known = {name for role in ROLE_FOLDERS for names in inputs(role).values() for name in names}
    known |= {name for role in ROLE_FOLDERS for name in results(role) | results(role, *PLAYBOOK_FILES)}
    assert given(path, (VARS, SET_FACT, REGISTERED)) - known == set()


def test_every_input_is_read_by_its_role_or_a_playbook() -> None:
    readers = [*PLAYBOOK_FILES, *(path for role in ROLE_FOLDERS for path in role.glob("[tvd]*/*"))]
    read = {name for path in readers for name in variables(path)}
    assert {name for role in ROLE_FOLDERS for names in inputs(role).values() for name in names} - read == set()

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of this collection that a run does not use, because of the place that they are in.

Ansible reads ``group_vars`` and ``host_vars`` beside the inventory, and beside the file that the plays are in, but not
beside a playbook that imports another one. For one group or host it reads one file or directory, and no other.
"""

from __future__ import annotations

import os
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible import constants
from ansible.errors import AnsibleError
from ansible_collections.pgops.tls.plugins.plugin_utils.inventory import Fleet, known_variables, set_by_playbook


class Run(NamedTuple):
    """The playbooks of the command line, the inventories, and the directory of the playbook that has the play."""

    started: Sequence[str]
    sources: Sequence[str]
    playbook_dir: str


def warnings(run: Run, fleet: Fleet, loader: Any) -> list[str]:
    """Return a sentence for each file with variables that are not in effect. ``loader`` reads files as Ansible does."""
    beside = [
        f"{path} sets {', '.join(names)}, but this run does not use it: Ansible does not read variables beside a "
        "playbook that imports another one. Move them to group_vars or host_vars beside the inventory."
        for directory in _unread(run)
        for path, names in _variables(directory, fleet, loader)
    ]
    hidden = [
        f"{path} sets {', '.join(names)}, but this run does not use it: Ansible reads {instead} and no other file for "
        f"the same name. Move them to {os.path.join(instead, 'main.yml') if os.path.isdir(instead) else instead}."
        for directory in sorted(_read(run))
        for path, instead, names in _hidden(directory, fleet, loader)
    ]
    return beside + hidden


def _read(run: Run) -> set[str]:
    """Return the directories from which Ansible takes variables for this play."""
    own = {os.path.realpath(run.playbook_dir)}
    for source in run.sources:
        path = os.path.realpath(source)
        own.add(path if os.path.isdir(path) else os.path.dirname(path))
    return own


def _unread(run: Run) -> list[str]:
    """Return the directories of started playbooks from which Ansible takes no variables for this play."""
    own = _read(run)
    paths = [os.path.abspath(one) for one in run.started if os.path.isfile(one)]  # others are names in a collection
    directories = dict.fromkeys(map(os.path.dirname, paths))
    return [one for one in directories if os.path.realpath(one) not in own]


def _variables(directory: str, fleet: Fleet, loader: Any) -> Iterator[tuple[str, list[str]]]:
    """Return the files of variables in a directory with the names of those that do not count."""
    for path, name, hosts in _places(directory, fleet):
        for file in loader.find_vars_files(path, name):
            names = _without_effect(_content(file, loader), hosts, fleet)
            if names:
                yield os.fsdecode(file), names


def _hidden(directory: str, fleet: Fleet, loader: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Return the files for which Ansible reads something else, what that is, and the names that do not count."""
    for path, name, hosts in _places(directory, fleet):
        # In the order in which Ansible looks, and it takes the first
        ends = ("", *constants.YAML_FILENAME_EXTENSIONS)
        found = [one for one in (os.path.join(path, name + end) for end in ends) if os.path.exists(one)]
        for file in found[1:]:
            names = _without_effect(_content(file, loader), hosts, fleet)
            if names:
                yield file, found[0], names


def _places(directory: str, fleet: Fleet) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Return for each group or host with variables in a directory the folder, the name, and its hosts."""
    hosts = {host: [host] for host in fleet.groups.get("all", ())}
    places: Mapping[str, Mapping[str, Sequence[str]]] = {"group_vars": fleet.groups, "host_vars": hosts}
    for folder, members in places.items():
        path = os.path.join(directory, folder)
        entries = sorted(os.listdir(path)) if os.path.isdir(path) else []
        for name in dict.fromkeys(os.path.splitext(entry)[0] if entry not in members else entry for entry in entries):
            if members.get(name):
                yield path, name, members[name]


def _without_effect(given: Mapping[str, Any], hosts: Sequence[str], fleet: Fleet) -> list[str]:
    """Return the names of variables that some host has not, or not with this value."""
    own = {name: value for name, value in given.items() if name in known_variables() and name not in fleet.everywhere}
    return [name for name, value in own.items() if not all(_has(fleet.hostvars[host], name, value) for host in hosts)]


def _has(variables: Mapping[str, Any], name: str, value: Any) -> bool:
    """Return whether a host's variables have this value. Of a template only the name counts."""
    return name in variables and ("{{" in str(value) or not set_by_playbook({name: value}, variables))


def _content(path: str, loader: Any) -> Mapping[str, Any]:
    """Return the variables of a file; none if it cannot be read, since nobody needs it."""
    try:
        found = loader.load_from_file(os.fsdecode(path))
    except AnsibleError:
        return {}
    return found if isinstance(found, Mapping) else {}

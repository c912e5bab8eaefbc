# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the kits that are due: look at all of them, have all requests signed at once, put each archive in place.

Whatever is wrong with the input is found before anything is signed or written.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import location, profiles, signing
from ansible_collections.pgops.tls.plugins.module_utils.core import clock, durations, files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.credential import exchange
from ansible_collections.pgops.tls.plugins.module_utils.kit import archive, contents, declared, keyfiles, look, plan
from ansible_collections.pgops.tls.plugins.module_utils.kit.declared import Kit
from ansible_collections.pgops.tls.plugins.module_utils.kit.look import Basis, Outlook
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem


class Wish(NamedTuple):
    """What module client_kit is asked for, as its options have it."""

    kits: Sequence[Mapping[str, Any]]
    directory: str
    passphrase: str | None
    lifetime: str
    authorities: look.Authorities
    sources: Mapping[str, Mapping[str, Any]]
    key_type: str
    renew_before: str | None
    renew: bool


class Result(NamedTuple):
    """What there is of each kit, what was or would be done, and what did not work, by the names of kits."""

    kits: list[dict[str, Any]]
    changes: list[str]
    refused: dict[str, str]
    waiting: dict[str, str]
    warnings: list[str]


class _Made(NamedTuple):
    """The files of new kits and what they have, what was refused or waits, by kit, and warnings."""

    files: dict[Kit, dict[str, bytes]]
    given: dict[Kit, contents.Given]
    refused: dict[str, str]
    waiting: dict[str, str]
    warnings: Sequence[str]


def make(wish: Wish, now: int, *, is_dry: bool) -> Result:
    """Make the kits that are due. ``now`` is in Unix seconds. A dry run writes nothing.

    Raises TlsError, before anything is signed, for whatever is wrong with what is declared.
    """
    location.check_path(wish.directory)
    kits = declared.parse_all(wish.kits)
    before = durations.seconds(wish.renew_before, "renew_before") if wish.renew_before else None
    by = look.basis(kits, wish.authorities, plan.Options(wish.key_type, before, wish.renew), now)
    for kit in kits:
        _refuse_place(kit, wish.directory)
        _refuse_to_wait(kit, wish.sources)
    with _locked({kit.directory for kit in kits}, is_dry=is_dry):
        outlooks = look.look(kits, wish.directory, wish.authorities, by)
        made = _made([one for one in outlooks if one.reasons and not one.refusal], by, wish, is_dry=is_dry)
        made.refused.update({one.kit.name: one.refusal for one in outlooks if one.refusal})
        if not is_dry:
            _write(outlooks, made, by)
    open_ones = [one for one in outlooks if one.kit.name not in {*made.refused, *made.waiting}]
    return Result(
        [_as_result(one, made) for one in outlooks],
        list(_changes(open_ones)),
        made.refused,
        made.waiting,
        list(made.warnings),
    )


def _refuse_place(kit: Kit, authorities: str) -> None:
    """Raise TlsError for a directory that cannot be written to, or is that of the authorities."""
    place, own, theirs = f"{option('kits')}[{kit.name}].directory", *map(os.path.realpath, (kit.directory, authorities))
    if os.path.commonpath([own, theirs]) == theirs:
        raise TlsError(
            f"{place}: {kit.directory} is in the directory of the authorities, which no archive may lie in.",
            remedy="Choose another directory.",
            code="kit_directory_invalid",
        )
    if os.path.lexists(kit.directory) and not os.path.isdir(kit.directory):
        raise TlsError(
            f"{place}: {kit.directory} is a file, expected a directory or nothing.",
            remedy="Choose another directory.",
            code="kit_directory_invalid",
        )
    location.check_writable(kit.directory)


def _refuse_to_wait(kit: Kit, sources: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise TlsError for a key that is made here although its certificate comes from people, in a later run."""
    if kit.has_key and sources.get(kit.authority, {}).get("type") == "files":
        raise TlsError(
            f"{option('kits')}[{kit.name}]: {_CANNOT_WAIT.format(name=kit.authority)}", code="kit_needs_request"
        )


@contextlib.contextmanager
def _locked(directories: set[str], *, is_dry: bool) -> Iterator[None]:
    """Hold the locks of directories. Missing ones are made, and go again after an error; a dry run makes none."""
    made: list[str] = []
    try:
        with contextlib.ExitStack() as stack:
            for one in sorted(directories):
                if not is_dry and files.make_directory(one, 0o700):
                    made.append(one)
                if os.path.isdir(one):
                    stack.enter_context(files.locked(one))
            yield
    except OSError as error:
        _remove(made)
        raise TlsError(
            f"{error.filename or ', '.join(sorted(directories))}: {error.strerror or error} (as user id "
            f"{os.geteuid()}).",
            remedy="Correct that and rerun: kits that are not written yet are made then.",
            code="kit_not_written",
        ) from error
    except TlsError:
        _remove(made)
        raise


def _remove(directories: Sequence[str]) -> None:
    for one in directories:
        with contextlib.suppress(OSError):  # it is not empty
            os.rmdir(one)


def _made(wanted: Sequence[Outlook], by: Basis, wish: Wish, *, is_dry: bool) -> _Made:
    """Have the certificates of kits signed in one go, and make the files of each that came. Raises TlsError."""
    made = _Made({}, {}, {}, {}, [])
    if not wanted:
        return made
    keys = {one.kit: keyfiles.new_key(wish.key_type) for one in wanted if one.kit.has_key and not is_dry}
    asked = [_request(one, keys.get(one.kit)) for one in wanted]
    order = signing.Order(wish.directory, wish.passphrase, profiles.CLIENT, asked, wish.lifetime, wish.sources)
    done = signing.sign(order, by.now, is_dry=is_dry)
    for one in wanted:
        kit = one.kit
        if kit.id in done.certificates:
            _add(made, kit, keys.get(kit), done.certificates[kit.id], by)
        elif kit.id in done.refused:
            made.refused[kit.name] = done.refused[kit.id]
        elif kit.id in done.waiting and kit.has_key:
            made.refused[kit.name] = _CANNOT_WAIT.format(name=kit.authority)
        elif kit.id in done.waiting:
            made.waiting[kit.name] = done.waiting[kit.id]
    return made._replace(warnings=done.warnings)


_CANNOT_WAIT = (
    "The certificates of authority {name} are signed later, and the key of a kit is kept nowhere until then. Have the "
    "person bring a request, in csr."
)


def _request(one: Outlook, key: bytes | None) -> dict[str, Any]:
    """Return a request as an authority gets it. Without a key, that is the one which the person brings."""
    return {
        "id": one.kit.id,
        "authority": one.kit.authority,
        "csr": keyfiles.request(key, one.kit.role) if key else one.kit.csr,
        "role": one.kit.role,
        "reasons": one.reasons,
        "replaces": f"{one.given.leaf.serial:x}" if one.given else "",
    }


def _add(made: _Made, kit: Kit, key: bytes | None, chain: str, by: Basis) -> None:
    """Add the files of a kit whose certificate came, or why it cannot be used."""
    certificates = read_pem(chain, kit.id)
    leaf = certificates[0]
    try:
        exchange.refuse_another(certificates, by.spec(kit, leaf), kit.id, by.now)
        secret = keyfiles.encrypted(key, chain, kit.password) if key else {}
        if key:
            keyfiles.refuse_other(secret, kit.password, leaf.public_key, kit.path)
    except TlsError as error:
        made.refused[kit.name] = error.message
        return
    made.given[kit] = by.given(kit, leaf, by.now)
    public = contents.public(kit, made.given[kit], by.trust)
    made.files[kit] = {**public, contents.CERTIFICATE: chain.encode("ascii"), **secret}


def _write(outlooks: Sequence[Outlook], made: _Made, by: Basis) -> None:
    """Put archive after archive in place. Raises OSError; those that are written stay."""
    for one in outlooks:
        members = one.rewritten(by.trust) if one.rewrites else made.files.get(one.kit)
        if members is not None:
            archive.write(one.kit, archive.packed(one.kit, members, by.now))


def _changes(outlooks: Sequence[Outlook]) -> Iterator[str]:
    for one in outlooks:
        if one.reasons:
            how = "key made here" if one.kit.has_key else "from its request"
            yield f"make kit {one.kit.name} for role {one.kit.role} ({how}): {one.kit.path} ({'; '.join(one.reasons)})"
        elif one.rewrites:
            yield f"write the services and the README of kit {one.kit.name} again: {one.kit.path}"


def summary(done: Result) -> list[str]:
    """Return what whoever hands out kits must know; nothing where all are as they were."""
    lines = []
    for one in done.kits:
        if one["is_new"]:
            how = "Its private key was made here" if one["key_made_here"] else "It has no private key"
            what = f"role {one['role']}, serial number {one['serial']}, until {one['not_after']}"
            lines.append(f"{one['name']}: hand out {one['path']} ({what}). {how}.")
        elif one["name"] in done.waiting:
            lines.append(f"{one['name']}: {done.waiting[one['name']]}")
        elif one["is_rewritten"]:
            lines.append(f"{one['name']}: {one['path']} has other services or another README, and the same certificate")
        elif one["reasons"]:
            lines.append(f"{one['name']}: {one['path']} is due ({'; '.join(one['reasons'])})")
    return lines


def _as_result(one: Outlook, made: _Made) -> dict[str, Any]:
    given = made.given.get(one.kit, one.given)
    moments = (given.issued, given.leaf.not_after, given.renewal) if given else None
    issued, not_after, renewal = map(clock.instant, moments) if moments else (None, None, None)
    return {
        "name": one.kit.name,
        "id": one.kit.id,
        "role": one.kit.role,
        "authority": one.kit.authority,
        "path": one.kit.path,
        "key_made_here": one.kit.has_key,
        "serial": f"{given.leaf.serial:x}" if given else None,
        "sha256": given.leaf.sha256 if given else None,
        "given": issued,
        "not_after": not_after,
        "renewal": renewal,
        "is_new": one.kit in made.files,
        "is_rewritten": one.rewrites,
        "reasons": [] if one.kit in made.files else one.reasons,
    }

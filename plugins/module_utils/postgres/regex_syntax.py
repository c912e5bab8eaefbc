# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether PostgreSQL would compile a regular expression: the syntax of its "advanced" ones, not their meaning."""

from __future__ import annotations

import re

_CLASSES = (
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
    "xdigit", "word",
)  # fmt: skip
_LARGEST_BOUND, _LARGEST_CHARACTER = 255, 0x7FFFFFFE
_OPTIONS = re.compile(r"\(\?([A-Za-z]+)")
_COMMENTS = re.compile(r"(?:\(\?#[^)]*\)?)+")
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_WORD_BOUNDARY = re.compile(r"\[\[:[<>]:\]\]")
_BOUND = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_HEX = {"u": re.compile(r"[0-9a-fA-F]{4}"), "U": re.compile(r"[0-9a-fA-F]{8}"), "x": re.compile(r"[0-9a-fA-F]{1,255}")}
_DIGITS, _OCTAL = re.compile(r"[0-9]{1,255}"), re.compile(r"[0-7]{1,3}")
# What an escape stands for: a character, a class, the opposite of a class, a place, an earlier group
_PLAIN, _CLASS, _COMPLEMENT, _PLACE, _GROUP = range(5)
_CHARACTERS = dict(zip("aBbefnrtv", b"\a\\\b\x1b\f\n\r\t\v"))
_ESCAPES = {**dict.fromkeys("dsw", _CLASS), **dict.fromkeys("DSW", _COMPLEMENT), **dict.fromkeys("AmMyYZ", _PLACE)}


class _BadError(Exception):
    """The expression is wrong; the argument says how."""


class _UndecidedError(Exception):
    """What follows is of a kind that is not known here."""


def fault(pattern: str, major: int) -> str:
    """Return what is wrong with an expression, '' for nothing or for what cannot be decided.

    Not told is: what is too complex, what follows the embedded options b, e, q and x, and collating elements with
    names of more than one character.
    """
    try:
        reader = _Reader(pattern, major)
        if reader.begins():
            reader.branches(in_group=False, in_lookaround=False)
    except _BadError as bad:
        return str(bad)
    except (_UndecidedError, RecursionError):
        return ""
    return ""


class _Reader:
    """A walk over an expression; ``at`` is the next character, ``groups`` how many have been opened to capture."""

    def __init__(self, pattern: str, major: int) -> None:
        self.pattern, self.major, self.at, self.groups = pattern, major, 0, 0
        self.closed: set[int] = set()

    def begins(self) -> bool:
        """Take what may stand before an expression; return whether one follows that is to be read."""
        if self.pattern.startswith("***") and len(self.pattern) > 3:
            if self.pattern[3] not in ":=":
                raise _BadError("*** is followed by neither : nor =")
            self.at = 4
            if self.pattern[3] == "=":  # a text as it is
                return False
        found = _OPTIONS.match(self.pattern, self.at)
        if found:
            self.at = found.end() + 1
            if set(found.group(1)) - set("bceimnpqstwx") or self.pattern[found.end() : self.at] != ")":
                raise _BadError("the embedded options are wrong")
            if set(found.group(1)) & set("beqx"):
                raise _UndecidedError
        return True

    def next(self) -> str:
        """Return the next character, behind comments; '' at the end."""
        found = _COMMENTS.match(self.pattern, self.at)
        self.at = found.end() if found else self.at
        return self.pattern[self.at : self.at + 1]

    def takes(self, expected: str) -> bool:
        """Take a text if it comes next."""
        found = self.pattern.startswith(expected, self.at)
        self.at += len(expected) if found else 0
        return found

    def matches(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Take what a pattern matches, if it does."""
        found = pattern.match(self.pattern, self.at)
        self.at = found.end() if found else self.at
        return found

    def branches(self, *, in_group: bool, in_lookaround: bool) -> None:
        """Read up to the closing parenthesis of a group, or to the end."""
        while True:
            char = self.next()
            if char == ")" and in_group:
                self.at += 1
                return
            if not char:
                if in_group:
                    raise _BadError("a parenthesis is not closed")
                return
            if char == "|":
                self.at += 1
            elif self.atom(char, in_lookaround=in_lookaround):
                self.quantifier()

    def atom(self, char: str, *, in_lookaround: bool) -> bool:
        """Read one part; return whether a quantifier may follow."""
        if char in "*+?" or (char == "{" and self.pattern[self.at + 1 : self.at + 2] in tuple("0123456789")):
            raise _BadError(f"nothing stands before the quantifier {char}")
        if char == ")":
            raise _BadError("a parenthesis is closed that was not opened")
        if self.matches(_WORD_BOUNDARY):
            return False
        if self.matches(_LOOKAROUND):
            self.branches(in_group=True, in_lookaround=True)
            return False
        self.at += 1
        if char == "(":
            self.group(in_lookaround=in_lookaround)
        elif char == "[":
            self.bracket()
        elif char == "\\":
            kind, value = self.escape()
            if kind == _GROUP and (in_lookaround or value not in self.closed):
                raise _BadError(f"\\{value} refers to a group that does not exist")
            return kind != _PLACE
        return char not in "^$"

    def group(self, *, in_lookaround: bool) -> None:
        captures = not self.takes("?:")
        if captures and self.takes("?"):
            raise _BadError("(? is followed by none of : = ! < #")
        number = 0
        if captures and not in_lookaround:
            self.groups += 1
            number = self.groups
        self.branches(in_group=True, in_lookaround=in_lookaround)
        self.closed.add(number)

    def quantifier(self) -> None:
        char = self.next()
        if char and char in "*+?":
            self.at += 1
        elif char == "{" and self.pattern[self.at + 1 : self.at + 2] in tuple("0123456789"):
            found = self.matches(_BOUND)
            least = int(found.group(1)) if found else 0
            most = int(found.group(3) or _LARGEST_BOUND if found.group(2) else least) if found else -1
            if least > most or most > _LARGEST_BOUND:
                raise _BadError(f"a repetition is not {{M}}, {{M,}} or {{M,N}} with numbers up to {_LARGEST_BOUND}")
        else:
            return
        self.takes("?")

    def escape(self) -> tuple[int, int]:
        """Read what follows a backslash; return its kind, and the number of a group or of a character."""
        char = self.pattern[self.at : self.at + 1]
        self.at += 1
        if not char:
            raise _BadError("nothing follows the backslash at the end")
        if not (char.isascii() and char.isalnum()):
            return _PLAIN, ord(char)
        if char in _CHARACTERS:
            return _PLAIN, _CHARACTERS[char]
        if char in _ESCAPES:
            return _ESCAPES[char], 0
        if char == "c" and self.at < len(self.pattern):
            self.at += 1
            return _PLAIN, ord(self.pattern[self.at - 1]) & 0o37
        if char in _HEX:
            found = self.matches(_HEX[char])
            value = int(found.group(), 16) & 0xFFFFFFFF if found else -1
            if 0 <= value <= _LARGEST_CHARACTER:
                return _PLAIN, value
        if char.isdigit():
            return self.number(char)
        raise _BadError(f"\\{char} means nothing")

    def number(self, first: str) -> tuple[int, int]:
        """Read a number: a group, if there are so many or it is a single digit, or an octal character."""
        self.at -= 1
        found = _DIGITS.match(self.pattern, self.at)
        digits = found.group() if found else ""
        if first != "0" and (len(digits) == 1 or 0 < int(digits) <= self.groups):
            self.at += len(digits)
            return _GROUP, int(digits)
        octal = self.matches(_OCTAL)
        if octal is None:
            raise _BadError(f"\\{first} means nothing")
        value = int(octal.group(), 8)
        if value > 0xFF:
            self.at, value = self.at - 1, value >> 3
        return _PLAIN, value

    def bracket(self) -> None:
        """Read a list of characters, its bracket is open."""
        self.takes("^")
        is_first = True
        while is_first or not self.takes("]"):
            start = self.element(is_first=is_first)
            is_first = False
            if start is None or not self.is_range():
                continue
            self.at += 1
            end = ord("-") if self.is_range() else None
            if end is not None:
                self.at += 1
            else:
                end = self.element(is_first=False)
            if end is None or start > end:
                raise _BadError("a range of characters has no end, or one before its start")

    def is_range(self) -> bool:
        """Return whether a hyphen comes next that is not the last character of the list."""
        return self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at)

    def element(self, *, is_first: bool) -> int | None:
        """Read one element of a list; return its character, or None for a class, which begins no range."""
        char = self.pattern[self.at : self.at + 1]
        if not char:
            raise _BadError("a bracket is not closed")
        if not is_first and self.is_range():
            raise _BadError("a range of characters has no start")
        self.at += 1
        if char == "\\":
            kind, value = self.escape()
            if kind in (_PLACE, _GROUP) or (kind == _COMPLEMENT and self.major < 14):
                raise _BadError("an escape between brackets is no character")
            return value if kind == _PLAIN else None
        if char == "[":
            kind_of_name = self.pattern[self.at : self.at + 1]
            if not kind_of_name:
                raise _BadError("a bracket is not closed")
            if kind_of_name in ".=:":
                return self.named(kind_of_name)
        return ord(char)

    def named(self, kind: str) -> int | None:
        """Read [:class:], [=x=] or [.x.], its bracket is open."""
        end = self.pattern.find(f"{kind}]", self.at + 1)
        if end < 0:
            raise _BadError("a bracket is not closed")
        name = self.pattern[self.at + 1 : end]
        self.at = end + 2
        if kind == ":":
            if name not in _CLASSES or (name == "word" and self.major < 14):
                raise _BadError(f"there is no class of characters {name!r}")
            return None
        if not name:
            raise _BadError("a collating element has no name")
        if len(name) > 1:
            raise _UndecidedError
        return ord(name) if kind == "." else None

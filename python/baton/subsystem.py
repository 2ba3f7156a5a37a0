"""Subsystems by name: nothing of them is held."""

from __future__ import annotations

import ctypes as c
from types import TracebackType
from typing import Optional, Sequence, Type, Union

from ._library import check, library, nanoseconds
from .names import Mask

_REPLACE, _BUFFERED = 1, 2


class Subsystem:
    """A subsystem of that name. As a context manager it is destroyed at the end: the files behind its units stay."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def create(
        cls, name: str, units: Sequence[str], *, replace: bool = False, buffered: bool = False
    ) -> "Subsystem":
        """Creates a subsystem. A unit is a word as on the command line: "mem:16M", "null:1G", "/path:64M".

        replace: destroys what a run that died has left. buffered: files and devices go through the page cache.
        """
        words = (c.c_char_p * len(units))(*(unit.encode() for unit in units))
        flags = (_REPLACE if replace else 0) | (_BUFFERED if buffered else 0)
        check(library.baton_create(name.encode(), words, len(units), flags))
        return cls(name)

    def destroy(self) -> None:
        """Removes it. Files and devices behind its units stay."""
        check(library.baton_destroy(self.name.encode()))

    def wait_serving(self, controllers: Mask = Mask.BOTH, timeout: Optional[float] = 10) -> None:
        """Waits until these controllers serve, however they were started."""
        check(library.baton_wait_serving(self.name.encode(), controllers, nanoseconds(timeout)))

    def __enter__(self) -> "Subsystem":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.destroy()

    def __repr__(self) -> str:
        return f"Subsystem({self.name!r})"


def encoded(subsystem: Union[Subsystem, str]) -> bytes:
    """The name, for the library."""
    return (subsystem if isinstance(subsystem, str) else subsystem.name).encode()

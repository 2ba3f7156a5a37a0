"""What the classes over the library's handles have in common."""

from __future__ import annotations

import ctypes as c
from types import TracebackType
from typing import Any, Callable, ClassVar, Optional, Type, TypeVar

_Self = TypeVar("_Self", bound="Handle")


class Handle:
    """Owns a handle of the library, and closes it once: by `close`, at the end of a `with`, or with the object."""

    #: The library's function that closes it.
    _closing: ClassVar[Callable[[Any], Any]]
    # Of the class too, so that an object whose `__init__` was refused its arguments can go.
    _handle: Optional[c.c_void_p] = None

    def __init__(self, what: str) -> None:
        self._what = what

    @property
    def handle(self) -> c.c_void_p:
        """For ctypes: the library's handle."""
        if self._handle is None:
            raise ValueError(f"{self._what} is closed")
        return self._handle

    def _leave(self) -> None:
        """What comes before the close at the end of a `with`."""

    def close(self) -> None:
        """Closes it."""
        if self._handle is not None:
            type(self)._closing(c.byref(self._handle))
            self._handle = None

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            if self._handle is not None:
                self._leave()
        finally:
            self.close()

    def __del__(self) -> None:
        self.close()

"""What anybody may look at, without a controller's help, at a load or a few each."""

from __future__ import annotations

import ctypes as c
from typing import NamedTuple, Optional, Union

from . import _library
from ._handle import Handle
from ._library import check, library
from .names import Phase, Standing, UnitKind, UnitState, Which
from .subsystem import Subsystem, encoded


class Ownership(NamedTuple):
    """Of a unit: the owner (None: nobody), changes of owner so far, and whether the owner's peer requests it."""

    owner: Optional[Which]
    term: int
    requested: bool


class ControllerInfo(NamedTuple):
    """A controller as its peer sees it. takeover: 0 none, 1 waits for its peer's exit, 2 recovers, 3 stands in."""

    incarnation: int
    pid: int
    phase: Phase
    standing: Standing
    takeover: int
    parked: bool
    running: bool


class UnitInfo(NamedTuple):
    """A unit. direct: the page cache is bypassed."""

    bytes: int
    block_size: int
    kind: UnitKind
    state: UnitState
    direct: bool


class View(Handle):
    """A read-only look at a subsystem's region. A context manager."""

    _closing = library.baton_view_close

    def __init__(self, subsystem: Union[Subsystem, str]) -> None:
        super().__init__("the view")
        handle = c.c_void_p()
        check(library.baton_view_open(c.byref(handle), encoded(subsystem)))
        self._handle = handle

    @property
    def generation(self) -> int:
        """Tells this subsystem from an earlier one of its name."""
        return int(library.baton_view_generation(self.handle))

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(library.baton_view_units(self.handle))

    def ownership(self, unit: int) -> Ownership:
        """The owner of a unit."""
        found = _library.Ownership()
        check(library.baton_view_ownership(self.handle, unit, c.byref(found)))
        owner = None if found.owner == Which.EITHER else Which(found.owner)
        return Ownership(owner, found.term, bool(found.requested))

    def controller(self, which: Which) -> ControllerInfo:
        """A controller; `running` costs a system call."""
        found = _library.ControllerInfo()
        check(library.baton_view_controller(self.handle, which, c.byref(found)))
        return ControllerInfo(
            found.incarnation, found.pid, Phase(found.phase), Standing(found.standing), found.takeover,
            bool(found.parked), bool(found.running))

    def unit(self, unit: int) -> UnitInfo:
        """What a unit is."""
        found = _library.UnitInfo()
        check(library.baton_view_unit(self.handle, unit, c.byref(found)))
        return UnitInfo(
            found.bytes, found.block_size, UnitKind(found.kind), UnitState(found.state), bool(found.direct))

    def counters(self, which: Which) -> "dict[str, int]":
        """A controller's counters by name."""
        values = (c.c_uint64 * library.baton_counter_count())()
        count = check(library.baton_view_counters(self.handle, which, values, len(values)))
        return {library.baton_counter_name(i).decode(): values[i] for i in range(count)}

"""Baton's storage controllers and hosts, from Python: over libbaton.so.0 and numpy.

    with Subsystem.create("first", ["mem:16M"], replace=True) as subsystem:
        with ControllerPair(subsystem) as pair, Host(subsystem, turn=pair) as host:
            host.attach()
            host.write(0, 0, b"B" * 4096, controller=Which.A)
            print(bytes(host.read(0, 0, 4096, controller=Which.B)[:1]))
"""

from ._library import BatonError, library as _library_handle
from .controller import Controller, ControllerPair, ControllerProcess, ControllerThread, Log, leave
from .host import COMPLETION, REQUEST, Batch, Host, RequestError
from .names import (
    ErrorCode, Flag, LogLevel, Mask, Operation, Phase, Standing, Status, UnitKind, UnitState, Wait, Which,
)
from .subsystem import Subsystem
from .view import ControllerInfo, Ownership, UnitInfo, View

__all__ = [
    "COMPLETION", "REQUEST", "BatonError", "Batch", "Controller", "ControllerInfo", "ControllerPair",
    "ControllerProcess", "ControllerThread", "ErrorCode", "Flag", "Host", "Log", "LogLevel", "Mask", "Operation",
    "Ownership", "Phase", "RequestError", "Standing", "Status", "Subsystem", "UnitInfo", "UnitKind", "UnitState",
    "View", "Wait", "Which", "layout_version", "leave", "version",
]


def version() -> str:
    """The library's version for people, such as "0.1.0 (commit 2e9654a)"."""
    return str(_library_handle.baton_version().decode())


def layout_version() -> int:
    """The layout version of the regions that the library can open."""
    return int(_library_handle.baton_layout_version())

"""libbaton.so.0 through ctypes: its structures, its functions and its errors, as baton.h declares them.

Tests/Python/test_header.py compares everything in here with the header.
"""

from __future__ import annotations

import ctypes as c
import os
from typing import Any, Optional

from .names import ErrorCode

API_LEVEL = 1


class Error(c.Structure):
    _fields_ = [
        ("size", c.c_uint32),
        ("code", c.c_uint32),
        ("subject", c.c_char_p),
        ("problem", c.c_char_p),
        ("fix", c.c_char_p),
    ]


LOG = c.CFUNCTYPE(None, c.c_void_p, c.c_uint32, c.c_char_p)
TURN = c.CFUNCTYPE(None, c.c_void_p)


class ControllerOptions(c.Structure):
    _fields_ = [
        ("size", c.c_uint32),
        ("wait", c.c_uint32),
        ("spin_ns", c.c_uint64),
        ("deadline_ns", c.c_uint64),
        ("host_absence_ns", c.c_uint64),
        ("residency_ns", c.c_int64),
        ("hosts_max", c.c_uint32),
        ("log_level", c.c_uint32),
        ("log", LOG),
        ("log_context", c.c_void_p),
    ]


class ProcessOptions(c.Structure):
    _fields_ = [
        ("size", c.c_uint32),
        ("flags", c.c_uint32),
        ("program", c.c_char_p),
        ("log", c.c_char_p),
        ("arguments", c.POINTER(c.c_char_p)),
    ]


class HostOptions(c.Structure):
    _fields_ = [
        ("size", c.c_uint32),
        ("wait", c.c_uint32),
        ("spin_ns", c.c_uint64),
        ("lines", c.c_uint32),
        ("controller", c.c_uint32),
        ("arena_size", c.c_uint64),
        ("patience_ns", c.c_uint64),
        ("turn", TURN),
        ("turn_context", c.c_void_p),
    ]


class Request(c.Structure):
    _fields_ = [
        ("operation", c.c_uint8),
        ("flags", c.c_uint8),
        ("controller", c.c_uint8),
        ("reserved_0", c.c_uint8),
        ("unit", c.c_uint32),
        ("offset", c.c_uint64),
        ("length", c.c_uint64),
        ("buffer", c.c_uint64),
        ("cookie", c.c_uint64),
        ("reserved_1", c.c_uint64),
    ]


class Completion(c.Structure):
    _fields_ = [
        ("cookie", c.c_uint64),
        ("value", c.c_uint64),
        ("term", c.c_uint64),
        ("status", c.c_uint8),
        ("controller", c.c_uint8),
        ("transferred", c.c_uint8),
        ("reserved", c.c_uint8 * 5),
    ]


class Ownership(c.Structure):
    _fields_ = [
        ("term", c.c_uint64),
        ("owner", c.c_uint8),
        ("requested", c.c_uint8),
        ("reserved", c.c_uint8 * 6),
    ]


class ControllerInfo(c.Structure):
    _fields_ = [
        ("incarnation", c.c_uint64),
        ("pid", c.c_uint64),
        ("phase", c.c_uint8),
        ("standing", c.c_uint8),
        ("takeover", c.c_uint8),
        ("parked", c.c_uint8),
        ("running", c.c_uint8),
        ("reserved", c.c_uint8 * 3),
    ]


class UnitInfo(c.Structure):
    _fields_ = [
        ("bytes", c.c_uint64),
        ("block_size", c.c_uint32),
        ("kind", c.c_uint8),
        ("state", c.c_uint8),
        ("direct", c.c_uint8),
        ("reserved", c.c_uint8),
    ]


_pointer, _int, _u32, _i64, _text = c.c_void_p, c.c_int, c.c_uint32, c.c_int64, c.c_char_p

#: Every function of the header: what it returns, and what it is given.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "baton_version": (_text, []),
    "baton_api_level": (_u32, []),
    "baton_layout_version": (_u32, []),
    "baton_last_error": (c.POINTER(Error), []),
    "baton_last_error_text": (_text, []),
    "baton_status_text": (_text, [_u32]),
    "baton_status_errno": (_int, [_u32]),
    "baton_create": (_int, [_text, c.POINTER(_text), _u32, _u32]),
    "baton_destroy": (_int, [_text]),
    "baton_wait_serving": (_int, [_text, _u32, _i64]),
    "baton_controller_options_init": (None, [_pointer, c.c_size_t]),
    "baton_controller_open": (_int, [_pointer, _text, _u32, _pointer]),
    "baton_controller_turn": (_int, [_pointer]),
    "baton_controller_park": (None, [_pointer]),
    "baton_controller_run": (_int, [_pointer, _u32]),
    "baton_controller_stop": (None, [_pointer]),
    "baton_controller_serving": (_int, [_pointer]),
    "baton_controller_stopped": (_int, [_pointer]),
    "baton_controller_close": (None, [_pointer]),
    "baton_process_options_init": (None, [_pointer, c.c_size_t]),
    "baton_process_start": (_int, [_pointer, _text, _u32, _pointer]),
    "baton_process_pid": (_int, [_pointer]),
    "baton_process_wait_serving": (_int, [_pointer, _i64]),
    "baton_process_ended": (_int, [_pointer, _pointer]),
    "baton_process_stop": (_int, [_pointer, _i64]),
    "baton_process_kill": (None, [_pointer]),
    "baton_process_close": (None, [_pointer]),
    "baton_host_options_init": (None, [_pointer, c.c_size_t]),
    "baton_host_open": (_int, [_pointer, _text, _pointer]),
    "baton_host_attach": (_int, [_pointer, _u32, _i64]),
    "baton_host_attached": (_u32, [_pointer]),
    "baton_host_close": (None, [_pointer]),
    "baton_host_arena": (_pointer, [_pointer, _pointer]),
    "baton_host_submit": (_int, [_pointer, _pointer, _u32]),
    "baton_host_reap": (_int, [_pointer, _pointer, _u32, _u32, _i64]),
    "baton_host_perform": (_int, [_pointer, _pointer, _pointer]),
    "baton_host_outstanding": (_u32, [_pointer]),
    "baton_host_room": (_u32, [_pointer, _u32]),
    "baton_host_wake": (None, [_pointer]),
    "baton_host_fd": (_int, [_pointer]),
    "baton_view_open": (_int, [_pointer, _text]),
    "baton_view_close": (None, [_pointer]),
    "baton_view_generation": (c.c_uint64, [_pointer]),
    "baton_view_units": (_u32, [_pointer]),
    "baton_view_ownership": (_int, [_pointer, _u32, _pointer]),
    "baton_view_controller": (_int, [_pointer, _u32, _pointer]),
    "baton_view_unit": (_int, [_pointer, _u32, _pointer]),
    "baton_counter_count": (_u32, []),
    "baton_counter_name": (_text, [_u32]),
    "baton_view_counters": (_int, [_pointer, _u32, c.POINTER(c.c_uint64), _u32]),
}


class BatonError(OSError):
    """What failed, on what, and how to fix it, in the library's words."""

    def __init__(self, number: int, code: int, subject: str, problem: str, fix: str) -> None:
        super().__init__(number, f"{subject}: {problem}" + (f"; {fix}" if fix else ""))
        #: The kind of the error; an int if this package is older than the library and does not know it.
        self.code: int = ErrorCode(code) if code in ErrorCode.__members__.values() else code
        self.subject = subject
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return str(self.strerror)


def _load() -> c.CDLL:
    path = os.environ.get("BATON_LIBRARY", "libbaton.so.0")
    try:
        loaded = c.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"{path}: cannot be loaded ({error}); tools/install --library PREFIX installs it: then set BATON_LIBRARY "
            "to PREFIX/lib/libbaton.so.0, or run ldconfig if PREFIX/lib is one of its folders"
        ) from None
    for name, (result, arguments) in FUNCTIONS.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            raise ImportError(f"{path}: has no function {name}; use the library of this package's tree") from None
        function.restype = result
        function.argtypes = arguments
    level = loaded.baton_api_level()
    if level < API_LEVEL:
        raise ImportError(f"{path}: has API level {level}, and this package needs {API_LEVEL}; use a newer library")
    return loaded


library = _load()


def failure(number: int) -> BatonError:
    """This thread's last error, which a function has just reported as -number."""
    error = library.baton_last_error().contents
    return BatonError(
        number, error.code, error.subject.decode(errors="replace"), error.problem.decode(errors="replace"),
        error.fix.decode(errors="replace"))


def check(result: int) -> int:
    """Raises what a function has reported, or returns its result."""
    if result < 0:
        raise failure(-result)
    return result


def nanoseconds(seconds: Optional[float]) -> int:
    """Seconds as the library counts them; None: for ever."""
    return -1 if seconds is None else max(0, round(seconds * 1e9))

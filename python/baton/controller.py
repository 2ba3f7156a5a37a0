"""Controllers: turned by the caller's loop, in threads, or in processes of their own."""

from __future__ import annotations

import ctypes as c
import os
import threading
import time
from types import TracebackType
from typing import Any, Callable, Iterable, Optional, Sequence, Type, Union

from ._handle import Handle
from ._library import (
    LOG, BatonError, ControllerOptions, ProcessOptions, check, failure, library, nanoseconds,
)
from .names import ErrorCode, LogLevel, Wait, Which
from .subsystem import Subsystem, encoded

Log = Callable[[LogLevel, str], None]

_SIGNALS = 1
_SUPERVISED, _DETACHED = 1, 2
_ESTALE = 116


class Controller(Handle):
    """One controller of a subsystem. It belongs to one thread at a time; only `stop` may be called from another.

    Times are in seconds; what is None is as the library has it. As a context manager it leaves at the end, in good
    order.

    deadline: the peer's silence after which it is killed. host_absence: how long a host's recovered requests wait for
    it. residency: how long a contended function is kept; -1: adaptive, 0: only what is pending. log: called in the
    loop with each line from log_level on.
    """

    _closing = library.baton_controller_close

    def __init__(
        self, subsystem: Union[Subsystem, str], which: Which, *, wait: Wait = Wait.ADAPTIVE,
        spin: Optional[float] = None, deadline: Optional[float] = None, host_absence: Optional[float] = None,
        residency: Optional[float] = None, hosts_max: Optional[int] = None, log: Optional[Log] = None,
        log_level: LogLevel = LogLevel.INFO,
    ) -> None:
        self.which = Which(which)
        super().__init__(f"controller {self.which.name.lower()}")
        options = ControllerOptions()
        library.baton_controller_options_init(c.byref(options), c.sizeof(options))
        options.wait = wait
        if spin is not None:
            options.spin_ns = nanoseconds(spin)
        if deadline is not None:
            options.deadline_ns = nanoseconds(deadline)
        if host_absence is not None:
            options.host_absence_ns = nanoseconds(host_absence)
        if residency is not None:
            options.residency_ns = -1 if residency < 0 else nanoseconds(residency)
        if hosts_max is not None:
            options.hosts_max = hosts_max
        if log is not None:
            given = log

            def write(_: Any, level: int, line: bytes) -> None:
                given(LogLevel(level), line.decode(errors="replace"))

            # Kept for as long as the controller lives: C calls it.
            self._log = LOG(write)
            options.log = self._log
            options.log_level = log_level
        handle = c.c_void_p()
        check(library.baton_controller_open(c.byref(handle), encoded(subsystem), self.which, c.byref(options)))
        self._handle = handle

    def turn(self) -> bool:
        """Turns the loop once; never blocks. False: it found nothing to do, or its life has ended (`stopped`)."""
        result: int = library.baton_controller_turn(self._handle or self.handle)
        if result < 0 and result != -_ESTALE:
            raise failure(-result)
        return result == 1

    def park(self) -> None:
        """Sleeps until there is something to do: for a loop that has found nothing."""
        library.baton_controller_park(self.handle)

    def run(self, *, signals: bool = False) -> None:
        """Turns the loop until it has stopped. signals: SIGTERM and SIGINT stop it, in a process with one thread."""
        check(library.baton_controller_run(self.handle, _SIGNALS if signals else 0))

    def stop(self) -> None:
        """From any thread: the controller begins to leave. Its loop must still be turned until it has `stopped`."""
        library.baton_controller_stop(self.handle)

    @property
    def serving(self) -> bool:
        """Whether it takes requests."""
        return bool(library.baton_controller_serving(self.handle))

    @property
    def stopped(self) -> bool:
        """Whether it has left or was fenced."""
        return bool(library.baton_controller_stopped(self.handle))

    def leave(self, timeout: float = 10) -> None:
        """Stops it, and turns it until it has."""
        leave([self], timeout)

    def close(self) -> None:
        """Closes it. Unless it has stopped, this is like a crash: its peer takes over."""
        super().close()

    def _leave(self) -> None:
        self.leave()


def leave(controllers: Iterable[Controller], timeout: float = 10) -> None:
    """Stops controllers that this thread turns, all of them together: one that leaves hands over to its peer."""
    remaining = list(controllers)
    for controller in remaining:
        controller.stop()
    end = time.monotonic() + timeout
    while remaining := [controller for controller in remaining if not controller.stopped]:
        for controller in remaining:
            controller.turn()
        if time.monotonic() > end:
            raise BatonError(
                110, ErrorCode.TIMEOUT, "controllers", f"have not left within {timeout} s",
                "turn their peers too, or allow more time")


class ControllerPair:
    """Both controllers, turned by one thread. As a context manager both leave at the end.

    options are those of `Controller`. By default neither takes its peer for dead while the one loop stands still.
    """

    def __init__(self, subsystem: Union[Subsystem, str], **options: Any) -> None:
        options.setdefault("deadline", 3600)
        self.a = Controller(subsystem, Which.A, **options)
        try:
            self.b = Controller(subsystem, Which.B, **options)
        except BaseException:
            self.a.close()
            raise

    def turn(self) -> None:
        """Turns each once."""
        self.a.turn()
        self.b.turn()

    def close(self) -> None:
        """Has both leave, and closes them."""
        try:
            leave(controller for controller in (self.a, self.b) if controller._handle is not None)
        finally:
            self.a.close()
            self.b.close()

    def __enter__(self) -> "ControllerPair":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


class ControllerThread:
    """A controller in a thread of its own, which holds no lock of Python's while it turns.

    As a context manager it leaves at the end. options are those of `Controller`.
    """

    def __init__(self, subsystem: Union[Subsystem, str], which: Which, **options: Any) -> None:
        self._controller: Optional[Controller] = None
        self._failure: Optional[BaseException] = None
        self._is_open = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._run, args=(subsystem, which, options), name=f"baton-{Which(which).name.lower()}", daemon=True)
        self._thread.start()
        self._is_open.wait()
        if self._controller is None:
            self.join()

    def _run(self, subsystem: Union[Subsystem, str], which: Which, options: "dict[str, Any]") -> None:
        # A controller belongs to one thread: it is opened in the one that turns it.
        try:
            controller = Controller(subsystem, which, **options)
        except BaseException as error:
            self._failure = error
            self._is_open.set()
            return
        self._controller = controller
        self._is_open.set()
        try:
            controller.run()
        except BaseException as error:
            self._failure = error
        finally:
            # `stop` must not use a handle that closes meanwhile.
            with self._lock:
                self._controller = None
            controller.close()

    def stop(self) -> None:
        """From any thread: it begins to leave."""
        with self._lock:
            if self._controller is not None:
                self._controller.stop()

    def join(self, timeout: Optional[float] = None) -> None:
        """Waits for its end. Raises what has ended it, if that was not `stop`."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise BatonError(110, ErrorCode.TIMEOUT, self._thread.name, f"has not ended within {timeout} s", "stop it")
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> "ControllerThread":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()
        self.join()


class ControllerProcess(Handle):
    """`baton controller NAME a|b` as a child process. As a context manager it leaves at the end.

    supervised: started again whenever it ends. detached: it does not end with the thread that started it. program:
    Baton's executable; None: `baton` in PATH. log: the file that its log is appended to; None: standard error.
    """

    _closing = library.baton_process_close

    def __init__(
        self, subsystem: Union[Subsystem, str], which: Which, *, supervised: bool = False, detached: bool = False,
        program: Union[str, "os.PathLike[str]", None] = None, log: Union[str, "os.PathLike[str]", None] = None,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__("the process")
        options = ProcessOptions()
        library.baton_process_options_init(c.byref(options), c.sizeof(options))
        options.flags = (_SUPERVISED if supervised else 0) | (_DETACHED if detached else 0)
        if program is not None:
            options.program = os.fsencode(program)
        if log is not None:
            options.log = os.fsencode(log)
        # It ends in NULL.
        words = (c.c_char_p * (len(arguments) + 1))(*(word.encode() for word in arguments))
        options.arguments = words
        handle = c.c_void_p()
        check(library.baton_process_start(c.byref(handle), encoded(subsystem), which, c.byref(options)))
        self._handle = handle

    @property
    def pid(self) -> int:
        """Its process number."""
        return int(library.baton_process_pid(self.handle))

    def wait_serving(self, timeout: Optional[float] = 10) -> None:
        """Waits until its controller serves."""
        check(library.baton_process_wait_serving(self.handle, nanoseconds(timeout)))

    @property
    def status(self) -> Optional[int]:
        """Its exit status as a shell has it: 128 and the signal. None while it runs."""
        status = c.c_int()
        return status.value if check(library.baton_process_ended(self.handle, c.byref(status))) else None

    def stop(self, timeout: Optional[float] = 10) -> None:
        """Has it leave in good order, and waits for that."""
        check(library.baton_process_stop(self.handle, nanoseconds(timeout)))

    def kill(self) -> None:
        """Kills it (SIGKILL), and waits for its end."""
        library.baton_process_kill(self.handle)

    def close(self) -> None:
        """Kills it if it runs."""
        super().close()

    def _leave(self) -> None:
        if self.status is None:
            self.stop()

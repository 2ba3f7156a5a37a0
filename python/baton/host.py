"""Hosts: requests in batches, and the memory that they move data through, as numpy arrays."""

from __future__ import annotations

import ctypes as c
import errno
import time
from types import TracebackType
from typing import Any, Callable, Optional, Type, Union, cast

import numpy as np
from numpy.typing import NDArray

from . import _library
from ._library import TURN, BatonError, HostOptions, check, failure, library, nanoseconds
from .controller import ControllerPair
from .names import ErrorCode, Flag, Mask, Operation, Status, UnitState, Wait, Which
from .subsystem import Subsystem, encoded

#: A request and a completion as elements of numpy arrays. Their fields have the names of baton.h.
REQUEST: np.dtype[np.void] = cast("np.dtype[np.void]", np.dtype(_library.Request))
COMPLETION: np.dtype[np.void] = cast("np.dtype[np.void]", np.dtype(_library.Completion))

# So long C waits at a time: between two waits Python handles its signals.
_SLICE = 100_000_000

# What a batch calls: a look into a module costs more than some of these calls.
_submit, _reap, _clock = library.baton_host_submit, library.baton_host_reap, time.monotonic_ns


class RequestError(OSError):
    """A request that was answered with another status than success."""

    def __init__(self, status: int, what: str) -> None:
        text = library.baton_status_text(status).decode()
        super().__init__(library.baton_status_errno(status), f"{what}: {text}")
        #: The status; an int if this package is older than the library and does not know it.
        self.status: int = Status(status) if status in Status.__members__.values() else status

    def __str__(self) -> str:
        return str(self.strerror)


class _Memory:
    """The host, for as long as an array shows its memory: numpy keeps what it got `__array_interface__` from."""

    def __init__(self, handle: c.c_void_p, keeps: Any) -> None:
        self.handle = handle
        self._keeps = keeps
        size = c.c_size_t()
        address = library.baton_host_arena(handle, c.byref(size))
        self.__array_interface__ = {
            "data": (address, False), "shape": (size.value,), "typestr": "|u1", "version": 3,
        }

    def __del__(self) -> None:
        library.baton_host_close(c.byref(self.handle))


class Host:
    """A host of a subsystem. It belongs to one thread at a time; only `wake` may be called from another.

    turn: called while this host waits, in a thread that turns the controllers as well; a `ControllerPair`, or any
    function. None: other threads or processes turn them. controller: EITHER attaches to both. lines: a power of two,
    one more than the requests outstanding to each controller. patience: how long a request that no controller has taken
    waits for one. Times are in seconds; what is None is as the library has it.

    A context manager. After `close`, arrays that show its memory stay valid: the memory goes with the last of them.
    """

    def __init__(
        self, subsystem: Union[Subsystem, str], *, turn: Union[ControllerPair, Callable[[], Any], None] = None,
        controller: Which = Which.EITHER, lines: Optional[int] = None, arena_size: Optional[int] = None,
        wait: Wait = Wait.ADAPTIVE, spin: Optional[float] = None, patience: Optional[float] = None,
    ) -> None:
        self._memory: Optional[_Memory] = None
        self._arena: Optional[NDArray[np.uint8]] = None
        self._single: Optional[Batch] = None
        # What `turn` has raised, until the wait that called it has ended.
        self._failures: list[BaseException] = []
        options = HostOptions()
        library.baton_host_options_init(c.byref(options), c.sizeof(options))
        options.wait = wait
        options.controller = controller
        if lines is not None:
            options.lines = lines
        if arena_size is not None:
            options.arena_size = arena_size
        if spin is not None:
            options.spin_ns = nanoseconds(spin)
        if patience is not None:
            options.patience_ns = nanoseconds(patience)
        self._patience: float = options.patience_ns / 1e9
        handle = c.c_void_p()
        callback = None
        if turn is not None:
            callback = self._turning(turn.turn if isinstance(turn, ControllerPair) else turn, handle)
            options.turn = callback
        check(library.baton_host_open(c.byref(handle), encoded(subsystem), c.byref(options)))
        #: For ctypes: the library's handle; None once it is closed.
        self.handle: Optional[c.c_void_p] = handle
        self._memory = _Memory(handle, callback)
        self._arena = np.asarray(self._memory)

    def _turning(self, turn: Callable[[], Any], handle: c.c_void_p) -> Any:
        # No reference to the host: C calls it for as long as the memory lives, which must not keep the host alive.
        failures = self._failures

        def call(_: Any) -> None:
            if failures:
                return
            try:
                turn()
            except BaseException as error:
                # ctypes would print it and go on. It ends the wait instead, and is raised there.
                failures.append(error)
                if handle:
                    library.baton_host_wake(handle)

        return TURN(call)

    def _raise(self) -> None:
        if self._failures:
            raise self._failures.pop()

    def _closed(self) -> ValueError:
        return ValueError("the host is closed")

    # Attaching

    def attach(self, controllers: Mask = Mask.BOTH, timeout: Optional[float] = 10) -> None:
        """Waits until it is attached to all of these controllers."""
        if self.handle is None:
            raise self._closed()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE if end is None else max(0, min(_SLICE, round((end - time.monotonic()) * 1e9)))
            result = library.baton_host_attach(self.handle, controllers, left)
            self._raise()
            if result == -errno.ETIMEDOUT and (end is None or time.monotonic() < end):
                continue
            check(result)
            return

    @property
    def attached(self) -> Mask:
        """The controllers that it is attached to at present."""
        if self.handle is None:
            raise self._closed()
        return Mask(library.baton_host_attached(self.handle))

    # Memory

    @property
    def arena(self) -> NDArray[np.uint8]:
        """The memory that requests move data through. A request's `buffer` is an index into it."""
        if self._arena is None:
            raise self._closed()
        return self._arena

    # Requests

    def batch(self, size: int, **fields: Any) -> "Batch":
        """Requests that are submitted together; fields are a number or an array each: `operation=Operation.READ`."""
        return Batch(self, size, **fields)

    @property
    def outstanding(self) -> int:
        """Requests submitted and not answered."""
        if self.handle is None:
            raise self._closed()
        return int(library.baton_host_outstanding(self.handle))

    def room(self, which: Which) -> int:
        """Requests that can be submitted to that controller now."""
        if self.handle is None:
            raise self._closed()
        return int(library.baton_host_room(self.handle, which))

    def wake(self) -> None:
        """From any thread, while the host is open: ends its wait, or the next one."""
        if self.handle is None:
            raise self._closed()
        library.baton_host_wake(self.handle)

    def fileno(self) -> int:
        """A descriptor for selectors and asyncio: readable when `Batch.reap` should be called again, after a call with
        least=0 that has returned 0. Wait for 0.1 s at most: a controller that was away may be back.
        """
        if self.handle is None:
            raise self._closed()
        return check(library.baton_host_fd(self.handle))

    def _perform(self, timeout: Optional[float], what: str, **fields: Any) -> int:
        if self._single is None:
            self._single = Batch(self, 1)
        if self.outstanding > 0:
            raise BatonError(
                errno.EBUSY, ErrorCode.BUSY, "host", f"has {self.outstanding} requests outstanding",
                "reap their answers first")
        single = self._single
        single.requests[:] = 0
        for name, value in fields.items():
            single.requests[name] = value
        patience = time.monotonic() + self._patience
        while single.submit() == 0:
            if time.monotonic() > patience:
                raise BatonError(
                    errno.ENOENT, ErrorCode.MISSING, "controllers", "none takes a request", "start one, or turn it")
            try:
                self.attach(Mask.A, 0.001)
            except BatonError as error:
                if error.errno != errno.ETIMEDOUT:
                    raise
        # Without a timeout only `wake` ends a wait early, which is for `Batch.reap`.
        while single.reap(1, timeout) == 0:
            if timeout is not None:
                raise BatonError(
                    errno.ETIMEDOUT, ErrorCode.TIMEOUT, what, f"was not answered within {timeout} s",
                    "allow more time")
        answer = single.completions[0]
        if answer["status"] != 0:
            raise RequestError(int(answer["status"]), what)
        return int(answer["value"])

    def read(
        self, unit: int, offset: int, length: int, *, buffer: int = 0, controller: Which = Which.EITHER,
        timeout: Optional[float] = None,
    ) -> NDArray[np.uint8]:
        """Reads blocks. The result shows the arena: a later request may change it."""
        self._perform(
            timeout, f"read of {length} bytes at {offset} of unit {unit}", operation=Operation.READ, unit=unit,
            offset=offset, length=length, buffer=buffer, controller=controller)
        return self.arena[buffer : buffer + length]

    def write(
        self, unit: int, offset: int, data: Any, *, buffer: int = 0, durable: bool = False,
        controller: Which = Which.EITHER, timeout: Optional[float] = None,
    ) -> None:
        """Writes what is bytes, or an array: its bytes as they lie in memory."""
        if isinstance(data, np.ndarray):
            source = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        else:
            source = np.frombuffer(data, np.uint8)
        if buffer + len(source) > len(self.arena):
            raise RequestError(Status.BAD_BUFFER, f"write of {len(source)} bytes")
        self.arena[buffer : buffer + len(source)] = source
        self._perform(
            timeout, f"write of {len(source)} bytes at {offset} of unit {unit}", operation=Operation.WRITE, unit=unit,
            offset=offset, length=len(source), buffer=buffer, controller=controller,
            flags=Flag.DURABLE if durable else 0)

    def flush(self, unit: int, *, timeout: Optional[float] = None) -> None:
        """Moves everything answered before on the unit to stable storage."""
        self._perform(
            timeout, f"flush of unit {unit}", operation=Operation.FLUSH, unit=unit, controller=Which.EITHER)

    def discard(self, unit: int, offset: int, length: int, *, timeout: Optional[float] = None) -> None:
        """The blocks' contents are no longer needed."""
        self._perform(
            timeout, f"discard of {length} bytes at {offset} of unit {unit}", operation=Operation.DISCARD, unit=unit,
            offset=offset, length=length, controller=Which.EITHER)

    def write_zeroes(self, unit: int, offset: int, length: int, *, timeout: Optional[float] = None) -> None:
        """The blocks read as zeroes from now on."""
        self._perform(
            timeout, f"zeroing of {length} bytes at {offset} of unit {unit}", operation=Operation.WRITE_ZEROES,
            unit=unit, offset=offset, length=length, controller=Which.EITHER)

    def unit_state(self, unit: int, *, timeout: Optional[float] = None) -> UnitState:
        """What the unit may be used for."""
        return UnitState(
            self._perform(
                timeout, f"state of unit {unit}", operation=Operation.UNIT_STATE, unit=unit, controller=Which.EITHER))

    def set_unit_state(self, unit: int, state: UnitState, *, timeout: Optional[float] = None) -> None:
        """Sets that."""
        self._perform(
            timeout, f"state of unit {unit}", operation=Operation.SET_UNIT_STATE, unit=unit, offset=state,
            controller=Which.EITHER)

    def close(self) -> None:
        """Closes it. Arrays that show its memory stay valid; while there are any, it stays attached."""
        self.handle = None
        self._single = None
        self._arena = None
        self._memory = None

    def __enter__(self) -> "Host":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


class Batch:
    """Requests that are submitted together, and room for as many answers: two arrays, `requests` and `completions`.

    A batch is made once and used often. numpy changes and reads its fields in place: `batch.requests["offset"] = ...`.
    A call of the library costs a few hundred nanoseconds, whatever the number of requests.
    """

    def __init__(self, host: Host, size: int, **fields: Any) -> None:
        self.host = host
        self.requests: NDArray[np.void] = np.zeros(size, REQUEST)
        self.completions: NDArray[np.void] = np.zeros(size, COMPLETION)
        for name, value in fields.items():
            self.requests[name] = value
        # ndarray.ctypes costs more than the call that it is for.
        self._requests = c.c_void_p(self.requests.ctypes.data)
        self._completions = c.c_void_p(self.completions.ctypes.data)
        self._size = size
        self._status = self.completions["status"]

    def __len__(self) -> int:
        return self._size

    @property
    def failures(self) -> int:
        """How many of `completions` have another status than success. Faster than `any` on the field."""
        return int(np.count_nonzero(self._status))

    def submit(self, count: Optional[int] = None, *, first: int = 0) -> int:
        """Submits requests, in order. Returns how many it took: fewer where there is no room, or no controller."""
        handle = self.host.handle
        if handle is None:
            raise self.host._closed()
        requests, size = self._requests, self._size
        if count is None:
            count = size - first
        if first != 0 or count != size:
            if first < 0 or count < 0 or first + count > size:
                raise IndexError(f"the batch has {size} requests, not {first} to {first + count}")
            requests = c.c_void_p((requests.value or 0) + first * REQUEST.itemsize)
        result: int = _submit(handle, requests, count)
        if result < 0:
            raise failure(-result)
        return result

    def reap(self, least: int = 0, timeout: Optional[float] = None) -> int:
        """Takes answers into `completions`, from its first element on, and returns how many.

        With least 0 it only looks; otherwise it waits until there are so many, but not for longer than the timeout, and
        not after `Host.wake`: it returns fewer then.
        """
        host, size = self.host, self._size
        handle = host.handle
        if handle is None:
            raise host._closed()
        if least > size:
            raise IndexError(f"the batch has room for {size} answers, not {least}")
        wait = _SLICE if timeout is None else min(nanoseconds(timeout), _SLICE)
        before = _clock()
        result: int = _reap(handle, self._completions, least, size, wait)
        if host._failures:
            host._raise()
        if result >= least:
            return result
        if result < 0:
            raise failure(-result)
        end = None if timeout is None else before + nanoseconds(timeout)
        return self._reap_more(result, least, before + wait, end)

    def _reap_more(self, taken: int, least: int, until: int, end: Optional[int]) -> int:
        """Waits on, after a wait that was to last until then, unless `wake` has ended it or the time is over."""
        host = self.host
        while True:
            now = _clock()
            if now < until or host.outstanding == 0 or end is not None and now >= end:
                return taken
            wait = _SLICE if end is None else min(end - now, _SLICE)
            until = now + wait
            place = c.c_void_p((self._completions.value or 0) + taken * COMPLETION.itemsize)
            result: int = _reap(host.handle, place, least - taken, self._size - taken, wait)
            host._raise()
            if result < 0:
                if taken > 0:
                    return taken
                raise failure(-result)
            taken += result
            if taken >= least:
                return taken

    def run(self, timeout: Optional[float] = None) -> NDArray[np.void]:
        """Submits all requests, and waits for all answers, which may come in any order: cookies tell which is which.

        Raises `RequestError` for the first that has failed.
        """
        size = self._size
        if self.host.outstanding > 0:
            raise BatonError(
                errno.EBUSY, ErrorCode.BUSY, "host", f"has {self.host.outstanding} requests outstanding",
                "reap their answers first")
        taken = self.submit()
        if taken != size:
            self.reap(taken)
            raise BatonError(
                errno.EAGAIN, ErrorCode.EXHAUSTED, "host", f"has taken {taken} of {size} requests",
                "attach it, or give it more lines")
        if self.reap(size, timeout) != size:
            raise BatonError(
                errno.ETIMEDOUT, ErrorCode.TIMEOUT, "batch", f"was not answered within {timeout} s", "allow more time")
        if self.failures:
            failed = int(np.flatnonzero(self._status)[0])
            raise RequestError(int(self._status[failed]), f"request with cookie {self.completions['cookie'][failed]}")
        return self.completions

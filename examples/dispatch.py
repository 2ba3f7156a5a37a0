#!/usr/bin/env python3
"""Dispatch from Python, with ctypes and nothing else: dispatch.py [REQUESTS].

The library is looked for where the dynamic linker looks, or at BATON_LIBRARY. Requests go in batches: a call into C
costs Python a microsecond, and a batch of 64 is one call.
"""

import ctypes as c
import os
import sys
import time


class Request(c.Structure):
    _fields_ = [
        ("operation", c.c_uint8), ("flags", c.c_uint8), ("controller", c.c_uint8), ("reserved_0", c.c_uint8),
        ("unit", c.c_uint32), ("offset", c.c_uint64), ("length", c.c_uint64), ("buffer", c.c_uint64),
        ("cookie", c.c_uint64), ("reserved_1", c.c_uint64),
    ]


class Completion(c.Structure):
    _fields_ = [
        ("cookie", c.c_uint64), ("value", c.c_uint64), ("term", c.c_uint64), ("status", c.c_uint8),
        ("controller", c.c_uint8), ("transferred", c.c_uint8), ("reserved", c.c_uint8 * 5),
    ]


class ControllerOptions(c.Structure):
    _fields_ = [
        ("size", c.c_uint32), ("wait", c.c_uint32), ("spin_ns", c.c_uint64), ("deadline_ns", c.c_uint64),
        ("host_absence_ns", c.c_uint64), ("residency_ns", c.c_int64), ("hosts_max", c.c_uint32),
        ("log_level", c.c_uint32), ("log", c.c_void_p), ("log_context", c.c_void_p),
    ]


TURN = c.CFUNCTYPE(None, c.c_void_p)


class HostOptions(c.Structure):
    _fields_ = [
        ("size", c.c_uint32), ("wait", c.c_uint32), ("spin_ns", c.c_uint64), ("lines", c.c_uint32),
        ("controller", c.c_uint32), ("arena_size", c.c_uint64), ("patience_ns", c.c_uint64), ("turn", TURN),
        ("turn_context", c.c_void_p),
    ]


A, B, BOTH = 0, 1, 3
READ, WRITE = 1, 2
REPLACE = 1
SECOND = 1_000_000_000

baton = c.CDLL(os.environ.get("BATON_LIBRARY", "libbaton.so.0"))
baton.baton_last_error_text.restype = c.c_char_p
baton.baton_host_arena.restype = c.c_void_p
# Without these, ctypes would pass each pointer as an int of 32 bits.
baton.baton_controller_turn.argtypes = [c.c_void_p]
baton.baton_host_submit.argtypes = [c.c_void_p, c.c_void_p, c.c_uint32]
baton.baton_host_reap.argtypes = [c.c_void_p, c.c_void_p, c.c_uint32, c.c_uint32, c.c_int64]
baton.baton_host_arena.argtypes = [c.c_void_p, c.c_void_p]
baton.baton_host_attach.argtypes = [c.c_void_p, c.c_uint32, c.c_int64]
for name in ("stop", "stopped"):
    getattr(baton, f"baton_controller_{name}").argtypes = [c.c_void_p]
for options in ("controller", "host"):
    getattr(baton, f"baton_{options}_options_init").argtypes = [c.c_void_p, c.c_size_t]


def check(result):
    if result < 0:
        raise OSError(-result, baton.baton_last_error_text().decode())
    return result


class Subsystem:
    """Two controllers and a host, turned by this thread."""

    def __init__(self, name, unit):
        self.name = name.encode()
        check(baton.baton_create(self.name, (c.c_char_p * 1)(unit.encode()), 1, REPLACE))
        self.controllers = []
        options = ControllerOptions()
        baton.baton_controller_options_init(c.byref(options), c.sizeof(options))
        options.deadline_ns = 3600 * SECOND
        for which in (A, B):
            controller = c.c_void_p()
            check(baton.baton_controller_open(c.byref(controller), self.name, which, c.byref(options)))
            self.controllers.append(controller)
        # Kept for as long as the host lives: C calls it.
        self.turn = TURN(lambda _: [baton.baton_controller_turn(controller) for controller in self.controllers] and None)
        host_options = HostOptions()
        baton.baton_host_options_init(c.byref(host_options), c.sizeof(host_options))
        host_options.turn = self.turn
        self.host = c.c_void_p()
        check(baton.baton_host_open(c.byref(self.host), self.name, c.byref(host_options)))
        check(baton.baton_host_attach(self.host, BOTH, 10 * SECOND))
        size = c.c_size_t()
        address = baton.baton_host_arena(self.host, c.byref(size))
        self.arena = memoryview((c.c_ubyte * size.value).from_address(address)).cast("B")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        del self.arena
        baton.baton_host_close(c.byref(self.host))
        for controller in self.controllers:
            baton.baton_controller_stop(controller)
            while not baton.baton_controller_stopped(controller):
                baton.baton_controller_turn(controller)
        for controller in self.controllers:
            baton.baton_controller_close(c.byref(controller))
        check(baton.baton_destroy(self.name))

    def run(self, requests, completions):
        """Submits a batch, and takes all its answers."""
        count = len(requests)
        if check(baton.baton_host_submit(self.host, requests, count)) != count:
            raise RuntimeError("no room for the batch")
        baton.baton_controller_turn(self.controllers[requests[0].controller])
        taken = check(baton.baton_host_reap(self.host, completions, count, count, 10 * SECOND))
        if taken != count or any(completion.status for completion in completions):
            raise RuntimeError("a request failed")


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if c.sizeof(Request) != 48 or c.sizeof(Completion) != 32:
        raise RuntimeError("the structures are not those of baton.h")

    # What is written through one controller is read through its peer.
    with Subsystem("python-example", "mem:1M") as memory:
        answer = (Completion * 1)()
        memory.arena[:4096] = b"\x42" * 4096
        memory.run((Request * 1)(Request(operation=WRITE, length=4096)), answer)
        memory.run((Request * 1)(Request(operation=READ, controller=B, length=4096, buffer=4096)), answer)
        if memory.arena[4096:8192] != memory.arena[:4096] or answer[0].controller != B:
            raise RuntimeError("other data was read than was written")

    depth = 64
    with Subsystem("python-example", "null:1G") as null:
        batch = (Request * depth)(*[Request(operation=READ, length=4096) for _ in range(depth)])
        answers = (Completion * depth)()
        submit, turn, reap = baton.baton_host_submit, baton.baton_controller_turn, baton.baton_host_reap
        host, controller = null.host, null.controllers[A]
        null.run(batch, answers)
        before = time.perf_counter_ns()
        done = 0
        while done < requests:
            submit(host, batch, depth)
            turn(controller)
            if reap(host, answers, depth, depth, SECOND) != depth:
                raise RuntimeError(baton.baton_last_error_text().decode())
            done += depth
        print(f"batches of {depth}: {(time.perf_counter_ns() - before) / done:.1f} ns per request")


if __name__ == "__main__":
    main()

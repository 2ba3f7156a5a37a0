#!/usr/bin/env python3
"""Dispatch from Python, with the package in python/: dispatch.py [REQUESTS].

Half of the requests write blocks through one controller, and half read them through its peer; each block is compared
with what was written. Then the rate of batches on a unit that does nothing.
"""

import sys
import time

import numpy as np

import baton
from baton import Operation, Which

DEPTH = 64
BLOCK = 4096


def verified(requests):
    """Returns how many requests were answered, all of them rightly."""
    blocks = 16 * DEPTH
    with baton.Subsystem.create("python-example", [f"mem:{blocks * BLOCK}"], replace=True) as subsystem:
        pair = baton.ControllerPair(subsystem)
        with pair, baton.Host(subsystem, turn=pair, arena_size=2 * DEPTH * BLOCK) as host:
            host.attach()
            cookies = np.arange(DEPTH)
            writes = host.batch(DEPTH, operation=Operation.WRITE, length=BLOCK, cookie=cookies, buffer=cookies * BLOCK)
            reads = host.batch(
                DEPTH, operation=Operation.READ, length=BLOCK, cookie=cookies, buffer=(DEPTH + cookies) * BLOCK)
            words = host.arena.view(np.uint64).reshape(2 * DEPTH, BLOCK // 8)
            written, read = words[:DEPTH], words[DEPTH:]
            random = np.random.default_rng(1)
            done = 0
            while done < requests:
                places = random.permutation(blocks)[:DEPTH] * BLOCK
                writes.requests["offset"] = reads.requests["offset"] = places
                # The controllers take turns, so ownership moves with each batch.
                writer = done // (2 * DEPTH) % 2
                writes.requests["controller"] = writer
                reads.requests["controller"] = 1 - writer
                # Every word of every block differs from what it was before.
                written[:] = random.integers(1 << 63, size=(DEPTH, 1), dtype=np.uint64)
                written += np.arange(BLOCK // 8, dtype=np.uint64)
                answers = writes.run(60)
                if not (np.sort(answers["cookie"]) == cookies).all() or (answers["controller"] != writer).any():
                    raise RuntimeError("a write was answered twice, or by the wrong controller")
                answers = reads.run(60)
                if not (np.sort(answers["cookie"]) == cookies).all() or (answers["controller"] != 1 - writer).any():
                    raise RuntimeError("a read was answered twice, or by the wrong controller")
                if not np.array_equal(read, written):
                    raise RuntimeError("other data was read than was written")
                done += 2 * DEPTH
            return done


def rate(requests, clock=time.perf_counter_ns):
    """Returns the nanoseconds that a request takes in a batch, with the check of each answer's status and cookie."""
    with baton.Subsystem.create("python-example", ["null:1G"], replace=True) as subsystem:
        pair = baton.ControllerPair(subsystem)
        with pair, baton.Host(subsystem, turn=pair) as host:
            host.attach()
            batch = host.batch(DEPTH, operation=Operation.READ, length=BLOCK, controller=Which.A)
            cookies, answered = batch.requests["cookie"], batch.completions["cookie"]
            cookies[:] = np.arange(DEPTH)
            step = np.full(DEPTH, DEPTH, np.uint64)
            batch.run(60)
            submit, reap, turn = batch.submit, batch.reap, pair.a.turn
            total = done = 0
            before = clock()
            while done < requests:
                if submit() != DEPTH:
                    raise RuntimeError("there was no room for a batch")
                turn()
                if reap(DEPTH) != DEPTH or batch.failures:
                    raise RuntimeError("a request failed")
                total += int(answered.sum())
                np.add(cookies, step, cookies)
                done += DEPTH
            elapsed = clock() - before
            if total != done * (done - 1) // 2:
                raise RuntimeError("a request was not answered, or answered twice")
            return elapsed / done


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{verified(requests):,} requests verified, through both controllers")
    print(f"batches of {DEPTH}: {rate(requests):.1f} ns per request")


if __name__ == "__main__":
    main()

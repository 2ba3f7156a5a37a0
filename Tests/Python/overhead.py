"""What Python adds to a request in batches of 64: overhead.py HARNESS DISPATCH [ROUNDS].

HARNESS is examples/dispatch.c, built; DISPATCH is examples/dispatch.py. Both run the same loop on a unit that does
nothing, in turns, round by round. Times are those of the processor, so that other programs do not count: both loops are
one thread that never sleeps. Prints the median; it asserts no time.
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import time

GOAL = 150
REQUESTS = 400_000


def processor_time(harness, requests):
    """The nanoseconds of the processor that the harness takes for so many requests, start and end included."""
    before = os.times()
    subprocess.run([harness, "--batched", "--requests", str(requests), "--depth", "64"], check=True)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) * 1e9


def main():
    harness, path = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 9
    specification = importlib.util.spec_from_file_location("dispatch", path)
    dispatch = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(dispatch)
    in_c, in_python = [], []
    for _ in range(rounds):
        # os.times counts in hundredths of a second, so there are many; the difference leaves out start and end.
        few, many = REQUESTS, 21 * REQUESTS
        in_c.append((processor_time(harness, many) - processor_time(harness, few)) / (many - few))
        in_python.append(dispatch.rate(REQUESTS, time.process_time_ns))
    own = sorted(python - c for python, c in zip(in_python, in_c))
    middle = statistics.median(own)
    print(
        f"batches of 64, {rounds} rounds in turns: C {statistics.median(in_c):.1f} ns, Python "
        f"{statistics.median(in_python):.1f} ns per request; Python's own {middle:.1f} ns ({own[0]:.1f} to "
        f"{own[-1]:.1f}; goal {GOAL}: {'met' if middle <= GOAL else 'missed'})")


if __name__ == "__main__":
    main()

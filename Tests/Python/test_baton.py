"""The Python package on subsystems whose controllers this thread turns, in threads, and in processes.

BATON_PROGRAM names Baton's executable; without it the test of processes is skipped.
"""

import errno
import gc
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import unittest

import numpy as np

import baton
from baton import Mask, Operation, RequestError, Status, Which

NAME = "python-tests"


class TurnedTests(unittest.TestCase):
    """Controllers and host in one loop."""

    def setUp(self):
        self.subsystem = baton.Subsystem.create(NAME, ["mem:1M", "null:1G"], replace=True)
        self.pair = baton.ControllerPair(self.subsystem)
        self.host = baton.Host(self.subsystem, turn=self.pair, arena_size=1 << 20)
        self.host.attach()

    def tearDown(self):
        self.host.close()
        self.pair.close()
        self.subsystem.destroy()

    def test_what_one_controller_writes_its_peer_reads(self):
        data = np.arange(2048, dtype=np.uint32)
        self.host.write(0, 4096, data, controller=Which.A)
        found = self.host.read(0, 4096, 8192, buffer=65536, controller=Which.B)
        np.testing.assert_array_equal(found.view(np.uint32), data)
        # The result shows the arena.
        self.host.arena[65536] ^= 0xFF
        self.assertEqual(found[0], self.host.arena[65536])
        self.host.write_zeroes(0, 4096, 4096)
        self.host.discard(0, 8192, 4096)
        self.host.flush(0)
        self.assertFalse(self.host.read(0, 4096, 4096).any())

    def test_a_batch_changes_its_requests_in_place(self):
        batch = self.host.batch(64, operation=Operation.WRITE, length=4096, cookie=np.arange(64))
        batch.requests["offset"] = np.arange(64) * 4096
        batch.requests["buffer"] = np.arange(64) * 4096
        batch.requests["controller"] = np.arange(64) % 2
        self.host.arena[: 64 * 4096] = np.repeat(np.arange(64, dtype=np.uint8), 4096)
        done = batch.run(10)
        self.assertEqual(sorted(done["cookie"]), list(range(64)))
        self.assertTrue((done["value"] == 4096).all())
        self.host.arena[:] = 0xEE
        batch.requests["operation"] = Operation.READ
        batch.requests["buffer"] = (63 - np.arange(64)) * 4096
        batch.run(10)
        expected = np.repeat(63 - np.arange(64, dtype=np.uint8), 4096)
        np.testing.assert_array_equal(self.host.arena[: 64 * 4096], expected)

    def test_a_part_of_a_batch_is_submitted_and_reaped(self):
        batch = self.host.batch(8, operation=Operation.READ, unit=1, length=4096, cookie=np.arange(8))
        self.assertEqual(batch.submit(3, first=2), 3)
        self.assertEqual(self.host.outstanding, 3)
        self.assertEqual(batch.reap(3, 10), 3)
        self.assertEqual(list(batch.completions["cookie"][:3]), [2, 3, 4])
        self.assertEqual(batch.reap(), 0)
        for wrong in (lambda: batch.submit(9), lambda: batch.submit(1, first=8), lambda: batch.reap(9)):
            self.assertRaises(IndexError, wrong)

    def test_a_request_that_fails_says_why(self):
        with self.assertRaises(RequestError) as raised:
            self.host.read(0, 1 << 30, 4096)
        self.assertEqual(raised.exception.status, Status.OUT_OF_RANGE)
        self.assertEqual(raised.exception.errno, errno.EINVAL)
        self.assertIn("past the end of the unit", str(raised.exception))
        batch = self.host.batch(3, operation=Operation.READ, length=[4096, 4096, 0], cookie=[7, 8, 9])
        with self.assertRaises(RequestError) as raised:
            batch.run(10)
        self.assertEqual(raised.exception.status, Status.ZERO_LENGTH)
        self.assertIn("cookie 9", str(raised.exception))
        self.host.set_unit_state(0, baton.UnitState.READ_ONLY)
        self.assertEqual(self.host.unit_state(0), baton.UnitState.READ_ONLY)
        with self.assertRaises(RequestError) as raised:
            self.host.write(0, 0, b"x" * 4096)
        self.assertEqual(raised.exception.status, Status.READ_ONLY)

    def test_an_error_has_the_library_s_words(self):
        with self.assertRaises(baton.BatonError) as raised:
            baton.Controller(self.subsystem, Which.A)
        error = raised.exception
        self.assertEqual((error.errno, error.code), (errno.EBUSY, baton.ErrorCode.BUSY))
        self.assertEqual(str(error), f"{error.subject}: {error.problem}" + (f"; {error.fix}" if error.fix else ""))
        self.assertIn("controller a", error.subject)
        batch = self.host.batch(1, operation=Operation.READ, length=4096, flags=0x40)
        with self.assertRaises(baton.BatonError) as raised:
            batch.submit()
        self.assertEqual(raised.exception.code, baton.ErrorCode.INVALID)
        with self.assertRaises(baton.BatonError) as raised:
            baton.View("no-such-subsystem")
        self.assertEqual(raised.exception.errno, errno.ENOENT)

    def test_what_turn_raises_ends_the_wait(self):
        def turn():
            raise KeyError("of the loop")

        with baton.Host(self.subsystem, turn=turn) as host:
            self.assertRaises(KeyError, host.attach)

    def test_a_wait_ends_in_time_and_when_it_is_woken(self):
        with baton.Host(self.subsystem, turn=lambda: None) as host:
            with self.assertRaises(baton.BatonError) as raised:
                host.attach(timeout=0.01)
            self.assertEqual(raised.exception.errno, errno.ETIMEDOUT)
        is_turning = True

        def turn():
            if is_turning:
                self.pair.turn()

        with baton.Host(self.subsystem, turn=turn) as host:
            host.attach()
            is_turning = False
            batch = host.batch(1, operation=Operation.READ, unit=1, length=4096)
            self.assertEqual(batch.submit(), 1)
            self.assertEqual(batch.reap(1, 0.25), 0)
            waker = threading.Timer(0.05, host.wake)
            waker.start()
            self.assertEqual(batch.reap(1), 0)
            waker.join()
            is_turning = True
            self.assertEqual(batch.reap(1, 60), 1)

    def test_memory_outlives_its_host(self):
        arena = self.host.arena
        part = arena[4096:8192].view(np.uint64)
        part[:] = 7
        self.host.close()
        for closed in (lambda: self.host.arena, self.host.wake, lambda: self.host.outstanding, self.host.fileno):
            self.assertRaises(ValueError, closed)
        self.assertEqual(int(part.sum()), 7 * 512)
        attached = self.mappings()
        del arena
        gc.collect()
        self.assertEqual(self.mappings(), attached, "a view is left")
        del part
        gc.collect()
        self.assertLess(self.mappings(), attached)

    def mappings(self):
        with open("/proc/self/maps", encoding="utf-8") as maps:
            return sum("memfd:baton-host" in line for line in maps)

    def test_a_view_shows_owners_and_counters(self):
        with baton.View(self.subsystem) as view:
            self.assertEqual(view.units, 2)
            self.assertEqual(view.unit(0).bytes, 1 << 20)
            self.assertEqual(view.unit(1).kind, baton.UnitKind.NULL)
            before = view.counters(Which.B)
            self.host.read(0, 0, 4096, controller=Which.A)
            term = view.ownership(0).term
            self.assertEqual(view.ownership(0).owner, Which.A)
            self.host.read(0, 0, 4096, controller=Which.B)
            self.assertEqual(view.ownership(0), (Which.B, term + 1, False))
            self.assertEqual(len(before), len(view.counters(Which.B)))
            self.assertNotEqual(before, view.counters(Which.B))
            self.assertEqual(view.controller(Which.A).pid, os.getpid())
            with self.assertRaises(baton.BatonError):
                view.unit(2)

    def test_a_descriptor_wakes_a_selector(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.host, selectors.EVENT_READ)
            batch = self.host.batch(1, operation=Operation.READ, unit=1, length=4096)
            self.assertEqual(batch.submit(), 1)
            answers = 0
            end = time.monotonic() + 60
            while answers == 0 and time.monotonic() < end:
                answers = batch.reap()
                if answers == 0:
                    self.pair.turn()
                    selector.select(0.1)
            self.assertEqual(answers, 1)


class ThreadTests(unittest.TestCase):
    """Controllers in threads of their own."""

    def test_threads_serve_and_leave(self):
        lines = []
        with baton.Subsystem.create(NAME, ["mem:1M"], replace=True) as subsystem:
            a = baton.ControllerThread(subsystem, Which.A, log=lambda level, line: lines.append(line))
            b = baton.ControllerThread(subsystem, Which.B)
            with a, b, baton.Host(subsystem) as host:
                subsystem.wait_serving()
                host.attach()
                host.write(0, 0, b"\x5a" * 4096, controller=Which.A)
                self.assertTrue((host.read(0, 0, 4096, controller=Which.B) == 0x5A).all())
                with self.assertRaises(baton.BatonError) as raised:
                    baton.ControllerThread(subsystem, Which.A)
                self.assertEqual(raised.exception.errno, errno.EBUSY)
                with self.assertRaises(baton.BatonError) as raised:
                    a.join(0.01)
                self.assertEqual(raised.exception.errno, errno.ETIMEDOUT)
        self.assertTrue(lines)

    def test_ctrl_c_ends_a_wait(self):
        # In a process of its own: the signal is for the main thread.
        program = (
            "import baton\n"
            f"with baton.Subsystem.create('{NAME}-signal', ['null:1G'], replace=True) as subsystem:\n"
            "  pair = baton.ControllerPair(subsystem)\n"
            "  with pair, baton.Host(subsystem) as host:\n"
            "    batch = host.batch(1, operation=1, length=4096)\n"
            "    try:\n"
            "      print('waits', flush=True)\n"
            "      host.attach(timeout=None)\n"
            "    except KeyboardInterrupt:\n"
            "      print('interrupted')\n")
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
            self.assertEqual(child.stdout.readline(), "waits\n")
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.stdout.readline(), "interrupted\n")
        self.assertEqual(child.returncode, 0)


@unittest.skipUnless(os.environ.get("BATON_PROGRAM"), "BATON_PROGRAM does not name Baton's executable")
class ProcessTests(unittest.TestCase):
    """Controllers in processes of their own."""

    def test_a_killed_process_costs_no_data(self):
        program = os.environ["BATON_PROGRAM"]
        with baton.Subsystem.create(NAME, ["mem:1M"], replace=True) as subsystem:
            a = baton.ControllerProcess(subsystem, Which.A, program=program, log=os.devnull)
            b = baton.ControllerProcess(subsystem, Which.B, program=program, log=os.devnull)
            a.wait_serving()
            b.wait_serving()
            with a, b, baton.Host(subsystem) as host:
                host.attach()
                self.assertIsNone(a.status)
                host.write(0, 0, b"\xa5" * 8192, controller=Which.A)
                os.kill(a.pid, signal.SIGKILL)
                self.assertTrue((host.read(0, 0, 8192, buffer=65536, timeout=60) == 0xA5).all())
                while a.status is None:
                    time.sleep(0.01)
                self.assertEqual(a.status, 128 + signal.SIGKILL)
                b.stop()
                self.assertEqual(b.status, 0)


if __name__ == "__main__":
    unittest.main()

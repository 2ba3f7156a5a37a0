// A machine in one thread: processes on stacks of their own, processors that keep stores back, a clock, and as much of
// a kernel as Baton asks for. Everything that happens follows from the seed.
//
// One process runs at a time. It may be interrupted at every atomic operation on shared memory and at every system call
// (a step). Process 0 is the world: it starts the others, lets them run, and does to them what it likes in between.
#ifndef BATON_SIMULATED_MACHINE_H
#define BATON_SIMULATED_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How the machine behaves; chosen once.
struct machine_options {
  uint64_t seed;
  uint32_t switch_odds;         // of 65536, at each step
  uint32_t buffer_stores;       // stores that a processor may keep back; 0: none
  bool uses_priorities;         // the fiber with the highest priority runs, and priorities change at a few steps
  uint64_t transfer_delay_max;  // nanoseconds until a transfer lands, at most
  uint64_t late_delay_max;      // the same for what a dead process had in flight
  uint32_t tear_odds;           // of 65536: a transfer of several sectors lands in pieces
  uint32_t error_odds;          // of 65536: it fails with EIO
  uint32_t retry_odds;          // of 65536: it ends with EAGAIN or EINTR
  uint32_t short_odds;          // of 65536: it transfers less than was asked for
  uint64_t exit_delay_max;      // nanoseconds between two stages of a process's end
  bool has_zero_range;          // the file system can make zeroes without a hole
  bool has_holes;               // the file system can punch holes
  bool is_memory_file_system;   // units' files lie in memory, as far as fstatfs(2) says
};

enum machine_event {
  MACHINE_TIME = 1,   // the time is over
  MACHINE_TRIGGER,    // a process has come to its trigger
  MACHINE_STOPPED,    // a process has stopped itself (SIGSTOP)
  MACHINE_CALL,       // a process has called the world
  MACHINE_ENDED,      // a process has ended, or was killed by another one
  MACHINE_IDLE,       // nothing will ever happen again
};

enum machine_state { MACHINE_RUNNING = 1, MACHINE_FROZEN, MACHINE_DYING, MACHINE_GONE };

// What is counted.
enum machine_count {
  MACHINE_STEPS,
  MACHINE_SWITCHES,
  MACHINE_READS,
  MACHINE_WRITES,
  MACHINE_DURABLE_WRITES,
  MACHINE_SYNCS,
  MACHINE_HOLES,
  MACHINE_TORN,
  MACHINE_LATE,
  MACHINE_NEVER_LANDED,
  MACHINE_ERRORS,
  MACHINE_RETRIES,
  MACHINE_SHORT,
  MACHINE_SIGNALS,
  MACHINE_FUTEX_WAITS,
  MACHINE_FUTEX_WAKES,
  MACHINE_RING_FUTEX_WAITS,
  MACHINE_DELAYED_STORES,
  MACHINE_FENCES_FOR_OTHERS,
  MACHINE_REUSED_NUMBERS,
  MACHINE_COUNTS,
};

void machine_begin(const struct machine_options *options);
void machine_calm(void);  // from now on transfers neither fail nor tear nor take long
// A process; its number. With `reuses`, it gets the number of a process that is gone, if there is one.
int machine_spawn(const char *name, bool reuses, void (*body)(void *), void *context);
// Lets processes run until something happens, at most until that time.
enum machine_event machine_run(uint64_t until, int *process);
void machine_kill(int process);
void machine_freeze(int process);
void machine_thaw(int process);
void machine_terminate(int process);          // as SIGTERM does
void machine_cut(int process);                // its connections end
void machine_pause(uint64_t nanoseconds);     // of the whole machine
enum machine_state machine_state(int process);
// Calls the world back when the process has made so many more steps; 0: never.
void machine_trigger_after(int process, uint64_t steps);
// The same at its n-th store to these bytes of a file that it has mapped, right before or right after it.
void machine_trigger_at_store(int process, const char *path, uint64_t offset, uint64_t count, uint32_t nth);
// The same so many steps after it has handed its n-th descriptor to another process.
void machine_trigger_after_handing(int process, uint32_t nth, uint64_t steps);
// By a process: calls the world.
void machine_call(void);
int machine_current(void);
uint64_t machine_now(void);
uint64_t machine_digest(void);  // of everything that happened
uint64_t machine_counted(enum machine_count what);
uint64_t machine_random(uint64_t below);  // the world's own numbers are not drawn from here
// What no disk may see, in words; 0: it has seen nothing of the kind. Two writes that overlap were in the kernel's
// hands at a time, a read was begun over a write that a dead process had left there, or a write took effect again
// after another one in the same sector. The first 8 bytes of a sector name the write that they are of; 0: none.
const char *machine_complaint(void);
// What is left of a file when the machine loses its power: each sector as it was synced, or as it was written since.
void machine_lose_power(const char *path, uint64_t seed, void *bytes, size_t count);
// fork(2): each seed runs in a process of its own, which begins as all others do. 0: in the child.
int machine_fork(void);
// Receives a line for each thing that happens.
void machine_trace_to(void (*receiver)(const char *process, uint64_t now, const char *text));

#endif

// The machine: fibers, the scheduler, processors that keep stores back, processes and their ends. What the kernel does
// for them is in kernel.c.
#ifdef BATON_SIMULATION
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the simulation switches stacks by x86-64 instructions"
#endif

struct machine machine;
static void (*machine_trace)(const char *process, uint64_t now, const char *text);

void machine_trace_to(void (*receiver)(const char *process, uint64_t now, const char *text)) {
  machine_trace = receiver;
}

void trace(const char *format, ...) {
  if (!machine_trace) return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  machine_trace(machine.processes[machine.fibers[machine.current].process].name, machine.now, text);
}

// splitmix64, one sequence for each purpose: what one draws does not change what another one gets.
uint64_t draw(enum sequence sequence, uint64_t below) {
  uint64_t z = machine.random[sequence] += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  z ^= z >> 31;
  return below ? z % below : 0;
}

bool chance(enum sequence sequence, uint32_t odds) { return odds && draw(sequence, 65536) < odds; }

void digest(uint64_t value) {
  machine.digest = (machine.digest ^ value) * 0x100000001b3ull;
  machine.digest ^= machine.digest >> 29;
}

// ---- Fibers

// Six registers and the stack pointer: what a function must preserve by the ABI. No system call.
__attribute__((naked, noinline)) static void switch_stacks(void **from, void *to) {
  __asm__ volatile(
      "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
      "mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
      "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
}

static void go(int to) {
  int from = machine.current;
  if (to == from) return;
  machine.current = to;
  machine.counts[MACHINE_SWITCHES]++;
  switch_stacks(&machine.fibers[from].stack_pointer, machine.fibers[to].stack_pointer);
}

static void to_world(enum machine_event event, int process) {
  machine.event = event;
  machine.event_process = process;
  go(0);
}

static void fiber_main(void) {
  struct fiber *fiber = &machine.fibers[machine.current];
  fiber->body(fiber->context);
  fiber->state = FIBER_OVER;
  if (fiber->is_main) {
    digest(0xe0d ^ (uint64_t)fiber->process << 32);
    trace("exits");
    end_process(fiber->process);
    to_world(MACHINE_ENDED, fiber->process);
  }
  reschedule();
  abort();  // nobody goes on with what is over
}

int new_fiber(int process, bool is_main, void (*body)(void *), void *context) {
  if (machine.fiber_count == FIBERS_MAX) abort();
  int index = machine.fiber_count++;
  struct fiber *fiber = &machine.fibers[index];
  char *stack = (char *)syscall(
      SYS_mmap, 0L, (size_t)STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
  if (stack == MAP_FAILED) abort();
  // A page at the end that nobody may touch.
  mprotect(stack, 4096, PROT_NONE);
  void **top = (void **)(stack + STACK_BYTES);
  *--top = 0;
  *--top = (void *)fiber_main;
  fiber->stack_pointer = top - 6;
  fiber->process = process;
  fiber->is_main = is_main;
  fiber->body = body;
  fiber->context = context;
  fiber->state = FIBER_READY;
  fiber->priority = draw(RANDOM_SCHEDULE, 1u << 20) + (1u << 20);
  return index;
}

// ---- Processors that keep stores back, as x86-64 does: first in, first out, and a load finds its own newest store

static bool land_store(int fiber) {
  struct store_buffer *buffer = &machine.fibers[fiber].buffer;
  if (buffer->head == buffer->tail) return false;
  struct kept_store *store = &buffer->stores[buffer->head++ % STORES_MAX];
  __atomic_store_n((uint64_t *)store->address, store->value, __ATOMIC_SEQ_CST);
  machine.kept_stores--;
  return true;
}

void land_stores(int fiber) { while (land_store(fiber)) continue; }

// Now and then one of them lands.
static void land_some(void) {
  uint64_t random = draw(RANDOM_STORES, 0);
  if (random % 8) return;
  int first = 1 + (int)(random / 8 % (uint64_t)machine.fiber_count);
  for (int index = 0; index < machine.fiber_count; index++) {
    if (land_store((first + index) % machine.fiber_count)) return;
  }
}

// ---- Steps

// A step is about to be taken: others may run before it.
void step(uint32_t kind, const void *address) {
  (void)address;
  if (machine.current == 0) return;
  machine.counts[MACHINE_STEPS]++;
  machine.now += NANOSECONDS_PER_STEP;
  digest((uint64_t)machine.current << 32 ^ (uint64_t)kind);
  if (machine.kept_stores > 0) land_some();
  if (--machine.steps_left > 0 && machine.now < machine.kernel_due) return;
  reschedule();
}

// Steps that the present fiber may take before the scheduler is asked.
static void plan(void) {
  struct process *process = &machine.processes[machine.fibers[machine.current].process];
  int64_t left = machine.switch_in;
  if (process->trigger_steps && (int64_t)process->trigger_steps < left) left = (int64_t)process->trigger_steps;
  machine.steps_left = machine.steps_planned = left > 0 ? left : 1;
}

static void account(void) {
  int64_t taken = machine.steps_planned - machine.steps_left;
  machine.steps_planned = machine.steps_left;
  machine.switch_in -= taken;
  struct process *process = &machine.processes[machine.fibers[machine.current].process];
  if (process->trigger_steps) {
    if ((int64_t)process->trigger_steps <= taken) {
      process->trigger_steps = 0;
      process->is_triggered = true;
    } else {
      process->trigger_steps -= (uint64_t)taken;
    }
  }
}

// The present process comes to its trigger after so many more steps.
void trigger_soon(uint64_t steps) {
  account();
  machine.processes[machine.fibers[machine.current].process].trigger_steps = steps ? steps : 1;
  plan();
}

static void plan_switch(void) {
  if (machine.options.uses_priorities) {
    // Now and then the one that runs falls behind all others; and so does one that runs for too long.
    machine.switch_in = 1 + (int64_t)draw(RANDOM_SCHEDULE, PRIORITY_STEPS_MAX);
    return;
  }
  // The number of steps until the next switch, each with these odds: geometric, in one draw.
  uint32_t odds = machine.options.switch_odds ? machine.options.switch_odds : 1;
  int64_t steps = 1;
  uint64_t mean = 65536 / odds;
  if (mean > 1) steps += (int64_t)draw(RANDOM_SCHEDULE, 2 * mean - 1);
  machine.switch_in = steps;
}

static bool is_able(int index) {
  struct fiber *fiber = &machine.fibers[index];
  struct process *process = &machine.processes[fiber->process];
  if (fiber->state == FIBER_OVER || process->state != MACHINE_RUNNING) return false;
  if (fiber->state == FIBER_READY) return true;
  if (fiber->wakes_at <= machine.now || (fiber->ring && has_completions(fiber->ring, fiber->completions))) {
    fiber->state = FIBER_READY;
    fiber->futex = 0;
    fiber->ring = 0;
    return true;
  }
  return false;
}

static int choose(void) {
  int able[FIBERS_MAX], count = 0;
  for (int index = 1; index < machine.fiber_count; index++) {
    if (is_able(index)) able[count++] = index;
  }
  if (count == 0) return 0;
  if (!machine.options.uses_priorities) return able[draw(RANDOM_SCHEDULE, (uint64_t)count)];
  int best = able[0];
  for (int each = 1; each < count; each++) {
    if (machine.fibers[able[each]].priority > machine.fibers[best].priority) best = able[each];
  }
  return best;
}

static uint64_t next_wake(void) {
  uint64_t next = machine.kernel_due;
  for (int index = 1; index < machine.fiber_count; index++) {
    struct fiber *fiber = &machine.fibers[index];
    if (fiber->state == FIBER_WAITS && machine.processes[fiber->process].state == MACHINE_RUNNING &&
        fiber->wakes_at < next) {
      next = fiber->wakes_at;
    }
  }
  return next;
}

// The present fiber gives way: to the kernel, the world, or another fiber.
void reschedule(void) {
  account();
  struct fiber *self = &machine.fibers[machine.current];
  if (machine.current != 0 && machine.processes[self->process].is_triggered) {
    machine.processes[self->process].is_triggered = false;
    to_world(MACHINE_TRIGGER, self->process);
    return;
  }
  bool must_switch = machine.switch_in <= 0;
  for (;;) {
    if (machine.now >= machine.kernel_due) run_kernel();
    if (machine.ended_process) {
      int process = machine.ended_process;
      machine.ended_process = 0;
      to_world(MACHINE_ENDED, process);
      return;
    }
    if (machine.stopped_process) {
      int process = machine.stopped_process;
      machine.stopped_process = 0;
      to_world(MACHINE_STOPPED, process);
      return;
    }
    if (machine.now >= machine.run_until) {
      to_world(MACHINE_TIME, 0);
      return;
    }
    if (machine.switch_in <= 0) {
      if (machine.options.uses_priorities) self->priority = draw(RANDOM_SCHEDULE, 1u << 20);
      plan_switch();
    }
    int next = must_switch || !is_able(machine.current) ? choose() : machine.current;
    if (next) {
      if (next != machine.current) digest(0x5c ^ (uint64_t)next << 8);
      int from = machine.current;
      machine.current = next;
      plan();
      machine.current = from;
      go(next);
      return;
    }
    uint64_t wake = next_wake();
    if (wake > machine.run_until) wake = machine.run_until;
    if (wake == UINT64_MAX) {
      to_world(MACHINE_IDLE, 0);
      return;
    }
    if (wake > machine.now) machine.now = wake;
  }
}

// Waits for a wake, a completion or the time. What woke it, its caller sees.
void wait_here(uint64_t until) {
  land_stores(machine.current);
  struct fiber *fiber = &machine.fibers[machine.current];
  fiber->state = FIBER_WAITS;
  fiber->wakes_at = until;
  reschedule();
}

// ---- What the atomics facade calls

static void watch_store(const void *address) {
  struct process *process = &machine.processes[machine.fibers[machine.current].process];
  if (!process->watch_nth) return;
  uint64_t place = place_of(address);
  if (place < process->watch_from || place >= process->watch_to || --process->watch_nth > 0) return;
  to_world(MACHINE_TRIGGER, machine.fibers[machine.current].process);
}

uint64_t shim_simulated_load(const uint64_t *address) {
  step(1, address);
  struct store_buffer *buffer = &machine.fibers[machine.current].buffer;
  for (uint32_t index = buffer->tail; index != buffer->head; index--) {
    struct kept_store *store = &buffer->stores[(index - 1) % STORES_MAX];
    if (store->address == address) return store->value;
  }
  return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}

uint32_t shim_simulated_load_half(const uint32_t *address) {
  step(5, address);
  uintptr_t word = (uintptr_t)address & ~(uintptr_t)7;
  struct store_buffer *buffer = &machine.fibers[machine.current].buffer;
  for (uint32_t index = buffer->tail; index != buffer->head; index--) {
    struct kept_store *store = &buffer->stores[(index - 1) % STORES_MAX];
    if ((uintptr_t)store->address == word) return (uint32_t)(store->value >> ((uintptr_t)address & 4 ? 32 : 0));
  }
  return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}

void shim_simulated_store(uint64_t *address, uint64_t value) {
  step(2, address);
  watch_store(address);
  // Memory of its own may be given back before the store would land.
  if (machine.current == 0 || !machine.options.buffer_stores || place_of(address) == 0) {
    __atomic_store_n(address, value, __ATOMIC_SEQ_CST);
    return;
  }
  struct store_buffer *buffer = &machine.fibers[machine.current].buffer;
  uint32_t room = machine.options.buffer_stores < STORES_MAX ? machine.options.buffer_stores : STORES_MAX;
  while (buffer->tail - buffer->head >= room) land_store(machine.current);
  buffer->stores[buffer->tail++ % STORES_MAX] = (struct kept_store){address, value};
  machine.counts[MACHINE_DELAYED_STORES]++;
  machine.kept_stores++;
}

void shim_simulated_step(const void *address) {
  step(3, address);
  watch_store(address);
  land_stores(machine.current);
}

// ---- The world's side

void machine_begin(const struct machine_options *options) {
  memset(&machine, 0, sizeof machine);
  machine.options = *options;
  for (int sequence = 0; sequence < RANDOM_SEQUENCES; sequence++) {
    machine.random[sequence] = options->seed * 0xd1342543de82ef95ull + (uint64_t)sequence * 0x632be59bd9b4e019ull;
    draw(sequence, 0);
  }
  machine.now = 1000000000;
  machine.run_until = UINT64_MAX;
  machine.kernel_due = UINT64_MAX;
  machine.fiber_count = 1;
  machine.process_count = 1;
  machine.fibers[0].state = FIBER_READY;
  machine.processes[0] = (struct process){.name = "world", .pid = FIRST_PID, .state = MACHINE_RUNNING};
  machine.is_active = true;
  plan_switch();
}

void machine_calm(void) {
  struct machine_options *options = &machine.options;
  options->tear_odds = options->error_odds = options->retry_odds = options->short_odds = 0;
  if (options->transfer_delay_max > 200000) options->transfer_delay_max = 200000;
  if (options->late_delay_max > 20000000) options->late_delay_max = 20000000;
  options->switch_odds = options->switch_odds > 6554 ? 6554 : options->switch_odds;
  options->uses_priorities = false;
}

int machine_spawn(const char *name, bool reuses, void (*body)(void *), void *context) {
  if (machine.process_count == PROCESSES_MAX) abort();
  int index = machine.process_count++;
  struct process *process = &machine.processes[index];
  snprintf(process->name, sizeof process->name, "%s", name);
  process->pid = FIRST_PID + index;
  process->started = (uint64_t)index + 1;
  process->state = MACHINE_RUNNING;
  process->signals = -1;
  for (int other = 1; reuses && other < index; other++) {
    if (machine.processes[other].state != MACHINE_GONE || machine.processes[other].is_reused) continue;
    machine.processes[other].is_reused = true;
    process->pid = machine.processes[other].pid;
    machine.counts[MACHINE_REUSED_NUMBERS]++;
    break;
  }
  new_fiber(index, true, body, context);
  return index;
}

enum machine_event machine_run(uint64_t until, int *process) {
  machine.run_until = until;
  machine.event_process = 0;
  machine.steps_left = machine.steps_planned = 0;
  machine.fibers[0].state = FIBER_WAITS;
  machine.fibers[0].wakes_at = UINT64_MAX;
  machine.event = 0;
  // The one that was interrupted goes on with its steps, unless a switch is due.
  reschedule();
  machine.fibers[0].state = FIBER_READY;
  if (process) *process = machine.event_process;
  return machine.event;
}

void machine_kill(int process) {
  if (machine.processes[process].state >= MACHINE_DYING) return;
  end_process(process);
}

void machine_freeze(int process) {
  if (machine.processes[process].state != MACHINE_RUNNING) return;
  for (int fiber = 1; fiber < machine.fiber_count; fiber++) {
    if (machine.fibers[fiber].process == process) land_stores(fiber);
  }
  machine.processes[process].state = MACHINE_FROZEN;
}

void machine_thaw(int process) {
  if (machine.processes[process].state == MACHINE_FROZEN) machine.processes[process].state = MACHINE_RUNNING;
}

void machine_pause(uint64_t nanoseconds) { machine.now += nanoseconds; }
enum machine_state machine_state(int process) { return machine.processes[process].state; }
void machine_trigger_after(int process, uint64_t steps) { machine.processes[process].trigger_steps = steps; }

void machine_trigger_after_handing(int process, uint32_t nth, uint64_t steps) {
  machine.processes[process].handed_nth = nth;
  machine.processes[process].steps_after_handing = steps;
}

void machine_call(void) {
  step(4, 0);
  to_world(MACHINE_CALL, machine.fibers[machine.current].process);
}

int machine_current(void) { return machine.fibers[machine.current].process; }
uint64_t machine_now(void) { return machine.now; }
uint64_t machine_digest(void) { return machine.digest; }
uint64_t machine_counted(enum machine_count what) { return machine.counts[what]; }
uint64_t machine_random(uint64_t below) { return draw(RANDOM_PROCESSES, below); }

#endif

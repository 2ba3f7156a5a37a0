// What the two halves of the simulated machine share.
#ifndef BATON_SIMULATION_MACHINE_PRIVATE_H
#define BATON_SIMULATION_MACHINE_PRIVATE_H

#include "simulated_machine.h"

#include <stdarg.h>

enum {
  FIBERS_MAX = 256,
  PROCESSES_MAX = 128,
  STACK_BYTES = 1 << 20,
  STORES_MAX = 48,  // what a processor of today keeps back, about
  NANOSECONDS_PER_STEP = 20,
  PRIORITY_STEPS_MAX = 4000,
  FIRST_PID = 1000,
  DESCRIPTORS_MAX = 8192,
};

enum sequence { RANDOM_SCHEDULE, RANDOM_STORES, RANDOM_KERNEL, RANDOM_TRANSFERS, RANDOM_PROCESSES, RANDOM_SEQUENCES };
enum fiber_state { FIBER_READY, FIBER_WAITS, FIBER_OVER };

struct kept_store {
  uint64_t *address;
  uint64_t value;
};

struct store_buffer {
  uint32_t head, tail;
  struct kept_store stores[STORES_MAX];
};

struct ring;

struct fiber {
  void *stack_pointer;
  void (*body)(void *);
  void *context;
  int process;
  bool is_main;
  enum fiber_state state;
  // While it waits: until then, or for a wake of this word, or for completions in this ring.
  uint64_t wakes_at;
  uint64_t futex;
  struct ring *ring;
  unsigned completions;
  uint64_t priority;
  struct store_buffer buffer;
};

struct process {
  char name[24];
  int pid;
  uint64_t started;
  enum machine_state state;
  bool is_reused;
  // Its life lock: the word, and where that lies.
  uint32_t *life;
  uint64_t life_place;
  int signals;  // an eventfd that SIGTERM writes to
  uint64_t killed_at;
  int end_stage;
  uint64_t end_due;
  // Triggers.
  uint64_t trigger_steps;
  bool is_triggered;
  uint64_t watch_from, watch_to;
  uint32_t watch_nth;
  uint32_t handed_nth;
  uint64_t steps_after_handing;
};

struct machine {
  struct machine_options options;
  bool is_active;
  uint64_t random[RANDOM_SEQUENCES];
  uint64_t digest, now, run_until, kernel_due;
  uint64_t counts[MACHINE_COUNTS];
  int64_t steps_left, steps_planned, switch_in;
  int kept_stores;
  int current, fiber_count, process_count, event_process, ended_process, stopped_process;
  enum machine_event event;
  struct fiber fibers[FIBERS_MAX];
  struct process processes[PROCESSES_MAX];
};

extern struct machine machine;

__attribute__((format(printf, 1, 2))) void trace(const char *format, ...);
uint64_t draw(enum sequence sequence, uint64_t below);
bool chance(enum sequence sequence, uint32_t odds);
void digest(uint64_t value);
void step(uint32_t kind, const void *address);
void reschedule(void);
void trigger_soon(uint64_t steps);
void wait_here(uint64_t until);
void land_stores(int fiber);
int new_fiber(int process, bool is_main, void (*body)(void *), void *context);

// kernel.c
void run_kernel(void);
bool has_completions(struct ring *ring, unsigned count);
uint64_t place_of(const void *address);  // which file, and where in it; 0: memory of its own
void end_process(int process);

#endif

// Two counters, each with a futex: the least that a blocking wait can be made of.
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "signalled.h"

struct signals {
  struct {
    _Alignas(LINE_STRIDE) _Atomic uint32_t posted;
    // Whether the waiter sleeps, or is about to. The poster makes no call for a waiter that is awake.
    _Atomic uint32_t sleeps;
  } of[2];
};

// How many of its own this process has taken.
static uint32_t taken;

static size_t signals_size(void) { return sizeof(struct signals); }

static void signals_make(struct signals *signals) { (void)signals; }

// Both sides write one word and then read the other, in the one order that all agree on: either the sleeper sees the
// new count, or the one that posts sees the sleeper.
static inline void post(struct signals *signals, unsigned to) {
  atomic_fetch_add(&signals->of[to].posted, 1);
  if (atomic_load(&signals->of[to].sleeps)) {
    check(syscall(SYS_futex, &signals->of[to].posted, FUTEX_WAKE, 1, NULL, NULL, 0), "FUTEX_WAKE");
  }
}

static inline void await(struct signals *signals, unsigned self) {
  while (atomic_load_explicit(&signals->of[self].posted, memory_order_acquire) == taken) {
    atomic_store(&signals->of[self].sleeps, 1);
    // EAGAIN: it has been posted meanwhile.
    if (syscall(SYS_futex, &signals->of[self].posted, FUTEX_WAIT, taken, NULL, NULL, 0) != 0 && errno != EAGAIN) {
      fail("FUTEX_WAIT failed: %s", strerror(errno));
    }
    atomic_store_explicit(&signals->of[self].sleeps, 0, memory_order_relaxed);
  }
  taken++;
}

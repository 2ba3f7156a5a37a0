// Two POSIX semaphores in shared memory.
#include <semaphore.h>

#include "signalled.h"

struct signals {
  struct {
    _Alignas(LINE_STRIDE) sem_t semaphore;
  } of[2];
};

static size_t signals_size(void) { return sizeof(struct signals); }

static void signals_make(struct signals *signals) {
  for (unsigned i = 0; i < 2; i++) check(sem_init(&signals->of[i].semaphore, 1, 0), "sem_init");
}

static inline void post(struct signals *signals, unsigned to) {
  check(sem_post(&signals->of[to].semaphore), "sem_post");
}

static inline void await(struct signals *signals, unsigned self) {
  check(sem_wait(&signals->of[self].semaphore), "sem_wait");
}

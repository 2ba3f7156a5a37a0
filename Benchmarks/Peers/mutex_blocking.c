// A process-shared robust mutex and condition variables: a waiter sleeps.
#include "mutex.h"

static inline void enter(struct channel *channel) {
  check_number(pthread_mutex_lock(&channel->mutex), "pthread_mutex_lock");
}

static inline void wait_inside(struct channel *channel, unsigned self) {
  check_number(pthread_cond_wait(&channel->changed[self], &channel->mutex), "pthread_cond_wait");
}

// The mutex first: a waiter that is woken with it held would sleep again at once.
static inline void leave(struct channel *channel, unsigned other) {
  let_go(channel);
  check_number(pthread_cond_signal(&channel->changed[other]), "pthread_cond_signal");
}

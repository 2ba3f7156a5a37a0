// What the two mutex peers share: two queues and an owner under one process-shared robust mutex. They differ in how
// they wait.
#ifndef BATON_MUTEX_H
#define BATON_MUTEX_H

#define PEER_HANDS_OVER
#include <pthread.h>

#include "peer.h"

struct channel {
  pthread_mutex_t mutex;
  // All below is read and written only with the mutex held. What changes with each turn lies next to the lock itself.
  unsigned owner;
  unsigned submitted, taken, answered, collected;
  // What the host [0] and the server [1] wait for, where they sleep.
  _Alignas(LINE_STRIDE) pthread_cond_t changed[2];
  _Alignas(LINE_STRIDE) struct request requests[RING_SIZE];
  _Alignas(LINE_STRIDE) struct response responses[RING_SIZE];
};

// Each peer's own. Takes the mutex.
static inline void enter(struct channel *channel);
// What `self` looks for has not come: releases the mutex, waits, takes it again.
static inline void wait_inside(struct channel *channel, unsigned self);
// There is something for the partner: releases the mutex and notifies it.
static inline void leave(struct channel *channel, unsigned other);

// For calls that return the number of an error. A robust mutex whose holder died is one too: the peer has failed.
static inline void check_number(int number, const char *what) {
  if (__builtin_expect(number != 0, 0)) fail("%s failed: %s", what, strerror(number));
}

static inline void let_go(struct channel *channel) {
  check_number(pthread_mutex_unlock(&channel->mutex), "pthread_mutex_unlock");
}

static inline void hand_over(struct channel *channel, unsigned self) {
  enter(channel);
  while (channel->owner != self) wait_inside(channel, self);
  channel->owner = !self;
  leave(channel, !self);
}

static inline void submit(struct channel *channel, const struct request *request) {
  enter(channel);
  channel->requests[channel->submitted++ % RING_SIZE] = *request;
  leave(channel, 1);
}

static inline void take(struct channel *channel, struct request *request) {
  enter(channel);
  while (channel->taken == channel->submitted) wait_inside(channel, 1);
  *request = channel->requests[channel->taken++ % RING_SIZE];
  let_go(channel);
}

static inline void answer(struct channel *channel, const struct response *response) {
  enter(channel);
  channel->responses[channel->answered++ % RING_SIZE] = *response;
  leave(channel, 0);
}

static inline void collect(struct channel *channel, struct response *response) {
  enter(channel);
  while (channel->collected == channel->answered) wait_inside(channel, 0);
  *response = channel->responses[channel->collected++ % RING_SIZE];
  let_go(channel);
}

static size_t channel_size(void) { return sizeof(struct channel); }

static void channel_make(struct channel *channel) {
  pthread_mutexattr_t kind;
  check_number(pthread_mutexattr_init(&kind), "pthread_mutexattr_init");
  check_number(pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED), "pthread_mutexattr_setpshared");
  check_number(pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST), "pthread_mutexattr_setrobust");
  check_number(pthread_mutex_init(&channel->mutex, &kind), "pthread_mutex_init");
  pthread_condattr_t shared;
  check_number(pthread_condattr_init(&shared), "pthread_condattr_init");
  check_number(pthread_condattr_setpshared(&shared, PTHREAD_PROCESS_SHARED), "pthread_condattr_setpshared");
  for (unsigned i = 0; i < 2; i++) {
    check_number(pthread_cond_init(&channel->changed[i], &shared), "pthread_cond_init");
  }
}

#endif

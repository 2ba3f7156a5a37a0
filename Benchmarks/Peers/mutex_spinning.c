// A process-shared robust mutex, taken by trying until it can be had.
#include "mutex.h"

static unsigned looks;

// A moment away from the lock's line: a waiter that tries without a pause keeps the holder from releasing it. Four
// pauses take a third off a hand-over, one takes a fifth; looking at the owner without the lock
// before trying gave no more than one.
static inline void stand_back(void) {
  for (unsigned i = 0; i < 4; i++) peer_pause();
  peer_spin(&looks);
}

static inline void enter(struct channel *channel) {
  for (;;) {
    int number = pthread_mutex_trylock(&channel->mutex);
    if (number != EBUSY) return check_number(number, "pthread_mutex_trylock");
    stand_back();
  }
}

static inline void wait_inside(struct channel *channel, unsigned self) {
  (void)self;
  let_go(channel);
  stand_back();
  enter(channel);
}

static inline void leave(struct channel *channel, unsigned other) {
  (void)other;
  let_go(channel);
}

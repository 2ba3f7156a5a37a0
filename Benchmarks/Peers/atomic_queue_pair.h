// What the two atomic_queue peers share. `push` and `pop` wait in the element that they are about, and spin there for
// ever: the fastest that this queue can be, where each process has a CPU. Elsewhere the processes look and yield.
#ifndef BATON_ATOMIC_QUEUE_PAIR_H
#define BATON_ATOMIC_QUEUE_PAIR_H

#include <new>

#include "peer.h"

template <class Queue, class Element>
static inline void push(Queue &queue, const Element &element) {
  if (each_has_cpu) return queue.push(element);
  for (unsigned looks = 0; !queue.try_push(element);) peer_spin(&looks);
}

template <class Queue, class Element>
static inline void pop(Queue &queue, Element &element) {
  if (each_has_cpu) {
    element = queue.pop();
    return;
  }
  for (unsigned looks = 0; !queue.try_pop(element);) peer_spin(&looks);
}

#endif

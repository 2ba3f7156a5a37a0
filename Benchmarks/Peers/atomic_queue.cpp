// Two atomic_queues of whole requests and responses, one producer and one consumer each.
#include <atomic_queue/atomic_queue.h>

#include "atomic_queue_pair.h"

// Elements of any size, each with a flag of its own. Without the queue's pauses, which gave nothing.
template <class Element>
using queue = atomic_queue::AtomicQueue2<Element, RING_SIZE, true, false, false, true>;

struct channel {
  alignas(LINE_STRIDE) queue<request> requests;
  alignas(LINE_STRIDE) queue<response> responses;
};

static size_t channel_size() { return sizeof(channel); }
static void channel_make(channel *memory) { new (memory) channel; }

static inline void submit(channel *channel, const request *request) { push(channel->requests, *request); }
static inline void take(channel *channel, request *request) { pop(channel->requests, *request); }
static inline void answer(channel *channel, const response *response) { push(channel->responses, *response); }
static inline void collect(channel *channel, response *response) { pop(channel->responses, *response); }

// Two atomic_queues of words of 8 bytes, which are requests and responses without anything in them: the least that
// this queue can do, and less than all other peers do. Element and flag are one word, so a round trip is little more
// than two lines that move.
#include <atomic_queue/atomic_queue.h>

#include "atomic_queue_pair.h"

// 0 is what an empty element holds. Without the queue's pauses, which gave nothing.
using queue = atomic_queue::AtomicQueue<uint64_t, RING_SIZE, 0, true, false, false, true>;

struct channel {
  alignas(LINE_STRIDE) queue requests;
  alignas(LINE_STRIDE) queue responses;
};

static size_t channel_size() { return sizeof(channel); }
static void channel_make(channel *memory) { new (memory) channel; }

static inline void submit(channel *channel, const request *request) {
  push(channel->requests, request->words[0] + 1);
}

static inline void take(channel *channel, request *request) {
  uint64_t word;
  pop(channel->requests, word);
  *request = request_make(word - 1);
}

static inline void answer(channel *channel, const response *response) { push(channel->responses, response->tag + 1); }

static inline void collect(channel *channel, response *response) {
  uint64_t word;
  pop(channel->responses, word);
  struct request request = request_make(word - 1);
  *response = {word - 1, request_sum(&request)};
}

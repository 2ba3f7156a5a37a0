// Two queues of boost lockfree, one producer and one consumer each.
#include <boost/lockfree/spsc_queue.hpp>
#include <new>

#include "peer.h"

struct channel {
  alignas(LINE_STRIDE) boost::lockfree::spsc_queue<request, boost::lockfree::capacity<RING_SIZE>> requests;
  alignas(LINE_STRIDE) boost::lockfree::spsc_queue<response, boost::lockfree::capacity<RING_SIZE>> responses;
};

static size_t channel_size() { return sizeof(channel); }

static void channel_make(channel *memory) { new (memory) channel; }

static inline void submit(channel *channel, const request *request) {
  for (unsigned looks = 0; !channel->requests.push(*request);) peer_spin(&looks);
}

static inline void take(channel *channel, request *request) {
  for (unsigned looks = 0; !channel->requests.pop(*request);) peer_spin(&looks);
}

static inline void answer(channel *channel, const response *response) {
  for (unsigned looks = 0; !channel->responses.push(*response);) peer_spin(&looks);
}

static inline void collect(channel *channel, response *response) {
  for (unsigned looks = 0; !channel->responses.pop(*response);) peer_spin(&looks);
}

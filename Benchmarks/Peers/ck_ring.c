// Two rings of Concurrency Kit, one producer and one consumer each.
#include <ck_ring.h>

#include "peer.h"

CK_RING_PROTOTYPE(request, request)
CK_RING_PROTOTYPE(response, response)

struct channel {
  _Alignas(LINE_STRIDE) struct ck_ring requests;
  _Alignas(LINE_STRIDE) struct request request_buffer[RING_SIZE];
  _Alignas(LINE_STRIDE) struct ck_ring responses;
  _Alignas(LINE_STRIDE) struct response response_buffer[RING_SIZE];
};

static size_t channel_size(void) { return sizeof(struct channel); }

static void channel_make(struct channel *channel) {
  ck_ring_init(&channel->requests, RING_SIZE);
  ck_ring_init(&channel->responses, RING_SIZE);
}

static inline void submit(struct channel *channel, const struct request *request) {
  unsigned looks = 0;
  while (!ck_ring_enqueue_spsc_request(&channel->requests, channel->request_buffer, (struct request *)request)) {
    peer_spin(&looks);
  }
}

static inline void take(struct channel *channel, struct request *request) {
  unsigned looks = 0;
  while (!ck_ring_dequeue_spsc_request(&channel->requests, channel->request_buffer, request)) peer_spin(&looks);
}

static inline void answer(struct channel *channel, const struct response *response) {
  unsigned looks = 0;
  while (!ck_ring_enqueue_spsc_response(&channel->responses, channel->response_buffer, (struct response *)response)) {
    peer_spin(&looks);
  }
}

static inline void collect(struct channel *channel, struct response *response) {
  unsigned looks = 0;
  while (!ck_ring_dequeue_spsc_response(&channel->responses, channel->response_buffer, response)) peer_spin(&looks);
}

// Two rings of DPDK, one producer and one consumer each, in memory of ours and without DPDK's environment (EAL).
#include <rte_ring.h>

#include "peer.h"

struct channel {
  _Alignas(LINE_STRIDE) struct rte_ring requests;
  // A ring's elements follow it at once.
  struct request request_elements[RING_SIZE];
  _Alignas(LINE_STRIDE) struct rte_ring responses;
  struct response response_elements[RING_SIZE];
};

static size_t channel_size(void) { return sizeof(struct channel); }

_Static_assert(offsetof(struct channel, request_elements) == sizeof(struct rte_ring), "a ring's elements follow it");

// What rte_ring_init does to memory that is zero, the name apart. The ring itself is all in its header; rte_ring_init
// lies in a library that cannot be linked without EAL, for the sake of functions that nobody calls here.
static void ring_make(struct rte_ring *ring) {
  ring->flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
  ring->size = RING_SIZE;
  ring->mask = RING_SIZE - 1;
  ring->capacity = RING_SIZE - 1;
  ring->prod.sync_type = RTE_RING_SYNC_ST;
  ring->cons.sync_type = RTE_RING_SYNC_ST;
}

static void channel_make(struct channel *channel) {
  ring_make(&channel->requests);
  ring_make(&channel->responses);
}

static inline void submit(struct channel *channel, const struct request *request) {
  unsigned looks = 0;
  while (rte_ring_sp_enqueue_elem(&channel->requests, (void *)request, sizeof *request) != 0) peer_spin(&looks);
}

static inline void take(struct channel *channel, struct request *request) {
  unsigned looks = 0;
  while (rte_ring_sc_dequeue_elem(&channel->requests, request, sizeof *request) != 0) peer_spin(&looks);
}

static inline void answer(struct channel *channel, const struct response *response) {
  unsigned looks = 0;
  while (rte_ring_sp_enqueue_elem(&channel->responses, (void *)response, sizeof *response) != 0) peer_spin(&looks);
}

static inline void collect(struct channel *channel, struct response *response) {
  unsigned looks = 0;
  while (rte_ring_sc_dequeue_elem(&channel->responses, response, sizeof *response) != 0) peer_spin(&looks);
}

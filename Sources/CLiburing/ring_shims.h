// liburing, and the few of its macros that Swift cannot import. One comment each on why.
#ifndef BATON_RING_SHIMS_H
#define BATON_RING_SHIMS_H

// First, so that the C library settles its feature macros as it does for every other module: liburing.h defines
// _XOPEN_SOURCE and _GNU_SOURCE for itself, under which fd_set has another member, and Swift refuses to import one
// type with two definitions. Seen only where every declaration is read: a first debug build, which indexes modules.
#include <features.h>

// The kernel's structures under names of our own. liburing brings a copy of <linux/io_uring.h>, and swift-system reads
// the machine's; where one of the two is newer, Swift refuses to import both into one program: "is not present in
// definition". An embedder of Baton may use swift-system, directly or through another package.
#define io_uring_sqe baton_uring_sqe
#define io_uring_op baton_uring_op
#define io_uring_cqe baton_uring_cqe
#define io_sqring_offsets baton_sqring_offsets
#define io_cqring_offsets baton_cqring_offsets
#define io_uring_params baton_uring_params
#define io_uring_files_update baton_uring_files_update
#define io_uring_rsrc_register baton_uring_rsrc_register
#define io_uring_rsrc_update baton_uring_rsrc_update
#define io_uring_rsrc_update2 baton_uring_rsrc_update2
#define io_uring_notification_slot baton_uring_notification_slot
#define io_uring_notification_register baton_uring_notification_register
#define io_uring_probe_op baton_uring_probe_op
#define io_uring_probe baton_uring_probe
#define io_uring_restriction baton_uring_restriction
#define io_uring_buf baton_uring_buf
#define io_uring_buf_ring baton_uring_buf_ring
#define io_uring_buf_reg baton_uring_buf_reg
#define io_uring_getevents_arg baton_uring_getevents_arg
#define io_uring_sync_cancel_reg baton_uring_sync_cancel_reg
#define io_uring_file_index_range baton_uring_file_index_range
#define io_uring_recvmsg_out baton_uring_recvmsg_out

#include <liburing.h>

// Set-up flags newer than Debian's liburing 2.3 headers or written as (1U << n), which Swift imports only for
// some of them: spelled out here once. Values from include/uapi/linux/io_uring.h.
static inline unsigned shim_setup_clamp(void) { return 1u << 4; }           // IORING_SETUP_CLAMP, 5.6
static inline unsigned shim_setup_cqsize(void) { return 1u << 3; }          // IORING_SETUP_CQSIZE, 5.5
static inline unsigned shim_setup_submit_all(void) { return 1u << 7; }      // IORING_SETUP_SUBMIT_ALL, 5.18
static inline unsigned shim_setup_coop_taskrun(void) { return 1u << 8; }    // IORING_SETUP_COOP_TASKRUN, 5.19
static inline unsigned shim_setup_taskrun_flag(void) { return 1u << 9; }    // IORING_SETUP_TASKRUN_FLAG, 5.19

// The kernel raises these in the shared SQ flags word: completions wait for a kernel entry, or overflowed.
// A macro over (1U << n); read with acquire because it is written by the kernel concurrently.
static inline int shim_ring_wants_entry(const struct io_uring *ring) {
  return (__atomic_load_n(ring->sq.kflags, __ATOMIC_ACQUIRE) & ((1u << 1) | (1u << 2))) != 0;
}

// Entries prepared that the kernel has not taken: io_uring_sq_ready(3) without its question whether a thread of the
// kernel's own takes them (IORING_SETUP_SQPOLL), which nobody asks for here. The kernel moves its head within a system
// call of this thread.
static inline unsigned shim_ring_prepared(const struct io_uring *ring) {
  return ring->sq.sqe_tail - *ring->sq.khead;
}

// io_uring_for_each_cqe is a macro; this is its body for one step. Null when the queue is empty.
static inline struct io_uring_cqe *shim_ring_peek(struct io_uring *ring) {
  unsigned head = *ring->cq.khead;
  if (head == __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE)) return 0;
  return &ring->cq.cqes[head & *ring->cq.kring_mask];
}

// The two fields below lie in anonymous unions, which Swift names differently from header to header.
static inline void shim_sqe_set_rw_flags(struct io_uring_sqe *sqe, int flags) { sqe->rw_flags = flags; }
static inline void shim_sqe_set_token(struct io_uring_sqe *sqe, unsigned long long token) { sqe->user_data = token; }

// IORING_RECVSEND_POLL_FIRST, linux/io_uring.h (5.19), in the field that sends and receives have their flags in.
static inline void shim_sqe_poll_first(struct io_uring_sqe *sqe) { sqe->ioprio |= 1u << 0; }
static inline int shim_rwf_dsync(void) { return 0x00000002; }  // RWF_DSYNC, linux/fs.h; needs _GNU_SOURCE otherwise

// FALLOC_FL_* of linux/falloc.h, with KEEP_SIZE: <fcntl.h> shows them only under _GNU_SOURCE.
static inline int shim_fallocate_punch_hole(void) { return 0x02 | 0x01; }
static inline int shim_fallocate_zero_range(void) { return 0x10 | 0x01; }

// prep functions whose parameter types changed between liburing releases: one signature for all of them.
static inline void shim_prep_poll_multishot(struct io_uring_sqe *sqe, int fd, unsigned events) {
  io_uring_prep_poll_multishot(sqe, fd, events);
}
static inline void shim_prep_timeout(struct io_uring_sqe *sqe, struct __kernel_timespec *duration) {
  io_uring_prep_timeout(sqe, duration, 0, 0);
}
// IORING_OP_FUTEX_WAIT (51, kernel 6.7) is newer than Debian 12's liburing. fd carries the flags of futex2
// (FUTEX2_SIZE_U32, shared between processes), off the expected value, addr3 the mask: io_uring/futex.c of the kernel.
static inline void shim_prep_futex_wait(struct io_uring_sqe *sqe, void *word, unsigned long long expected) {
  io_uring_prep_rw(51, sqe, 2, word, 0, expected);
  sqe->addr3 = 0xffffffffu;
}

// Ends all that waits in a ring, before it returns (IORING_REGISTER_SYNC_CANCEL, 6.0). IORING_ASYNC_CANCEL_ALL and _ANY
// are (1U << n).
static inline int shim_ring_cancel_all(struct io_uring *ring) {
  struct io_uring_sync_cancel_reg everything = {.flags = 1u << 0 | 1u << 2, .timeout = {-1, -1}};
  return io_uring_register_sync_cancel(ring, &everything);
}

// IORING_FSYNC_DATASYNC is (1U << 0).
static inline void shim_prep_data_sync(struct io_uring_sqe *sqe, int fd) { io_uring_prep_fsync(sqe, fd, 1u); }

// IORING_CQE_F_MORE is (1U << 1): a multishot request will post again.
static inline int shim_cqe_has_more(const struct io_uring_cqe *cqe) { return (cqe->flags & (1u << 1)) != 0; }

#endif

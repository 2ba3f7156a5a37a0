/* SPDX-License-Identifier: Apache-2.0 */
/*
 * baton.h - Baton's C interface: subsystems, controllers and hosts from C, C++ and every language that can call C.
 *
 * Link with -lbaton (pkg-config baton), or dlopen("libbaton.so.0"). The library needs nothing but the C library.
 *
 * Rules
 * - A function that returns int returns 0 or a count, or -errno. baton_last_error then says in words what failed, on
 *   what, and how to fix it.
 * - A handle belongs to one thread at a time, and nothing is locked. Only baton_controller_stop and baton_host_wake may
 *   be called from another thread, while the handle is open.
 * - No call changes what a signal does (baton_controller_run with BATON_RUN_SIGNALS blocks some while it runs), prints,
 *   or reads an environment variable other than BATON_HOME. A controller starts a thread only for work that could make
 *   its loop wait, such as closing a descriptor that a host handed over; the thread has every signal blocked.
 * - After fork(2) a child may only exec: it would hold on to seats and units.
 * - The library stays loaded after dlclose(3), because the Swift runtime inside cannot be unloaded.
 * - Requests carry no pointers: a buffer is a place in the host's arena. So bindings need no memory management.
 * - Options begin with their size. baton_x_options_init fills in the defaults; a program that was compiled with an
 *   older header gets the defaults of what it does not know. NULL for options means the defaults.
 * - New versions add functions, fields at the end of options, and values of enumerations. A program needs a default
 *   case for values that it does not know. What exists keeps its number, size and meaning.
 */
#ifndef BATON_H
#define BATON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define BATON_ASSERT(condition, text) static_assert(condition, text)
#else
#define BATON_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#if defined(__GNUC__)
#define BATON_API __attribute__((visibility("default")))
#else
#define BATON_API
#endif

/* ---- Versions ---- */

#define BATON_VERSION_MAJOR 0
#define BATON_VERSION_MINOR 1
#define BATON_VERSION_PATCH 0
/* Goes up with each function or field that is added. */
#define BATON_API_LEVEL 1

/* The library's version for people, such as "0.1.0 (commit 2e9654a)". */
BATON_API const char *baton_version(void);
/* The API level of the library that was loaded: at least BATON_API_LEVEL of the header that its user needs. */
BATON_API uint32_t baton_api_level(void);
/* The layout version of the regions that it can open. */
BATON_API uint32_t baton_layout_version(void);

/* ---- Errors ---- */

/* The kind of an error. The function that failed returned the -errno on the right. */
enum baton_error_code {
  BATON_ERROR_NONE = 0,
  BATON_ERROR_MISSING = 1,       /* -ENOENT: it does not exist */
  BATON_ERROR_BUSY = 2,          /* -EBUSY: it already exists, or somebody else holds it */
  BATON_ERROR_TRUNCATED = 3,     /* -ENODATA: it is shorter than its header says */
  BATON_ERROR_FOREIGN = 4,       /* -ENOTTY: it is nothing of Baton's */
  BATON_ERROR_WRONG_VERSION = 5, /* -EPROTO: it has another layout version */
  BATON_ERROR_DAMAGED = 6,       /* -EBADMSG: its contents contradict themselves */
  BATON_ERROR_PERMISSION = 7,    /* -EACCES: the operating system denies it */
  BATON_ERROR_UNSUPPORTED = 8,   /* -EOPNOTSUPP: the kernel or the file system cannot do it */
  BATON_ERROR_EXHAUSTED = 9,     /* -ENOSPC: a limit has been reached */
  BATON_ERROR_INVALID = 10,      /* -EINVAL: the caller asked for something that makes no sense */
  BATON_ERROR_SYSTEM = 11,       /* -EIO: a system call failed for a reason that has no code of its own */
  BATON_ERROR_TIMEOUT = 12       /* -ETIMEDOUT: it took longer than the caller allowed */
};

/* The last error of this thread. The texts belong to the library, and stay valid until this thread's next call that
 * fails. */
struct baton_error {
  uint32_t size; /* of this structure */
  uint32_t code; /* enum baton_error_code */
  const char *subject;
  const char *problem;
  const char *fix; /* "" if nothing can be done */
};
BATON_API const struct baton_error *baton_last_error(void);
/* The same in one line: "subject: problem; fix". "" if nothing has failed yet. */
BATON_API const char *baton_last_error_text(void);

/* ---- Names ---- */

enum { BATON_A = 0, BATON_B = 1, BATON_EITHER = 0xff };
/* Sets of controllers. */
enum { BATON_MASK_A = 1, BATON_MASK_B = 2, BATON_MASK_BOTH = 3 };

/* A request with another number is answered with BATON_STATUS_INVALID_OPERATION. */
enum baton_operation {
  BATON_READ = 1,         /* blocks of a unit into the arena */
  BATON_WRITE = 2,        /* blocks of the arena to a unit */
  BATON_FLUSH = 3,        /* everything answered before on the unit, to stable storage; no offset, no length */
  BATON_DISCARD = 4,      /* the blocks' contents are no longer needed */
  BATON_WRITE_ZEROES = 5, /* the blocks read as zeroes from now on */
  BATON_FILL_ZEROES = 6,  /* the same, and no hole is made */
  BATON_UNIT_STATE = 18,  /* the answer's value is the unit's state, enum baton_unit_state */
  BATON_SET_UNIT_STATE = 19 /* offset is the new state */
};

/* Flags of a request. */
enum {
  BATON_REQUEST_DURABLE = 0x01, /* writes and zeroes: answered when the data is on stable storage (FUA) */
  BATON_REQUEST_FAST = 0x80     /* write zeroes: refused if the storage would take as long as for a write */
};

enum baton_status {
  BATON_STATUS_SUCCESS = 0,
  BATON_STATUS_INVALID_OPERATION = 1,
  BATON_STATUS_NO_SUCH_UNIT = 2,
  BATON_STATUS_OUT_OF_RANGE = 3,
  BATON_STATUS_MISALIGNED = 4,
  BATON_STATUS_ZERO_LENGTH = 5,
  BATON_STATUS_TOO_LONG = 6,
  BATON_STATUS_BAD_BUFFER = 7,
  BATON_STATUS_INVALID_VALUE = 8,
  BATON_STATUS_READ_ONLY = 9,
  BATON_STATUS_OFFLINE = 10,
  BATON_STATUS_IO_ERROR = 11,
  BATON_STATUS_NO_SPACE = 12,
  BATON_STATUS_UNSUPPORTED = 13,
  BATON_STATUS_LEAVING = 14,         /* no controller took it in time; not executed */
  BATON_STATUS_CONTROLLER_LOST = 15, /* whether it was executed is unknown */
  BATON_STATUS_IN_USE = 16
};
/* A status for people, and as a positive errno: 0 for success. */
BATON_API const char *baton_status_text(uint32_t status);
BATON_API int baton_status_errno(uint32_t status);

enum baton_unit_state { BATON_UNIT_ONLINE = 0, BATON_UNIT_READ_ONLY = 1, BATON_UNIT_OFFLINE = 2 };
enum baton_unit_kind {
  BATON_KIND_FILE = 1,
  BATON_KIND_BLOCK_DEVICE = 2,
  BATON_KIND_MEMORY = 3,
  BATON_KIND_NULL = 4
};

/* How a loop waits: adaptive spins for spin_ns and then sleeps. */
enum baton_wait { BATON_WAIT_ADAPTIVE = 0, BATON_WAIT_SPIN = 1, BATON_WAIT_PARK = 2 };

/* ---- Subsystems, by name: nothing of them is held ---- */

enum {
  BATON_CREATE_REPLACE = 1 << 0, /* destroy what a run that died has left; -EBUSY while a controller runs */
  BATON_CREATE_BUFFERED = 1 << 1 /* files and devices go through the page cache */
};
/* Creates a subsystem. A unit is a word as on the command line: "mem:16M", "null:1G", "/path:64M", "fault:...". */
BATON_API int baton_create(const char *name, const char *const *units, uint32_t count, uint32_t flags);
/* Removes it. Files and devices behind its units stay. */
BATON_API int baton_destroy(const char *name);
/* Waits until these controllers serve, however they were started. -ETIMEDOUT. timeout_ns -1: for ever. */
BATON_API int baton_wait_serving(const char *name, uint32_t mask, int64_t timeout_ns);

/* ---- A controller in this process: turned by the caller, or running in a thread of the caller's ---- */

struct baton_controller;
enum baton_log_level { BATON_LOG_NONE = 0, BATON_LOG_ERROR = 1, BATON_LOG_WARNING = 2, BATON_LOG_INFO = 3 };
struct baton_controller_options {
  uint32_t size; /* of this structure, as the caller knows it */
  uint32_t wait; /* enum baton_wait, for baton_controller_run */
  uint64_t spin_ns;
  uint64_t deadline_ns;     /* silence of the peer, after which it is killed: turn it more often than the peer's */
  uint64_t host_absence_ns; /* how long a host's recovered requests wait for it */
  int64_t residency_ns;     /* how long a contended function is kept; -1: adaptive, 0: only what is pending */
  uint32_t hosts_max;
  uint32_t log_level; /* enum baton_log_level; nothing is logged by default */
  /* Called in the loop, which stands still meanwhile, with one line without its end. NULL: nothing is logged. */
  void (*log)(void *context, uint32_t level, const char *line);
  void *log_context;
};
BATON_API void baton_controller_options_init(struct baton_controller_options *options, size_t size);

/* Opens a subsystem as controller a or b. -EBUSY if that one runs already. */
BATON_API int baton_controller_open(struct baton_controller **controller, const char *name, uint32_t which,
                                    const struct baton_controller_options *options);
/* Turns the loop once; never blocks. 1: there was work; 0: there was none; -ESTALE: it has left, or was fenced. */
BATON_API int baton_controller_turn(struct baton_controller *controller);
/* Sleeps until there is something to do. For a loop that has found nothing. */
BATON_API void baton_controller_park(struct baton_controller *controller);
/* Flags of baton_controller_run. */
enum { BATON_RUN_SIGNALS = 1 << 0 /* SIGTERM and SIGINT stop it: in a process with one thread */ };
/* Turns the loop until it has stopped, waiting as the options say. 0: it has left; -EBUSY: the peer has fenced it. */
BATON_API int baton_controller_run(struct baton_controller *controller, uint32_t flags);
/* ANY THREAD: begins to leave, and wakes it. Its loop must still be turned until baton_controller_stopped. */
BATON_API void baton_controller_stop(struct baton_controller *controller);
BATON_API int baton_controller_serving(const struct baton_controller *controller); /* 1 or 0 */
BATON_API int baton_controller_stopped(const struct baton_controller *controller); /* 1 or 0 */
/* Closes it and sets *controller to NULL, which is also fine before. Unless it has stopped, this is like a crash: its
 * peer takes over. */
BATON_API void baton_controller_close(struct baton_controller **controller);

/* ---- A controller as a process of its own ---- */

struct baton_process;
enum {
  BATON_PROCESS_SUPERVISED = 1 << 0, /* a supervisor starts the controller again whenever it ends */
  BATON_PROCESS_DETACHED = 1 << 1    /* it does not end with the thread that started it */
};
struct baton_process_options {
  uint32_t size;
  uint32_t flags;
  const char *program;          /* Baton's executable; NULL: "baton" in PATH */
  const char *log;              /* the file that its log is appended to; NULL: where this process writes errors */
  const char *const *arguments; /* more words of `baton controller`, ending in NULL; NULL: none */
};
BATON_API void baton_process_options_init(struct baton_process_options *options, size_t size);
/* Starts `baton controller NAME a|b`. */
BATON_API int baton_process_start(struct baton_process **process, const char *name, uint32_t which,
                                  const struct baton_process_options *options);
BATON_API int baton_process_pid(const struct baton_process *process);
/* Waits until its controller serves. -EBUSY if it has ended, or took longer. */
BATON_API int baton_process_wait_serving(struct baton_process *process, int64_t timeout_ns);
/* 1 if it has ended, with *status as a shell has it (128 and the signal); 0 while it runs. status may be NULL. */
BATON_API int baton_process_ended(struct baton_process *process, int *status);
/* Has it leave in good order, and waits for that. -EBUSY if it ended otherwise, or took longer. */
BATON_API int baton_process_stop(struct baton_process *process, int64_t timeout_ns);
/* Kills it (SIGKILL), and waits for its end. */
BATON_API void baton_process_kill(struct baton_process *process);
/* Kills it if it runs, and sets *process to NULL. */
BATON_API void baton_process_close(struct baton_process **process);

/* ---- Hosts ---- */

struct baton_host;
struct baton_host_options {
  uint32_t size;
  uint32_t wait; /* enum baton_wait, for baton_host_reap */
  uint64_t spin_ns;
  uint32_t lines;      /* a power of two up to 4096: one more than the requests outstanding to each controller */
  uint32_t controller; /* BATON_EITHER: attach to both; BATON_A or BATON_B: to that one alone */
  uint64_t arena_size; /* bytes, a multiple of 4096 */
  uint64_t patience_ns; /* how long a request that no controller has taken waits for one */
  /* Called while a call of this host waits, for a thread that turns the controllers as well. Without it such a call
   * would wait for ever there. NULL: other threads or processes turn them. */
  void (*turn)(void *context);
  void *turn_context;
};
BATON_API void baton_host_options_init(struct baton_host_options *options, size_t size);
/* Makes a host, and asks the controllers to attach it. -ENOENT if neither runs. */
BATON_API int baton_host_open(struct baton_host **host, const char *name, const struct baton_host_options *options);
/* Waits until it is attached to all controllers of the mask. -ETIMEDOUT. timeout_ns -1: for ever. */
BATON_API int baton_host_attach(struct baton_host *host, uint32_t mask, int64_t timeout_ns);
/* The controllers that it is attached to at present, as a mask. */
BATON_API uint32_t baton_host_attached(const struct baton_host *host);
BATON_API void baton_host_close(struct baton_host **host);
/* The memory that requests move data through, and its size. It stays where it is until the host is closed. */
BATON_API void *baton_host_arena(struct baton_host *host, size_t *size);

struct baton_request {
  uint8_t operation;   /* enum baton_operation */
  uint8_t flags;       /* BATON_REQUEST_... */
  uint8_t controller;  /* BATON_A, BATON_B or BATON_EITHER; the peer takes it where that one is not attached */
  uint8_t reserved_0;  /* 0 */
  uint32_t unit;
  uint64_t offset; /* bytes in the unit */
  uint64_t length; /* bytes */
  uint64_t buffer; /* bytes in the arena */
  uint64_t cookie; /* the caller's own; comes back in the completion */
  uint64_t reserved_1; /* for later versions; set it to 0 */
};
struct baton_completion {
  uint64_t cookie;
  uint64_t value; /* bytes transferred, or what was asked for */
  uint64_t term;  /* of the unit's ownership when it was served */
  uint8_t status; /* enum baton_status */
  uint8_t controller;  /* that served it */
  uint8_t transferred; /* 1: it waited for a change of owner */
  uint8_t reserved[5];
};
BATON_ASSERT(sizeof(struct baton_request) == 48, "baton_request");
BATON_ASSERT(offsetof(struct baton_request, unit) == 4, "baton_request.unit");
BATON_ASSERT(offsetof(struct baton_request, cookie) == 32, "baton_request.cookie");
BATON_ASSERT(sizeof(struct baton_completion) == 32, "baton_completion");
BATON_ASSERT(offsetof(struct baton_completion, status) == 24, "baton_completion.status");

/* Submits requests, in order. Returns how many it took: fewer than count where there is no room, or no controller.
 * -EINVAL, with none taken, if the first one has an unknown flag or controller, or a reserved byte that is not 0; if a
 * later one has, those before it are taken. Unknown operations are answered: BATON_STATUS_INVALID_OPERATION. */
BATON_API int baton_host_submit(struct baton_host *host, const struct baton_request *requests, uint32_t count);
/* Takes up to max answers, and returns how many. With min 0 it only looks; otherwise it waits until there are min, or
 * until timeout_ns (-1: for ever) have passed, or baton_host_wake was called: fewer than min then. -ENODEV: the
 * subsystem was destroyed, and nobody answers what is outstanding. */
BATON_API int baton_host_reap(struct baton_host *host, struct baton_completion *completions, uint32_t min,
                              uint32_t max, int64_t timeout_ns);
/* One request, and its answer; nothing else may be outstanding. Returns 0 whatever the completion's status. */
BATON_API int baton_host_perform(struct baton_host *host, const struct baton_request *request,
                                 struct baton_completion *completion);
BATON_API uint32_t baton_host_outstanding(const struct baton_host *host);
/* Requests that can be submitted to that controller now. */
BATON_API uint32_t baton_host_room(const struct baton_host *host, uint32_t which);
/* ANY THREAD: ends a wait in baton_host_reap, or the next one. */
BATON_API void baton_host_wake(struct baton_host *host);
/* A descriptor for poll(2) and epoll(7): readable when baton_host_reap should be called again, after a call of it with
 * min 0 that has returned 0. Wait for 100 ms at most: a controller that was away may be back. The descriptor belongs to
 * the host. */
BATON_API int baton_host_fd(struct baton_host *host);

/* ---- View: what anybody may look at, without a controller's help, at a load or a few each ---- */

struct baton_view;
BATON_API int baton_view_open(struct baton_view **view, const char *name);
BATON_API void baton_view_close(struct baton_view **view);
BATON_API uint64_t baton_view_generation(const struct baton_view *view);
BATON_API uint32_t baton_view_units(const struct baton_view *view);

struct baton_ownership {
  uint64_t term;    /* changes of owner so far */
  uint8_t owner;    /* BATON_EITHER: nobody */
  uint8_t requested; /* 1: the owner's peer requests it */
  uint8_t reserved[6];
};
BATON_ASSERT(sizeof(struct baton_ownership) == 16, "baton_ownership");
/* Of a unit; -ENOENT if there is none of that number. */
BATON_API int baton_view_ownership(const struct baton_view *view, uint32_t unit, struct baton_ownership *ownership);

enum baton_phase { BATON_PHASE_ABSENT = 0, BATON_PHASE_SERVING = 1, BATON_PHASE_LEAVING = 2, BATON_PHASE_STARTING = 3 };
enum baton_standing {
  BATON_STANDING_VACANT = 0,
  BATON_STANDING_MEMBER = 1,
  BATON_STANDING_FENCED = 2,
  BATON_STANDING_LEFT = 3
};
struct baton_controller_info {
  uint64_t incarnation;
  uint64_t pid;
  uint8_t phase;    /* enum baton_phase */
  uint8_t standing; /* enum baton_standing */
  uint8_t takeover; /* 0: none; 1: waits for its peer's exit; 2: recovers; 3: stands in for its peer */
  uint8_t parked;
  uint8_t running; /* a process holds its seat: a system call */
  uint8_t reserved[3];
};
BATON_ASSERT(sizeof(struct baton_controller_info) == 24, "baton_controller_info");
BATON_API int baton_view_controller(const struct baton_view *view, uint32_t which, struct baton_controller_info *info);

struct baton_unit_info {
  uint64_t bytes;
  uint32_t block_size;
  uint8_t kind;  /* enum baton_unit_kind */
  uint8_t state; /* enum baton_unit_state */
  uint8_t direct; /* 1: the page cache is bypassed */
  uint8_t reserved;
};
BATON_ASSERT(sizeof(struct baton_unit_info) == 16, "baton_unit_info");
BATON_API int baton_view_unit(const struct baton_view *view, uint32_t unit, struct baton_unit_info *info);

/* The counters, by number: their names never change their numbers. NULL beyond the last one. */
BATON_API uint32_t baton_counter_count(void);
BATON_API const char *baton_counter_name(uint32_t counter);
/* The first `count` counters of a controller; returns how many were written. */
BATON_API int baton_view_counters(const struct baton_view *view, uint32_t which, uint64_t *values, uint32_t count);

#ifdef __cplusplus
}
#endif
#endif

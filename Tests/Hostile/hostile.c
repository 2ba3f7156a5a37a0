// A host that breaks every rule, next to one that keeps them: hostile DIR MODE PID PAIRS MILLISECONDS [COMMAND]
//
// DIR is a subsystem's folder, PID a process that runs `baton run` on it. A child of this process attacks both
// controllers in one way, MODE, and is idle in between, in turn, so many times so long. The rate of the good host
// meanwhile is read from its request lines, whose numbers count its requests. Then COMMAND runs, while the attack goes
// on: whatever is asked of the subsystem in the middle of it.
//
// Prints one line: what was done, how much of a core that took, and the good host's rate compared with its rate while
// that process is idle. Exits 0, 2 when a controller did what it must not do, 3 when COMMAND failed, 1 at any other
// trouble. `hostile modes` lists the modes.
//
// It knows the public layout and nothing else of Baton. tools/check-hostile builds and runs it.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <dirent.h>
#include <time.h>
#include <unistd.h>

#include "baton_layout.h"

// ---- What both processes share ----

struct shared {
  _Atomic int active, stop;
  _Atomic uint64_t attached, refused, expelled, submitted, answered, messages, wrong;
  char what[400];  // the first thing that was wrong
};
static struct shared *shared;
static const char *folder;
static uint64_t good_identity;

// Units that are the attacker's own. Unit 0 is the good host's, and the last one that of COMMAND.
enum { UNIT_FIRST = 1, UNIT_LAST = 3, UNIT_MANAGED = 3, UNITS_MAX = 16 };
// Operations and statuses, as Sources/Channel/Request.swift numbers them.
enum { READ = 1, WRITE, FLUSH, DISCARD, WRITE_ZEROES, FILL_ZEROES, READ_IN_PLACE };
enum { IDENTIFY = 16, LIST_UNITS, UNIT_STATE, SET_UNIT_STATE, STATISTICS };
enum { UNSUPPORTED = 13 };
static const uint64_t transfer_max = 4 << 20, extent_max = 1 << 30;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void wrong(const char *format, ...) {
  if (atomic_fetch_add(&shared->wrong, 1) > 0) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(shared->what, sizeof shared->what, format, arguments);
  va_end(arguments);
}

// Whether the attack goes on. Waits while this process is to be idle.
static int on(void) {
  while (!shared->active && !shared->stop) usleep(500);
  return !shared->stop;
}

static __thread uint64_t state;
static uint64_t any(void) {  // xorshift64*, a stream of its own for each thread
  if (!state) state = 0x9e3779b97f4a7c15ull * (uint64_t)syscall(SYS_gettid) + 1;
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state * 0x2545f4914f6cdd1dull;
}
static uint64_t below(uint64_t count) { return any() % count; }
static uint32_t own_unit(void) { return UNIT_FIRST + (uint32_t)below(UNIT_LAST - UNIT_FIRST + 1); }

// Numbers at which sums wrap and limits are passed.
static uint64_t extreme(uint64_t limit) {
  switch (below(14)) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return INT64_MAX;
    case 3: return 1ull << 63;
    case 4: return limit;
    case 5: return limit - 512;
    case 6: return limit + 512;
    case 7: return limit - 1;
    case 8: return UINT64_MAX - 511;
    case 9: return -limit;
    case 10: return 1ull << below(64);
    case 11: return below(limit / 512 + 2) * 512;
    case 12: return 4096;
    default: return any();
  }
}

// ---- A host ----

struct host {
  int memory, sockets[2];
  uint8_t *base;
  size_t size;
  uint64_t arena, arena_size, sequence[2];
  unsigned lines, line[2], unit_count;
  struct baton_unit_description units[UNITS_MAX];
};
enum { LINES = 256 };
static const uint64_t arena_size = 1 << 20;
static const size_t canary_size = 1 << 16;  // behind the arena, where nobody may write
enum { CANARY = 0xa5 };

static struct baton_request_line *line_of(struct host *host, int controller, unsigned index) {
  return (void *)(host->base + BATON_HOST_HEADER_SIZE + ((size_t)controller * host->lines + index) * 64);
}
static _Atomic uint64_t *flag_of(struct host *host, int controller, unsigned index) {
  return (_Atomic uint64_t *)&line_of(host, controller, index)->flag;
}
static _Atomic uint64_t *parked(struct host *host, int controller) {
  struct baton_host_header *header = (void *)host->base;
  return (_Atomic uint64_t *)(controller ? &header->controller_parked_b : &header->controller_parked_a);
}

static int dial(int controller) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/%c.socket", folder, 'a' + controller);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  for (int tries = 0; fd >= 0 && tries < 200 && !shared->stop; tries++) {
    if (connect(fd, (void *)&address, sizeof address) == 0) return fd;
    if (errno != EAGAIN) break;
    usleep(500);  // its backlog is full
  }
  if (fd >= 0) close(fd);
  return -1;
}

static ssize_t tell(int fd, const void *bytes, size_t count, const int *passed, int passed_count) {
  struct iovec piece = {(void *)bytes, count};
  union {
    char bytes[CMSG_SPACE(253 * sizeof(int))];  // SCM_MAX_FD
    struct cmsghdr header;
  } control;
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (passed_count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)passed_count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)passed_count);
    memcpy(CMSG_DATA(header), passed, sizeof(int) * (size_t)passed_count);
  }
  ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) shared->messages++;
  return sent;
}

static struct baton_attach_request request_of(uint32_t kind) {
  return (struct baton_attach_request){BATON_HOST_MAGIC, BATON_LAYOUT_VERSION, kind, 0};
}

enum reply { ATTACHED, REFUSED, ENDED, SILENT };
static enum reply reply_of(int fd, double seconds) {
  double end = now() + seconds;
  struct baton_attach_reply reply;
  for (;;) {
    ssize_t count = recv(fd, &reply, sizeof reply, MSG_DONTWAIT);
    if (count == (ssize_t)sizeof reply) return reply.refusal == BATON_ATTACHED ? ATTACHED : REFUSED;
    if (count >= 0 || (errno != EAGAIN && errno != EINTR)) return ENDED;
    if (now() > end || shared->stop) return SILENT;
    usleep(100);
  }
}

static int sealed_memory(size_t size, unsigned flags, int seals) {
  int fd = memfd_create("hostile", MFD_CLOEXEC | flags);
  if (fd < 0) return -1;
  if (ftruncate(fd, (off_t)size) != 0) {
    close(fd);
    return -1;
  }
  if (seals) (void)fcntl(fd, F_ADD_SEALS, seals);
  return fd;
}

static struct baton_host_header header_of(struct host *host) {
  struct baton_host_header header = {
      .magic = BATON_HOST_MAGIC, .layout_version = BATON_LAYOUT_VERSION, .lines_per_channel = host->lines,
      .size = host->arena + host->arena_size, .arena_offset = host->arena, .arena_size = host->arena_size,
      .identity = any() | 1};
  return header;
}

// Memory as it should be, and what the controllers must leave alone behind it.
static int make(struct host *host, uint64_t arena) {
  memset(host, 0, sizeof *host);
  host->sockets[0] = host->sockets[1] = -1;
  host->lines = LINES;
  host->arena = (BATON_HOST_HEADER_SIZE + 2ull * LINES * 64 + 4095) & ~4095ull;
  host->arena_size = arena;
  host->size = host->arena + arena + canary_size;
  host->sequence[0] = host->sequence[1] = 1;
  host->memory = sealed_memory(host->size, MFD_ALLOW_SEALING, F_SEAL_SHRINK);
  if (host->memory < 0) return -1;
  host->base = mmap(NULL, host->size, PROT_READ | PROT_WRITE, MAP_SHARED, host->memory, 0);
  if (host->base == MAP_FAILED) {
    close(host->memory);
    return -1;
  }
  struct baton_host_header header = header_of(host);
  memcpy(host->base, &header, sizeof header);
  memset(host->base + host->arena + arena, CANARY, canary_size);
  return 0;
}

static void check_canary(struct host *host) {
  const uint8_t *canary = host->base + host->arena + host->arena_size;
  for (size_t index = 0; index < canary_size; index++)
    if (canary[index] != CANARY) return wrong("byte %zu behind the arena was written to", index);
}

static void drop(struct host *host) {
  if (!host->base) return;
  check_canary(host);
  for (int controller = 0; controller < 2; controller++)
    if (host->sockets[controller] >= 0) close(host->sockets[controller]);
  munmap(host->base, host->size);
  close(host->memory);
  host->base = NULL;
}

static int join(struct host *host, int controller) {
  int fd = dial(controller);
  if (fd < 0) return -1;
  struct baton_attach_request request = request_of(BATON_ATTACH_HOST);
  tell(fd, &request, sizeof request, &host->memory, 1);
  if (reply_of(fd, 10) != ATTACHED) {
    shared->refused++;
    close(fd);
    return -1;
  }
  shared->attached++;
  host->sockets[controller] = fd;
  return 0;
}

// Attached to both, or to one where the other refuses. Tries until then; false: the attack is over.
static int arrive(struct host *host, uint64_t arena) {
  while (on()) {
    if (make(host, arena) != 0) return 0;
    join(host, 0);
    join(host, 1);
    if (host->sockets[0] >= 0 || host->sockets[1] >= 0) return 1;
    drop(host);
    usleep(1000);
  }
  return 0;
}

// Whether a controller has hung up.
static int is_expelled(struct host *host) {
  int expelled = 0;
  char bytes[256];
  for (int controller = 0; controller < 2; controller++) {
    if (host->sockets[controller] < 0) continue;
    ssize_t count = recv(host->sockets[controller], bytes, sizeof bytes, MSG_DONTWAIT);
    if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR))) continue;
    close(host->sockets[controller]);
    host->sockets[controller] = -1;
    shared->expelled++;
    expelled = 1;
  }
  return expelled;
}

static int some_controller(struct host *host) {
  int controller = (int)below(2);
  return host->sockets[controller] >= 0 ? controller : !controller;
}

static void wake(struct host *host, int controller) {
  uint64_t seen = atomic_load(parked(host, controller));
  if (seen < 2) return;
  atomic_store(parked(host, controller), 1);
  if (seen == 3) syscall(SYS_futex, parked(host, controller), FUTEX_WAKE, 1, NULL, NULL, 0);
  if (host->sockets[controller] >= 0) {
    char bell = BATON_MESSAGE_DOORBELL;
    tell(host->sockets[controller], &bell, 1, NULL, 0);
  }
}

static void put(
    struct host *host, int controller, unsigned index, uint8_t operation, uint8_t flags, unsigned next, uint32_t unit,
    uint64_t offset, uint64_t length, uint64_t buffer) {
  struct baton_request_line *line = line_of(host, controller, index);
  line->operation = operation, line->flags = flags, line->next = (uint16_t)next, line->unit = unit;
  line->offset = offset, line->length = length, line->buffer = buffer;
}

static void submit(struct host *host, int controller, unsigned index, uint64_t sequence) {
  atomic_store_explicit(flag_of(host, controller, index), sequence << 16 | 1, memory_order_release);
  shared->submitted++;
  atomic_thread_fence(memory_order_seq_cst);
  wake(host, controller);
}

// One that breaks no rule, without waiting for its answer.
static void ask(
    struct host *host, int controller, uint8_t operation, uint8_t flags, uint32_t unit, uint64_t offset,
    uint64_t length, uint64_t buffer) {
  unsigned index = host->line[controller], next = (index + 1) % host->lines;
  put(host, controller, index, operation, flags, next, unit, offset, length, buffer);
  host->line[controller] = next;
  submit(host, controller, index, host->sequence[controller]++);
}

// Waits for the answer of the last request. Its status; -1: none came, -2: the controller hung up.
static int answer(struct host *host, int controller, double seconds) {
  unsigned index = (host->line[controller] + host->lines - 1) % host->lines;
  uint64_t sequence = host->sequence[controller] - 1;
  double end = now() + seconds;
  for (unsigned looks = 0;; looks++) {
    uint64_t flag = atomic_load_explicit(flag_of(host, controller, index), memory_order_acquire);
    if (flag >> 16 == sequence && (flag & 3) == 2) {
      shared->answered++;
      return (int)(flag >> 8 & 0xff);
    }
    if (looks % 64 == 63) {
      wake(host, controller);
      if (is_expelled(host)) return -2;
      if (now() > end || shared->stop) return -1;
      usleep(20);
    }
  }
}

// ---- Requests that are none ----

static void garbage(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    while (on() && !is_expelled(&host)) {
      int controller = some_controller(&host);
      for (unsigned index = 0; index < host.lines; index++) {
        uint64_t words[8];
        for (int word = 0; word < 8; word++) words[word] = any();
        // Not the good host's unit, and no state of a unit: those would be legal, and felt by others.
        words[1] = (words[1] & 0xffffff00ull) | below(19) | ((below(5) ? any() | 16 : own_unit()) << 32);
        if (below(4)) words[0] = host.sequence[controller] << 16 | 1;
        memcpy((uint8_t *)line_of(&host, controller, index) + 8, words + 1, 56);
        atomic_store(flag_of(&host, controller, index), words[0]);
      }
      shared->submitted += host.lines;
      wake(&host, controller);
    }
    drop(&host);
  }
}

static void plausible(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    while (on() && !is_expelled(&host)) {
      for (int turn = 0; turn < 32; turn++) {
        int controller = some_controller(&host);
        unsigned index = host.line[controller], next = (index + 1 + (unsigned)below(host.lines - 1)) % host.lines;
        uint8_t operation = below(4) ? 1 + (uint8_t)below(7) : (uint8_t)below(19), flags = (uint8_t)any();
        put(&host, controller, index, operation, flags, next, below(8) ? own_unit() : (uint32_t)any() | 16,
            extreme(arena_size), extreme(transfer_max), extreme(arena_size));
        if (!(flags & 2)) host.line[controller] = next;
        submit(&host, controller, index, host.sequence[controller]++);
      }
      usleep(200);
    }
    drop(&host);
  }
}

static int is_legal(struct host *host, uint8_t op, uint32_t unit, uint64_t offset, uint64_t length, uint64_t buffer) {
  int uses_buffer = op <= WRITE || op == IDENTIFY || op == LIST_UNITS || op == STATISTICS;
  if (op == 0 || (op > READ_IN_PLACE && op < IDENTIFY) || op > STATISTICS) return 0;
  if (uses_buffer && (length == 0 || length > transfer_max || buffer > host->arena_size)) return 0;
  if (uses_buffer && length > host->arena_size - buffer) return 0;
  if (op >= IDENTIFY) {
    if (uses_buffer && buffer & 7) return 0;
    if (op == IDENTIFY) return length >= sizeof(struct baton_identity);
    if (op == STATISTICS) return length >= 1024;
    if (op == LIST_UNITS && length < sizeof(struct baton_unit_description)) return 0;
    return unit < host->unit_count;
  }
  if (unit >= host->unit_count) return 0;
  if (op == FLUSH) return 1;
  uint64_t size = host->units[unit].size, mask = host->units[unit].block_size - 1;
  if (length == 0 || length > extent_max || offset > size || length > size - offset) return 0;
  return ((offset | length | (uses_buffer ? buffer : 0)) & mask) == 0;
}

static int learn(struct host *host) {
  int controller = some_controller(host);
  ask(host, controller, LIST_UNITS, 0, 0, 0, sizeof host->units, 0);
  if (answer(host, controller, 10) != 0) return -1;
  uint64_t bytes = line_of(host, controller, (host->line[controller] + host->lines - 1) % host->lines)->value;
  memcpy(host->units, host->base + host->arena, sizeof host->units);
  host->unit_count = bytes <= UNITS_MAX ? (unsigned)bytes : (unsigned)(bytes / sizeof host->units[0]);
  return host->unit_count > UNIT_LAST && host->unit_count <= UNITS_MAX ? 0 : -1;
}

static void extremes(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    if (learn(&host) != 0 && on()) {
      wrong("the units cannot be listed");
      break;
    }
    while (on()) {
      int controller = some_controller(&host);
      uint8_t op = below(6) ? 1 + (uint8_t)below(7) : (uint8_t)any();
      if (op == SET_UNIT_STATE) op = UNIT_STATE;
      uint32_t unit = below(6) ? own_unit() : (uint32_t)any() | 16;
      uint64_t size = unit < host.unit_count ? host.units[unit].size : 4096;
      uint64_t offset = extreme(size), length = extreme(transfer_max), buffer = extreme(arena_size);
      uint8_t flags = (uint8_t)any() & (uint8_t)~2u;  // the next request is always in the next line
      if (op > WRITE && length > 1 << 20) length = below(2) ? 4096 : length | 1;
      int legal = is_legal(&host, op, unit, offset, length, buffer);
      ask(&host, controller, op, flags, unit, offset, length, buffer);
      int status = answer(&host, controller, 20);
      if (shared->stop || status == -2) break;
      if (status < 0)
        wrong("no answer to operation %u, unit %u, offset %#lx, length %#lx", op, unit, offset, length);
      else if (legal ? status != 0 && status != UNSUPPORTED : status == 0)
        wrong("status %d of operation %u, flags %#x, unit %u, offset %#lx, length %#lx, buffer %#lx", status, op, flags,
              unit, offset, length, buffer);
    }
    drop(&host);
  }
}

static void sequences(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    int controller = some_controller(&host);
    for (uint64_t good = below(6); good > 0; good--) {
      ask(&host, controller, READ, 0, own_unit(), 0, 4096, 0);
      answer(&host, controller, 1);
    }
    unsigned index = host.line[controller], lines = host.lines, next = (index + 1) % lines;
    uint64_t sequence = host.sequence[controller];
    uint32_t unit = own_unit();
    switch (below(9)) {
      case 0: next = lines; break;
      case 1: next = 65535; break;
      case 2: next = index; break;
      case 3: sequence += 1 + below(5); break;
      case 4: sequence -= 1; break;
      case 5: sequence = any() >> 16; break;
      case 6:  // one number in two lines
        put(&host, controller, index, READ, 2, next, unit, 0, 4096, 0);
        submit(&host, controller, index, sequence);
        submit(&host, controller, index, sequence + 1);
        index = next;
        sequence += 1;
        break;
      case 7:  // every line at once
        for (unsigned other = 0; other < lines; other++) {
          put(&host, controller, other, WRITE, 0, (unsigned)below(lines), unit, below(16) * 4096, 4096, 0);
          submit(&host, controller, other, sequence + below(lines));
        }
        break;
      default:  // two lines, back and forth, without waiting
        for (int turn = 0; turn < 2000; turn++) {
          put(&host, controller, index, READ, turn & 2, next, unit, 0, 4096, 0);
          submit(&host, controller, index, sequence++);
          unsigned other = index;
          index = next, next = other;
        }
    }
    put(&host, controller, index % lines, READ, 0, next, unit, 0, 4096, 0);
    submit(&host, controller, index % lines, sequence);
    if (below(4) == 0) atomic_store(flag_of(&host, controller, index % lines), sequence << 16 | (any() & 0xffff));
    double end = now() + 0.01;
    while (now() < end && !is_expelled(&host)) usleep(200);
    drop(&host);
  }
}

// ---- Memory that changes under the controllers ----

struct racer {
  pthread_t thread;
  struct host *host;
  _Atomic int ends;
};
static void race(struct racer *racer, struct host *host, void *(*body)(void *)) {
  racer->host = host;
  racer->ends = 0;
  if (pthread_create(&racer->thread, NULL, body, racer) != 0) exit(1);
}
static void end_race(struct racer *racer) {
  racer->ends = 1;
  pthread_join(racer->thread, NULL);
}

static void *rewrite(void *argument) {
  struct racer *racer = argument;
  struct host *host = racer->host;
  static const uint8_t operations[] = {READ, WRITE, WRITE_ZEROES, DISCARD, 0, 99};
  while (!racer->ends && on()) {
    for (int turn = 0; turn < 256; turn++) {
      int controller = (int)below(2);
      struct baton_request_line *line =
          line_of(host, controller, (host->line[controller] + host->lines - 1 - (unsigned)below(8)) % host->lines);
      switch (below(7)) {
        case 0: line->length = below(2) ? 4096 : extreme(transfer_max); break;
        case 1: line->offset = below(2) ? 0 : extreme(1 << 24); break;
        case 2: line->buffer = below(2) ? 0 : extreme(arena_size); break;
        case 3: line->unit = below(2) ? own_unit() : (uint32_t)any() | 16; break;
        case 4: line->operation = operations[below(sizeof operations)]; break;
        case 5: line->value = any(), line->service = any(); break;
        default:
          if (below(64) == 0) line->next = (uint16_t)any();
      }
    }
  }
  return NULL;
}

static void rewriting(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    struct racer racer;
    race(&racer, &host, rewrite);
    while (on() && !is_expelled(&host)) {
      int controller = some_controller(&host);
      for (int turn = 0; turn < 32; turn++)
        ask(&host, controller, READ + (uint8_t)below(2), 0, own_unit(), below(64) * 4096, 4096, below(64) * 4096);
      if (answer(&host, controller, 0.2) < 0) break;
    }
    end_race(&racer);
    drop(&host);
  }
}

static void *scribble(void *argument) {
  struct racer *racer = argument;
  struct host *host = racer->host;
  while (!racer->ends && on())
    for (int turn = 0; turn < 4096; turn++)
      ((volatile uint64_t *)(host->base + host->arena))[below(host->arena_size / 8)] = any();
  return NULL;
}

static void buffers(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    struct racer racer;
    race(&racer, &host, scribble);
    while (on() && !is_expelled(&host)) {
      int controller = some_controller(&host);
      for (int turn = 0; turn < 16; turn++)
        ask(&host, controller, READ + (uint8_t)below(2), (uint8_t)below(2), own_unit(), below(8) * 65536, 65536,
            below(16) * 65536);
      if (answer(&host, controller, 20) < 0 && on()) break;
    }
    end_race(&racer);
    drop(&host);
  }
}

static void *punch(void *argument) {
  struct racer *racer = argument;
  struct host *host = racer->host;
  off_t size = (off_t)host->size, arena = (off_t)host->arena;
  while (!racer->ends && on()) {
    // Reading a hole gives zeroes, and writing fills it: never SIGBUS. All of the arena, and now and then the lines.
    off_t from = below(8) ? arena : BATON_HOST_HEADER_SIZE;
    fallocate(host->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, arena + (off_t)host->arena_size - from);
    if (ftruncate(host->memory, 4096) == 0) wrong("a sealed memory could be shrunk");
    if (ftruncate(host->memory, size + 4096 * (off_t)below(256)) != 0) continue;
    usleep(50);
  }
  return NULL;
}

static void holes(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    struct racer racer;
    race(&racer, &host, punch);
    double end = now() + 0.3;
    while (on() && now() < end && !is_expelled(&host)) {
      int controller = some_controller(&host);
      for (int turn = 0; turn < 8; turn++)
        ask(&host, controller, READ + (uint8_t)below(2), 0, own_unit(), 0, 65536, below(16) * 65536);
      if (answer(&host, controller, 0.05) < 0) break;
    }
    end_race(&racer);
    drop(&host);
  }
}

// ---- Attaching ----

static void must_refuse(const char *what, int fd) {
  if (fd < 0) return;
  int controller = (int)below(2), connection = dial(controller);
  if (connection >= 0) {
    struct baton_attach_request request = request_of(BATON_ATTACH_HOST);
    tell(connection, &request, sizeof request, &fd, 1);
    enum reply reply = reply_of(connection, 20);
    if (reply == ATTACHED) wrong("%s was attached", what);
    if (reply == SILENT && !shared->stop) wrong("%s had no answer", what);
    shared->refused += reply == REFUSED;
    close(connection);
  }
  close(fd);
}

static int host_with(size_t at, const void *bytes, size_t count) {
  struct host host;
  if (make(&host, arena_size) != 0) return -1;
  memcpy(host.base + at, bytes, count);
  int fd = dup(host.memory);
  memset(host.base + host.arena + host.arena_size, CANARY, canary_size);
  drop(&host);
  return fd;
}

static void memories(void) {
  static const struct {
    size_t at, count;
    uint64_t value;
  } fields[] = {
      {offsetof(struct baton_host_header, magic), 8, 1},
      {offsetof(struct baton_host_header, layout_version), 4, BATON_LAYOUT_VERSION + 1},
      {offsetof(struct baton_host_header, lines_per_channel), 4, 0},
      {offsetof(struct baton_host_header, lines_per_channel), 4, 1},
      {offsetof(struct baton_host_header, lines_per_channel), 4, 3},
      {offsetof(struct baton_host_header, lines_per_channel), 4, 2 * BATON_LINES_MAX},
      {offsetof(struct baton_host_header, lines_per_channel), 4, 1u << 31},
      {offsetof(struct baton_host_header, arena_offset), 8, 0},
      {offsetof(struct baton_host_header, arena_offset), 8, UINT64_MAX},
      {offsetof(struct baton_host_header, arena_size), 8, 0},
      {offsetof(struct baton_host_header, arena_size), 8, UINT64_MAX},
      {offsetof(struct baton_host_header, arena_size), 8, 1ull << 63},
      {offsetof(struct baton_host_header, arena_size), 8, 1 << 30},
      {offsetof(struct baton_host_header, identity), 8, 0},
  };
  const size_t size = 1 << 20;
  while (on()) {
    int ends[2];
    must_refuse("memory without a seal", sealed_memory(size, MFD_ALLOW_SEALING, 0));
    must_refuse("memory that takes no seals", sealed_memory(size, 0, 0));
    must_refuse("memory sealed against growing alone", sealed_memory(size, MFD_ALLOW_SEALING, F_SEAL_GROW));
    must_refuse("memory sealed against writing", sealed_memory(size, MFD_ALLOW_SEALING, F_SEAL_SHRINK | F_SEAL_WRITE));
    must_refuse("empty memory", sealed_memory(0, MFD_ALLOW_SEALING, F_SEAL_SHRINK));
    must_refuse("memory of half a header", sealed_memory(4095, MFD_ALLOW_SEALING, F_SEAL_SHRINK));
    must_refuse("memory of zeroes", sealed_memory(size, MFD_ALLOW_SEALING, F_SEAL_SHRINK));
    must_refuse("memory without an end", sealed_memory(INT64_MAX & ~4095ll, MFD_ALLOW_SEALING, F_SEAL_SHRINK));
    must_refuse("huge pages", sealed_memory(2 << 20, MFD_ALLOW_SEALING | MFD_HUGETLB, F_SEAL_SHRINK));
    must_refuse("/dev/zero", open("/dev/zero", O_RDWR));
    must_refuse("a folder", open("/", O_RDONLY));
    must_refuse("a path", open("/", O_PATH));
    must_refuse("an event", eventfd(0, 0));
    must_refuse("a file of the disk", open("/proc/self/exe", O_RDONLY));
    must_refuse("shared memory with a name", open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
    if (pipe(ends) == 0) {
      must_refuse("a pipe", ends[0]);
      close(ends[1]);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0) {
      must_refuse("a socket", ends[0]);
      close(ends[1]);
    }
    for (size_t index = 0; index < sizeof fields / sizeof fields[0]; index++) {
      char what[64];
      snprintf(what, sizeof what, "a header with %#lx at %zu", fields[index].value, fields[index].at);
      must_refuse(what, host_with(fields[index].at, &fields[index].value, fields[index].count));
      if (!on()) return;
    }
  }
}

static void identities(void) {
  size_t at = offsetof(struct baton_host_header, identity);
  while (on()) must_refuse("another host's identity", host_with(at, &good_identity, sizeof good_identity));
}

static void circles(void) {
  struct host host;
  while (arrive(&host, arena_size)) drop(&host);
}

static void prefilled(void) {
  while (on()) {
    struct host host;
    if (make(&host, arena_size) != 0) return;
    for (int controller = 0; controller < 2; controller++)
      for (unsigned index = 0; index < host.lines; index++) {
        uint8_t operation = 1 + (uint8_t)below(6);
        put(&host, controller, index, operation, (uint8_t)any(), below(8) ? (index + 1) % host.lines : (unsigned)any(),
            own_unit(), below(2) ? below(64) * 4096 : extreme(1 << 24), below(2) ? 4096 : extreme(transfer_max),
            below(2) ? 0 : extreme(arena_size));
        uint64_t sequence = below(8) ? index + 1 : any() >> 16;
        atomic_store(flag_of(&host, controller, index), sequence << 16 | (below(4) ? 1 : any() & 0xffff));
      }
    join(&host, 0);
    join(&host, 1);
    usleep((useconds_t)below(2000));
    drop(&host);
  }
}

static void exits(void) {
  while (on()) {
    pid_t child = fork();
    if (child == 0) {
      struct host host;
      if (make(&host, arena_size) == 0 && join(&host, (int)below(2)) == 0) {
        int controller = some_controller(&host);
        for (uint64_t count = 1 + below(64); count > 0; count--)
          ask(&host, controller, READ + (uint8_t)below(2), 0, own_unit(), below(64) * 4096, 4096, below(64) * 4096);
      }
      _exit(0);
    }
    if (child < 0) usleep(1000);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
  }
}

static void returns(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    while (on()) {
      int controller = some_controller(&host);
      for (uint64_t count = 1 + below(32); count > 0; count--)
        ask(&host, controller, READ + (uint8_t)below(2), 0, own_unit(), below(64) * 4096, 4096, below(64) * 4096);
      if (host.sockets[controller] >= 0) close(host.sockets[controller]);
      host.sockets[controller] = -1;
      if (join(&host, controller) != 0 && host.sockets[!controller] < 0) break;
    }
    drop(&host);
  }
}

// ---- Messages ----

static void doorbells(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    while (on() && !is_expelled(&host)) {
      char bell = BATON_MESSAGE_DOORBELL;
      for (int controller = 0; controller < 2; controller++) {
        for (int count = 0; count < 64 && host.sockets[controller] >= 0; count++)
          if (tell(host.sockets[controller], &bell, 1, NULL, 0) < 0) break;
        syscall(SYS_futex, parked(&host, controller), FUTEX_WAKE, 1, NULL, NULL, 0);
      }
    }
    drop(&host);
  }
}

static void connections(void) {
  while (on()) {
    int fd = dial((int)below(2));
    if (fd < 0) continue;
    shared->messages++;
    if (below(2)) {
      struct baton_attach_request request = request_of((uint32_t)below(6));
      tell(fd, &request, sizeof request, NULL, 0);
    }
    close(fd);
  }
}

static void halves(void) {
  static char bytes[65536];
  static const size_t sizes[] = {0, 1, 2, 8, 16, 23, 25, 32, 248, 4096, 65536};
  while (on()) {
    struct baton_attach_request request = request_of((uint32_t)below(7));
    if (below(4) == 0) request.magic = any();
    if (below(4) == 0) request.layout_version = (uint32_t)any();
    memcpy(bytes, &request, sizeof request);
    int fd = dial((int)below(2));
    if (fd < 0) continue;
    tell(fd, bytes, sizes[below(sizeof sizes / sizeof sizes[0])], NULL, 0);
    if (below(2)) reply_of(fd, 0.01);
    close(fd);
  }
}

static void descriptors(void) {
  int many[253];
  for (int index = 0; index < 253; index++) many[index] = open("/dev/null", O_RDWR);
  struct host host;
  while (arrive(&host, arena_size)) {
    char bell[2] = {BATON_MESSAGE_DOORBELL, BATON_MESSAGE_DOORBELL};
    for (int turn = 0; turn < 100 && on() && !is_expelled(&host); turn++) {
      int controller = some_controller(&host);
      tell(host.sockets[controller], bell, 1, many, 1 + (int)below(253));
    }
    int fd = dial((int)below(2));
    if (fd >= 0) {
      struct baton_attach_request request = request_of(BATON_ATTACH_HOST);
      many[0] = host.memory;
      tell(fd, &request, sizeof request, many, 1 + (int)below(253));
      reply_of(fd, 0.05);
      close(fd);
    }
    if (below(2))
      for (int controller = 0; controller < 2; controller++)
        if (host.sockets[controller] >= 0) tell(host.sockets[controller], bell, 2, many, 253);
    drop(&host);
  }
}

// A socket whose close(2) takes a second: it lingers over bytes that nobody reads.
static int lingering(int listener, const struct sockaddr_in *address, int *other) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const void *)address, sizeof *address) != 0) {
    if (fd >= 0) close(fd);
    return -1;
  }
  *other = accept(listener, NULL, NULL);
  struct linger linger = {1, 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  static const char zeroes[65536];
  while (send(fd, zeroes, sizeof zeroes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) continue;
  return fd;
}

static void lingers(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (void *)&address, length) != 0 || listen(listener, 16) != 0) return;
  getsockname(listener, (void *)&address, &length);
  while (on()) {
    int passed[8], others[8], count = 0;
    while (count < 8 && (passed[count] = lingering(listener, &address, &others[count])) >= 0) count++;
    int fd = dial((int)below(2));
    struct baton_attach_request request = request_of(below(2) ? BATON_ATTACH_HOST : BATON_ATTACH_PEER);
    if (fd >= 0) tell(fd, &request, sizeof request, passed, count);
    // From here on the controller holds the last references to them.
    for (int index = 0; index < count; index++) {
      struct linger none = {0, 0};
      (void)none;
      if (fd < 0) setsockopt(passed[index], SOL_SOCKET, SO_LINGER, &none, sizeof none);
      close(passed[index]);
    }
    if (fd >= 0) {
      reply_of(fd, 0.2);
      close(fd);
    }
    usleep(200000);
    for (int index = 0; index < count; index++) close(others[index]);
  }
  close(listener);
}

// Holds connections of one kind and reads nothing that comes by them.
static void hold(uint32_t kind, int asks_again) {
  enum { HELD = 600 };
  static int held[HELD];
  int count = 0;
  while (on()) {
    if (count < HELD) {
      int fd = dial(count & 1);
      if (fd < 0) {
        usleep(5000);
        continue;
      }
      struct baton_attach_request request = request_of(kind);
      if (kind) tell(fd, &request, sizeof request, NULL, 0);
      shared->messages++;
      held[count++] = fd;
    }
    if (asks_again && count > 0) {
      struct baton_attach_request request = request_of(kind);
      tell(held[below((uint64_t)count)], &request, sizeof request, NULL, 0);
    }
    // Those that the controllers have closed make room for new ones.
    for (int index = 0; index < count && count % 16 == 0; index++) {
      char byte;
      if (recv(held[index], &byte, 1, MSG_DONTWAIT | MSG_PEEK) != 0) continue;
      close(held[index]);
      held[index--] = held[--count];
    }
    if (count == HELD) usleep(5000);
  }
  while (count > 0) close(held[--count]);
}
static void silent(void) { hold(0, 0); }
static void peers(void) { hold(BATON_ATTACH_PEER, 0); }
static void asks(void) { hold(BATON_ATTACH_ASK, 1); }

static void deaf(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    // Requests by which it is answered again and again, until its socket is full of what it does not read.
    for (int turn = 0; turn < 500 && on(); turn++) {
      int fd = dial((int)below(2));
      if (fd < 0) continue;
      struct baton_attach_request request = request_of(BATON_ATTACH_ASK);
      for (int count = 0; count < 32; count++) tell(fd, &request, sizeof request, NULL, 0);
      close(fd);
    }
    drop(&host);
  }
}

static void listeners(void) {
  while (on()) {
    int fd = dial((int)below(2));
    if (fd < 0) continue;
    for (uint32_t index = 0; index < 16; index++) {
      int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      struct sockaddr_un address = {.sun_family = AF_UNIX};  // an address of the kernel's choice
      bind(listener, (void *)&address, sizeof address.sun_family);
      listen(listener, 4);
      struct baton_listener_message message = {
          BATON_HOST_MAGIC, BATON_LAYOUT_VERSION, BATON_ATTACH_LISTENER, below(4) ? index : (uint32_t)any(),
          below(2) ? 16 : (uint32_t)any()};
      tell(fd, &message, sizeof message, &listener, below(4) ? 1 : 0);
      close(listener);
    }
    close(fd);
  }
}

// ---- More than anybody needs ----

// Keeps as many requests outstanding as there are lines, all of one sort, and looks at no answer's contents.
static void flood(uint8_t operation, uint64_t length, uint64_t arena) {
  struct host host;
  while (arrive(&host, arena)) {
    unsigned outstanding[2] = {0, 0}, oldest[2] = {0, 0};
    while (on() && !is_expelled(&host)) {
      int worked = 0;
      for (int controller = 0; controller < 2; controller++) {
        if (host.sockets[controller] < 0) continue;
        for (; outstanding[controller] < host.lines - 1; outstanding[controller]++, worked = 1)
          ask(&host, controller, operation, 0, operation == LIST_UNITS ? 0 : own_unit(),
              operation == LIST_UNITS ? 0 : below(4) * length, length, 0);
        while (outstanding[controller] > 0 &&
               (atomic_load(flag_of(&host, controller, oldest[controller])) & 3) == 2) {
          oldest[controller] = (oldest[controller] + 1) % host.lines;
          outstanding[controller]--;
          shared->answered++;
          worked = 1;
        }
        wake(&host, controller);
      }
      if (!worked) usleep(50);
    }
    drop(&host);
  }
}
static void small(void) { flood(READ, 4096, arena_size); }
static void huge(void) { flood(READ, transfer_max, transfer_max); }
static void huge_writes(void) { flood(WRITE, transfer_max, transfer_max); }
static void zeroes(void) { flood(WRITE_ZEROES, 4 << 20, arena_size); }
static void lists(void) { flood(LIST_UNITS, transfer_max, transfer_max); }

// Goes on over lines whose answers it has not looked at.
static void unread(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    for (uint64_t turn = 1; on(); turn++) {
      for (int controller = 0; controller < 2; controller++)
        if (host.sockets[controller] >= 0) ask(&host, controller, READ, 0, own_unit(), 0, 512, 0);
      if (turn % 256 == 0 && is_expelled(&host)) break;
    }
    drop(&host);
  }
}

// Transfers all over an arena of which nothing has been touched: what they fill is charged to somebody.
static void sparse(void) {
  const uint64_t arena = 4ull << 30;
  struct host host;
  while (arrive(&host, arena)) {
    while (on() && !is_expelled(&host)) {
      int controller = some_controller(&host);
      for (int turn = 0; turn < 16; turn++)
        ask(&host, controller, READ + (uint8_t)below(2), 0, own_unit(), 0, 65536, below(arena / 65536) * 65536);
      answer(&host, controller, 5);
      // Not to fill the machine's memory itself.
      fallocate(host.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)host.arena, (off_t)arena);
    }
    drop(&host);
  }
}

static void management(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    while (on() && !is_expelled(&host)) {
      int controller = some_controller(&host);
      static const uint8_t operations[] = {IDENTIFY, LIST_UNITS, UNIT_STATE, SET_UNIT_STATE, STATISTICS};
      for (int turn = 0; turn < 64; turn++)
        ask(&host, controller, operations[below(5)], 0, UNIT_MANAGED, below(4), 4096, 0);
      answer(&host, controller, 5);
    }
    // As it was.
    int controller = some_controller(&host);
    if (host.sockets[controller] >= 0) {
      ask(&host, controller, SET_UNIT_STATE, 0, UNIT_MANAGED, 0, 0, 0);
      for (int looks = 0; looks < 5000; looks++) {
        unsigned index = (host.line[controller] + host.lines - 1) % host.lines;
        if ((atomic_load(flag_of(&host, controller, index)) & 3) == 2) break;
        wake(&host, controller);
        usleep(1000);
      }
    }
    drop(&host);
  }
}

static void words(void) {
  struct host host;
  while (arrive(&host, arena_size)) {
    struct baton_host_header *header = (void *)host.base;
    while (on() && !is_expelled(&host)) {
      for (int turn = 0; turn < 64; turn++) {
        int controller = (int)below(2);
        atomic_store(parked(&host, controller), below(3) ? below(5) : any());
        atomic_store((_Atomic uint64_t *)&header->host_parked, below(3) ? 3 : any());
        syscall(SYS_futex, parked(&host, controller), FUTEX_WAKE, 1 + (int)below(3), NULL, NULL, 0);
        // Words of the header that controllers have looked at already.
        if (below(8) == 0) header->arena_size = any(), header->lines_per_channel = (uint32_t)any();
      }
      int controller = some_controller(&host);
      ask(&host, controller, READ, 0, own_unit(), 0, 512, 0);
      atomic_store((_Atomic uint64_t *)&header->host_parked, 3);
      answer(&host, controller, 0.5);
    }
    drop(&host);
  }
}

// ---- The measurement ----

static const struct {
  const char *name;
  void (*attack)(void);
} modes[] = {
    {"garbage", garbage}, {"plausible", plausible}, {"extremes", extremes}, {"sequences", sequences},
    {"rewriting", rewriting}, {"buffers", buffers}, {"holes", holes}, {"memories", memories},
    {"identities", identities}, {"circles", circles}, {"prefilled", prefilled}, {"exits", exits},
    {"returns", returns}, {"doorbells", doorbells}, {"connections", connections}, {"halves", halves},
    {"descriptors", descriptors}, {"lingers", lingers}, {"silent", silent}, {"peers", peers}, {"asks", asks},
    {"deaf", deaf}, {"listeners", listeners}, {"small", small}, {"huge", huge}, {"huge-writes", huge_writes},
    {"zeroes", zeroes}, {"lists", lists}, {"unread", unread}, {"sparse", sparse}, {"management", management},
    {"words", words},
};
enum { MODES = sizeof modes / sizeof modes[0] };

static int trouble(const char *what) {
  fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
  return 1;
}

// The memory of the good host, by one of its descriptors; nil where it has none yet.
static const uint8_t *memory_of(pid_t pid) {
  char path[PATH_MAX], target[PATH_MAX];
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  DIR *descriptors = opendir(path);
  const uint8_t *found = NULL;
  for (struct dirent *entry; descriptors && !found && (entry = readdir(descriptors));) {
    snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
    ssize_t count = readlink(path, target, sizeof target - 1);
    if (count < 0) continue;
    target[count] = 0;
    if (strncmp(target, "/memfd:baton-host", 17) != 0) continue;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0) continue;
    if (fstat(fd, &facts) == 0 && facts.st_size > BATON_HOST_HEADER_SIZE) {
      void *base = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_SHARED, fd, 0);
      if (base != MAP_FAILED) {
        const struct baton_host_header *header = base;
        uint64_t lines = BATON_HOST_HEADER_SIZE + 2ull * header->lines_per_channel * 64;
        if (header->magic == BATON_HOST_MAGIC && lines <= (uint64_t)facts.st_size) found = base;
      }
    }
    close(fd);
  }
  if (descriptors) closedir(descriptors);
  return found;
}

// How many requests it has submitted: the numbers of each channel count from 1, and the highest stands in some line.
static uint64_t requests_of(const uint8_t *base) {
  const struct baton_host_header *header = (const void *)base;
  uint64_t sum = 0;
  for (int controller = 0; controller < 2; controller++) {
    uint64_t highest = 0;
    for (unsigned index = 0; index < header->lines_per_channel; index++) {
      const _Atomic uint64_t *flag = (const void *)(base + BATON_HOST_HEADER_SIZE +
                                                    ((size_t)controller * header->lines_per_channel + index) * 64);
      uint64_t sequence = atomic_load_explicit(flag, memory_order_relaxed) >> 16;
      if (sequence > highest) highest = sequence;
    }
    sum += highest;
  }
  return sum;
}

// The good host's rate while the attacker is active or idle. The first part of the time does not count.
static double rate(const uint8_t *base, int active, double seconds) {
  shared->active = active;
  usleep((useconds_t)(seconds * 0.2e6));
  double start = now();
  uint64_t before = requests_of(base);
  usleep((useconds_t)(seconds * 0.8e6));
  return (double)(requests_of(base) - before) / (now() - start);
}

static int ascending(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return (difference > 0) - (difference < 0);
}
static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, ascending);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double seconds_of(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec * 1e-6; }

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "modes") == 0) {
    for (int mode = 0; mode < MODES; mode++) printf("%s\n", modes[mode].name);
    return 0;
  }
  enum { PAIRS_MAX = 10000 };
  int mode = 0, pairs = count >= 6 ? atoi(arguments[4]) : 0;
  while (mode < MODES && count >= 6 && strcmp(modes[mode].name, arguments[2]) != 0) mode++;
  if (count < 6 || count > 7 || mode == MODES || pairs < 1 || pairs > PAIRS_MAX) {
    fprintf(stderr, "usage: hostile DIR MODE PID PAIRS MILLISECONDS [COMMAND], or hostile modes\n");
    return 64;
  }
  folder = arguments[1];
  pid_t good = atoi(arguments[3]);
  double seconds = atof(arguments[5]) / 1000;
  signal(SIGPIPE, SIG_IGN);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return trouble("mmap");
  const uint8_t *base = NULL;
  for (double end = now() + 20; now() < end && (!base || requests_of(base) < 1000); usleep(2000))
    if (!base) base = memory_of(good);
  if (!base) return trouble("no memory of the good host");
  good_identity = ((const struct baton_host_header *)base)->identity;

  pid_t attacker = fork();
  if (attacker < 0) return trouble("fork");
  if (attacker == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &limit);
    modes[mode].attack();
    _exit(0);
  }
  static double ratios[PAIRS_MAX];
  int measured = 0;
  double active_seconds = 0;
  for (int pair = 0; pair < pairs; pair++) {
    double rates[2];
    for (int half = 0; half < 2; half++) {
      int active = (pair + half) & 1;
      rates[active] = rate(base, active, seconds);
      if (active) active_seconds += seconds;
    }
    if (rates[0] > 0) ratios[measured++] = rates[1] / rates[0];
  }
  int status = 0;
  if (count == 7) {
    double start = now();
    shared->active = 1;
    status = system(arguments[6]);
    active_seconds += now() - start;
  }
  shared->stop = 1;
  int left = 0, ending = 0;
  struct rusage usage = {0};
  for (double end = now() + 30; now() < end && !left; usleep(2000))
    left = wait4(attacker, &ending, WNOHANG, &usage) == attacker;
  if (!left) {
    wrong("the attacker waited for an answer that did not come");
    kill(attacker, SIGKILL);
    wait4(attacker, &ending, 0, &usage);
  } else if (ending != 0) {
    wrong("the attacker ended with status %#x", ending);
  }
  double core = (seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime)) / active_seconds;
  printf("%-12s %3.0f %% of a core; good host at %.2f; ", modes[mode].name, core * 100,
         measured ? median(ratios, measured) : 0);
  printf("attached %lu, refused %lu, expelled %lu, requests %lu, messages %lu", shared->attached, shared->refused,
         shared->expelled, shared->submitted, shared->messages);
  if (shared->wrong) printf("; WRONG %lu times, first: %s", shared->wrong, shared->what);
  if (status != 0) printf("; the command ended with %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  printf("\n");
  return shared->wrong ? 2 : status != 0 ? 3 : 0;
}

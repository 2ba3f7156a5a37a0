// As much of a kernel as Baton asks for: io_uring under liburing's own names, futexes, process numbers, pidfds, the end
// of a process, descriptors and mappings by their owner, the clock, and a disk that forgets what was not synced. The
// executable's own definitions come before those of shared libraries, and before the weak ones of the C shims.
//
// Files, sockets, and the locks on open file descriptions are real: one thread makes them deterministic.
#ifdef BATON_SIMULATION
#define _GNU_SOURCE
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { OP_FUTEX_WAIT = 51, SECTOR = 512, HELD_FROM = 2000 };



static uint64_t delay(uint64_t most) { return most ? draw(RANDOM_TRANSFERS, most) : 0; }

static struct process *self(void) { return &machine.processes[machine.fibers[machine.current].process]; }
static int own_process(void) { return machine.fibers[machine.current].process; }

static void due_at(uint64_t when) {
  if (when < machine.kernel_due) machine.kernel_due = when;
}

// ---- Descriptors, by owner

static short owner_of[DESCRIPTORS_MAX], pidfd_of[DESCRIPTORS_MAX], peer_of[DESCRIPTORS_MAX];
// Something may have become readable.
static bool is_stirred;

static int opened(int fd) {
  if (fd < 0 || fd >= DESCRIPTORS_MAX || !machine.is_active) return fd;
  owner_of[fd] = (short)own_process();
  pidfd_of[fd] = peer_of[fd] = 0;
  return fd;
}

static void stir(void) {
  is_stirred = true;
  machine.kernel_due = machine.now;
}

// A descriptor of the kernel's own to the same open file: it holds the file, and its locks.
static int held(int fd) { return (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HELD_FROM); }

int close(int fd) {
  if (machine.is_active && fd >= 0 && fd < DESCRIPTORS_MAX) {
    owner_of[fd] = pidfd_of[fd] = peer_of[fd] = 0;
    stir();
  }
  return (int)syscall(SYS_close, fd);
}

// What /proc says of a process (proc(5)): its number and, in field 22, when it began.
static int open_process_status(int pid) {
  for (int index = machine.process_count - 1; index > 0; index--) {
    struct process *process = &machine.processes[index];
    if (process->pid != pid || process->state == MACHINE_GONE) continue;
    char text[256];
    int count = snprintf(text, sizeof text, "%d (baton) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %llu 0 0\n", pid,
                         (unsigned long long)process->started * 100);
    int fd = opened((int)syscall(SYS_memfd_create, "status", MFD_CLOEXEC));
    if (fd < 0) return fd;
    if (write(fd, text, (size_t)count) != count || lseek(fd, 0, SEEK_SET) != 0) abort();
    return fd;
  }
  errno = ENOENT;
  return -1;
}

static int open_any(int folder, const char *path, int flags, int mode) {
  int pid;
  if (machine.is_active && machine.current) {
    step(10, 0);
    if (strcmp(path, "/proc/self/stat") == 0) return open_process_status(self()->pid);
    if (sscanf(path, "/proc/%d/stat", &pid) == 1) return open_process_status(pid);
  }
  return opened((int)syscall(SYS_openat, folder, path, flags, mode));
}

#define MODE_OF(flags)                              \
  int mode = 0;                                     \
  if ((flags) & (O_CREAT | O_TMPFILE)) {            \
    va_list list;                                   \
    va_start(list, flags);                          \
    mode = va_arg(list, int);                       \
    va_end(list);                                   \
  }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_any(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_any(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_OF(flags) return open_any(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) {
  MODE_OF(flags) return open_any(folder, path, flags, mode);
}

int memfd_create(const char *name, unsigned flags) { return opened((int)syscall(SYS_memfd_create, name, flags)); }
int eventfd(unsigned count, int flags) { return opened((int)syscall(SYS_eventfd2, count, flags)); }
int socket(int domain, int type, int protocol) { return opened((int)syscall(SYS_socket, domain, type, protocol)); }

// ---- Sockets: real ones. Only the process at the other end is the simulation's own.

static struct { char path[108]; int process; } listeners[64];
static int listener_count;

int listen(int fd, int backlog) {
  if (machine.current) {
    step(11, 0);
    struct sockaddr_un address = {0};
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 && address.sun_family == AF_UNIX) {
      int index = 0;
      while (index < listener_count && strcmp(listeners[index].path, address.sun_path)) index++;
      if (index == listener_count && listener_count < 64) listener_count++;
      snprintf(listeners[index].path, sizeof listeners[index].path, "%s", address.sun_path);
      listeners[index].process = own_process();
    }
  }
  return (int)syscall(SYS_listen, fd, backlog);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  static uint32_t number;
  if (!machine.current || address->sa_family != AF_UNIX) return (int)syscall(SYS_connect, fd, address, length);
  step(12, 0);
  // A name without a file, by which the other end knows the process.
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  int count = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "baton-simulated-%ld-%d-%u", syscall(SYS_getpid),
                       own_process(), number++);
  syscall(SYS_bind, fd, &name, offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)count);
  int status = (int)syscall(SYS_connect, fd, address, length);
  if (status == 0 && fd < DESCRIPTORS_MAX) {
    const struct sockaddr_un *to = (const struct sockaddr_un *)address;
    for (int index = 0; index < listener_count; index++) {
      if (strcmp(listeners[index].path, to->sun_path) == 0) peer_of[fd] = (short)listeners[index].process;
    }
  }
  stir();
  return status;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  if (machine.current) step(13, 0);
  int accepted = opened((int)syscall(SYS_accept4, fd, address, length, flags));
  if (accepted < 0 || accepted >= DESCRIPTORS_MAX || !machine.current) return accepted;
  struct sockaddr_un name = {0};
  socklen_t count = sizeof name;
  long real;
  int process = 0;
  if (syscall(SYS_getpeername, accepted, &name, &count) == 0 &&
      sscanf(name.sun_path + 1, "baton-simulated-%ld-%d-", &real, &process) == 2) {
    peer_of[accepted] = (short)process;
  }
  return accepted;
}

static int open_pidfd(int process) {
  // A process that is dying can still be named, and its descriptor becomes readable; one that is gone cannot.
  if (process <= 0 || machine.processes[process].state == MACHINE_GONE) {
    errno = ESRCH;
    return -1;
  }
  int fd = opened((int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (fd >= 0) pidfd_of[fd] = (short)process;
  if (fd >= 0 && machine.processes[process].end_stage >= 3) eventfd_write(fd, 1);
  return fd;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
  if (machine.current && level == SOL_SOCKET && fd >= 0 && fd < DESCRIPTORS_MAX && peer_of[fd]) {
    if (name == SO_PEERCRED) {
      struct ucred peer = {machine.processes[peer_of[fd]].pid, geteuid(), getegid()};
      memcpy(value, &peer, sizeof peer);
      return 0;
    }
    if (name == 77) {  // SO_PEERPIDFD
      int pidfd = open_pidfd(peer_of[fd]);
      if (pidfd < 0) return -1;
      memcpy(value, &pidfd, sizeof pidfd);
      return 0;
    }
  }
  return (int)syscall(SYS_getsockopt, fd, level, name, value, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  if (machine.current) step(14, 0);
  ssize_t sent = syscall(SYS_sendmsg, fd, message, flags);
  if (sent >= 0 && machine.is_active) stir();
  if (sent >= 0 && machine.current && message->msg_controllen > 0 && self()->handed_nth && --self()->handed_nth == 0) {
    trigger_soon(self()->steps_after_handing);
  }
  return sent;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  if (machine.current) step(15, 0);
  ssize_t got = syscall(SYS_recvmsg, fd, message, flags);
  for (struct cmsghdr *header = got < 0 ? 0 : CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < count; index++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + index * sizeof fd, sizeof fd);
      opened(fd);
    }
  }
  return got;
}

int shutdown(int fd, int how) {
  if (machine.current) step(16, 0);
  int status = (int)syscall(SYS_shutdown, fd, how);
  if (machine.is_active) stir();
  return status;
}

void machine_cut(int process) {
  for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
    if (owner_of[fd] == process && peer_of[fd]) syscall(SYS_shutdown, fd, SHUT_RDWR);
  }
  stir();
}

// ---- Mappings. The kernel has its own mapping of each file that processes share, which outlives them.

struct object {
  dev_t device;
  ino_t inode;
  char *pages;
  size_t size;
};
// A run in which hosts come back often needs several hundred: each brings memory of its own.
static struct object objects[1024];
static int object_count;

struct mapping {
  char *base;
  size_t size;
  int process, object;
  uint64_t offset;
};
static struct mapping mappings[1024];
static int mapping_count;

static int object_of(int fd) {
  struct stat facts;
  if (fstat(fd, &facts)) return -1;
  for (int index = 0; index < object_count; index++) {
    if (objects[index].device == facts.st_dev && objects[index].inode == facts.st_ino) return index;
  }
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int own = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (own < 0 || object_count == sizeof objects / sizeof *objects) abort();
  char *pages = (char *)syscall(SYS_mmap, 0L, facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0L);
  syscall(SYS_close, own);
  if (pages == MAP_FAILED) abort();
  objects[object_count] = (struct object){facts.st_dev, facts.st_ino, pages, (size_t)facts.st_size};
  return object_count++;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  void *base = (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
  if (machine.current && base != MAP_FAILED && flags & MAP_SHARED && fd >= 0) {
    if (mapping_count == sizeof mappings / sizeof *mappings) abort();
    mappings[mapping_count++] = (struct mapping){base, size, own_process(), object_of(fd), (uint64_t)offset};
  }
  return base;
}

int munmap(void *base, size_t size) {
  // A store that a program has made is not undone by its letting go of the memory.
  for (int fiber = 1; machine.is_active && fiber < machine.fiber_count; fiber++) land_stores(fiber);
  for (int index = 0; machine.is_active && index < mapping_count; index++) {
    if (mappings[index].base == base) {
      mappings[index] = mappings[--mapping_count];
      break;
    }
  }
  return (int)syscall(SYS_munmap, base, size);
}

static const struct mapping *mapping_of(const void *address) {
  for (int index = mapping_count - 1; index >= 0; index--) {
    if ((size_t)((const char *)address - mappings[index].base) < mappings[index].size) return &mappings[index];
  }
  return 0;
}

uint64_t place_of(const void *address) {
  const struct mapping *mapping = mapping_of(address);
  if (!mapping) return 0;
  uint64_t offset = (uint64_t)((const char *)address - mapping->base) + mapping->offset;
  return (uint64_t)(mapping->object + 1) << 40 | offset;
}

// The same bytes in the kernel's own mapping, which stays when the process ends.
static char *kernel_address(void *address) {
  const struct mapping *mapping = mapping_of(address);
  if (!mapping) return address;
  return objects[mapping->object].pages + mapping->offset + ((char *)address - mapping->base);
}

void machine_trigger_at_store(int process, const char *path, uint64_t offset, uint64_t count, uint32_t nth) {
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) abort();
  uint64_t base = (uint64_t)(object_of(fd) + 1) << 40;
  syscall(SYS_close, fd);
  machine.processes[process].watch_from = base + offset;
  machine.processes[process].watch_to = base + offset + count;
  machine.processes[process].watch_nth = nth;
}

// ---- Disks: what has been synced, sector by sector

struct past {
  uint64_t last, *names;
  uint32_t count, room;
};

struct disk {
  dev_t device;
  ino_t inode;
  size_t size;
  char *stable;
  uint64_t *written, *synced;  // the number of the last change of each sector
  struct past *past;           // the writes that each sector has had
};
static struct disk disks[16];
static int disk_count;
static uint64_t change_number;

static struct disk *disk_of(int fd) {
  struct stat facts;
  if (fstat(fd, &facts)) return 0;
  for (int index = 0; index < disk_count; index++) {
    if (disks[index].device == facts.st_dev && disks[index].inode == facts.st_ino) return &disks[index];
  }
  if (disk_count == 16) abort();
  size_t sectors = ((size_t)facts.st_size + SECTOR - 1) / SECTOR;
  disks[disk_count] = (struct disk){facts.st_dev,           facts.st_ino,
                                    (size_t)facts.st_size,  calloc(sectors, SECTOR),
                                    calloc(sectors, sizeof(uint64_t)), calloc(sectors, sizeof(uint64_t)),
                                    calloc(sectors, sizeof(struct past))};
  return &disks[disk_count++];
}

static char complaint[256];

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...) {
  if (complaint[0]) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(complaint, sizeof complaint, format, arguments);
  va_end(arguments);
}

const char *machine_complaint(void) { return complaint[0] ? complaint : 0; }

// A sector holds what this write has written; 0: zeroes. Each write takes effect once: also when it is executed again,
// nothing has come in between.
static void holds(struct disk *disk, size_t sector, uint64_t name, const char *process) {
  struct past *past = &disk->past[sector];
  if (past->last == name) return;
  past->last = name;
  if (name == 0) return;
  for (uint32_t index = 0; index < past->count; index++) {
    if (past->names[index] != name) continue;
    complain("host %u request %u, given to the kernel by %s, was written to sector %zu again after another write",
             (unsigned)(name >> 32) - 1, (unsigned)name, process, sector);
  }
  if (past->count == past->room) {
    past->room = past->room ? 2 * past->room : 16;
    past->names = realloc(past->names, past->room * sizeof past->names[0]);
  }
  past->names[past->count++] = name;
}

struct snapshot {
  size_t count;
  struct { size_t sector; uint64_t number; char bytes[SECTOR]; } entries[];
};

// What a sync that begins now makes durable.
static struct snapshot *begin_sync(int fd) {
  struct disk *disk = disk_of(fd);
  size_t sectors = disk->size / SECTOR, count = 0;
  for (size_t sector = 0; sector < sectors; sector++) count += disk->written[sector] > disk->synced[sector];
  struct snapshot *snapshot = malloc(sizeof *snapshot + count * sizeof snapshot->entries[0]);
  snapshot->count = 0;
  for (size_t sector = 0; sector < sectors; sector++) {
    if (disk->written[sector] <= disk->synced[sector]) continue;
    snapshot->entries[snapshot->count].sector = sector;
    snapshot->entries[snapshot->count].number = disk->written[sector];
    pread(fd, snapshot->entries[snapshot->count++].bytes, SECTOR, (off_t)(sector * SECTOR));
  }
  return snapshot;
}

static void end_sync(int fd, struct snapshot *snapshot) {
  struct disk *disk = disk_of(fd);
  for (size_t index = 0; index < snapshot->count; index++) {
    size_t sector = snapshot->entries[index].sector;
    if (disk->synced[sector] >= snapshot->entries[index].number) continue;
    disk->synced[sector] = snapshot->entries[index].number;
    memcpy(disk->stable + sector * SECTOR, snapshot->entries[index].bytes, SECTOR);
  }
}

static void changed(int fd, uint64_t offset, uint64_t count, const char *process) {
  struct disk *disk = disk_of(fd);
  change_number++;
  for (uint64_t sector = offset / SECTOR; sector < (offset + count + SECTOR - 1) / SECTOR; sector++) {
    if (sector >= disk->size / SECTOR) break;
    disk->written[sector] = change_number;
    uint64_t name = 0;
    pread(fd, &name, sizeof name, (off_t)(sector * SECTOR));
    holds(disk, sector, name, process);
  }
}

static void sync_range(int fd, uint64_t offset, uint64_t count) {
  struct disk *disk = disk_of(fd);
  for (uint64_t sector = offset / SECTOR; sector < (offset + count + SECTOR - 1) / SECTOR; sector++) {
    if (sector >= disk->size / SECTOR) break;
    disk->synced[sector] = disk->written[sector];
    pread(fd, disk->stable + sector * SECTOR, SECTOR, (off_t)(sector * SECTOR));
  }
}

void machine_lose_power(const char *path, uint64_t seed, void *bytes, size_t count) {
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) abort();
  struct disk *disk = disk_of(fd);
  pread(fd, bytes, count, 0);
  machine.random[RANDOM_TRANSFERS] = seed;
  for (size_t sector = 0; sector < count / SECTOR; sector++) {
    bool is_lost = disk->written[sector] > disk->synced[sector] && draw(RANDOM_TRANSFERS, 2);
    if (is_lost) memcpy((char *)bytes + sector * SECTOR, disk->stable + sector * SECTOR, SECTOR);
  }
  syscall(SYS_close, fd);
}

// ---- io_uring

struct ring {
  struct ring *next;
  struct io_uring *ring;
  int process;
  bool is_gone;
  unsigned submission_head, submission_mask, submission_entries, flags;
  unsigned completion_head, completion_tail, completion_mask, completion_entries;
  struct io_uring_sqe *submissions;
  struct io_uring_cqe *completions;
};
static struct ring *rings;

// An operation that the kernel works on.
struct operation {
  struct operation *next;
  struct ring *ring;
  struct io_uring_sqe entry;
  uint64_t due, number, futex;
  int file;             // holds the open file
  char *memory;         // where a transfer's bytes lie
  uint32_t count, done;  // bytes to be transferred
  int failure;          // what it ends with instead: -errno
  bool never_lands;     // the rest of it
  unsigned posted;      // of a watch: the completion after its last one
  struct snapshot *snapshot;
};
static struct operation *operations;
static uint64_t operation_number;

static struct ring *ring_of(const struct io_uring *ring) {
  for (struct ring *each = rings; each; each = each->next) {
    if (each->ring == ring && !each->is_gone) return each;
  }
  abort();
}

bool has_completions(struct ring *ring, unsigned count) {
  return ring->completion_tail - ring->completion_head >= count;
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *parameters) {
  if (machine.current) step(20, 0);
  struct ring *own = calloc(1, sizeof *own);
  unsigned completions = parameters->flags & IORING_SETUP_CQSIZE ? parameters->cq_entries : 2 * entries;
  own->ring = ring;
  own->process = own_process();
  own->next = rings;
  rings = own;
  own->submission_entries = entries;
  own->submission_mask = entries - 1;
  own->completion_entries = completions;
  own->completion_mask = completions - 1;
  own->submissions = calloc(entries, sizeof *own->submissions);
  own->completions = calloc(completions, sizeof *own->completions);
  memset(ring, 0, sizeof *ring);
  ring->sq.khead = &own->submission_head;
  ring->sq.ktail = &ring->sq.sqe_tail;
  ring->sq.kflags = &own->flags;
  ring->sq.sqes = own->submissions;
  ring->sq.ring_mask = own->submission_mask;
  ring->sq.ring_entries = entries;
  ring->sq.kring_mask = &own->submission_mask;
  ring->sq.kring_entries = &own->submission_entries;
  ring->cq.khead = &own->completion_head;
  ring->cq.ktail = &own->completion_tail;
  ring->cq.kring_mask = &own->completion_mask;
  ring->cq.kring_entries = &own->completion_entries;
  ring->cq.cqes = own->completions;
  ring->cq.ring_mask = own->completion_mask;
  ring->cq.ring_entries = completions;
  ring->ring_fd = ring->enter_ring_fd = -1;
  return 0;
}

static void complete(struct ring *ring, uint64_t token, int result, unsigned flags) {
  if (ring->is_gone) return;
  if (ring->completion_tail - ring->completion_head > ring->completion_mask) abort();
  struct io_uring_cqe *entry = &ring->completions[ring->completion_tail & ring->completion_mask];
  entry->user_data = token;
  entry->res = result;
  entry->flags = flags;
  ring->completion_tail++;
}

static bool is_transfer(const struct operation *operation) {
  switch (operation->entry.opcode) {
    case IORING_OP_READ: case IORING_OP_WRITE: case IORING_OP_FSYNC: case IORING_OP_FALLOCATE: return true;
    default: return false;
  }
}

static void drop(struct operation *operation) {
  if (operation->file >= 0) syscall(SYS_close, operation->file);
  free(operation->snapshot);
  free(operation);
}

// Ends what waits in a ring: all of it, or one operation. A transfer cannot be cancelled.
static bool cancel(struct ring *ring, uint64_t token, bool is_all) {
  bool found = false;
  for (struct operation **each = &operations; *each;) {
    struct operation *operation = *each;
    if (operation->ring != ring || is_transfer(operation) || (!is_all && operation->entry.user_data != token)) {
      each = &operation->next;
      continue;
    }
    *each = operation->next;
    complete(ring, operation->entry.user_data, -ECANCELED, 0);
    drop(operation);
    found = true;
  }
  return found;
}

static bool changes(const struct operation *operation) {
  return operation->entry.opcode == IORING_OP_WRITE || operation->entry.opcode == IORING_OP_FALLOCATE;
}

// Two writes that overlap are never in the kernel's hands at a time: a survivor could not tell which of them landed
// last. Nor is a read begun over a write that a dead process has left there.
static void look_for_overlap(const struct operation *operation) {
  const struct io_uring_sqe *entry = &operation->entry;
  uint64_t count = entry->opcode == IORING_OP_FALLOCATE ? entry->addr : entry->len;
  if (entry->opcode == IORING_OP_FSYNC) return;
  struct stat own;
  if (fstat(operation->file, &own)) abort();
  for (const struct operation *other = operations; other; other = other->next) {
    if (!changes(other) || !(changes(operation) || other->ring->is_gone)) continue;
    uint64_t others = other->entry.opcode == IORING_OP_FALLOCATE ? other->entry.addr : other->entry.len;
    if (other->entry.off >= entry->off + count || entry->off >= other->entry.off + others) continue;
    struct stat facts;
    if (fstat(other->file, &facts)) abort();
    if (facts.st_ino != own.st_ino || facts.st_dev != own.st_dev) continue;
    complain("%s of %s at %llu was begun over a write of %s%s that is in the kernel's hands, at %llu",
             changes(operation) ? "a write" : "a read", machine.processes[operation->ring->process].name,
             (unsigned long long)entry->off, machine.processes[other->ring->process].name,
             other->ring->is_gone ? ", which is dead," : "", (unsigned long long)other->entry.off);
  }
}

static void prepare_transfer(struct operation *operation) {
  const struct machine_options *options = &machine.options;
  const struct io_uring_sqe *entry = &operation->entry;
  bool moves = entry->opcode == IORING_OP_READ || entry->opcode == IORING_OP_WRITE;
  operation->file = held(entry->fd);
  if (operation->file < 0) abort();
  look_for_overlap(operation);
  operation->due = machine.now + 1000 + delay(options->transfer_delay_max);
  if (moves) {
    operation->memory = kernel_address((void *)(uintptr_t)entry->addr);
    operation->count = entry->len;
  }
  if (entry->opcode == IORING_OP_FSYNC) operation->snapshot = begin_sync(operation->file);
  if (chance(RANDOM_TRANSFERS, options->error_odds)) {
    operation->failure = -EIO;
    machine.counts[MACHINE_ERRORS]++;
  } else if (chance(RANDOM_TRANSFERS, options->retry_odds)) {
    operation->failure = draw(RANDOM_TRANSFERS, 2) ? -EAGAIN : -EINTR;
    machine.counts[MACHINE_RETRIES]++;
  } else if (moves && entry->len > SECTOR && chance(RANDOM_TRANSFERS, options->short_odds)) {
    operation->count = (uint32_t)(1 + draw(RANDOM_TRANSFERS, entry->len / SECTOR - 1)) * SECTOR;
    machine.counts[MACHINE_SHORT]++;
  }
  // What fails may have landed in part.
  if (operation->failure == -EIO && moves) {
    operation->count = (uint32_t)draw(RANDOM_TRANSFERS, entry->len / SECTOR + 1) * SECTOR;
  }
  if (operation->failure == -EAGAIN || operation->failure == -EINTR) operation->count = 0;
  trace("ring: %s %llu at %llu, %u bytes, due in %llu us%s", entry->opcode == IORING_OP_READ    ? "read"
                                                            : entry->opcode == IORING_OP_WRITE ? "write"
                                                            : entry->opcode == IORING_OP_FSYNC ? "sync"
                                                                                               : "fallocate",
        (unsigned long long)operation->number, (unsigned long long)entry->off,
        entry->opcode == IORING_OP_FALLOCATE ? (unsigned)entry->addr : entry->len,
        (unsigned long long)(operation->due - machine.now) / 1000, operation->failure ? ", will fail" : "");
}

static void zero(int file, uint64_t offset, uint64_t count) {
  static const char zeroes[4096];
  while (count > 0) {
    size_t part = count < sizeof zeroes ? count : sizeof zeroes;
    if (pwrite(file, zeroes, part, (off_t)offset) != (ssize_t)part) abort();
    offset += part;
    count -= part;
  }
}

static int change_allocation(struct operation *operation) {
  const struct io_uring_sqe *entry = &operation->entry;
  bool is_hole = entry->len & FALLOC_FL_PUNCH_HOLE;
  if (is_hole ? !machine.options.has_holes : !machine.options.has_zero_range) return -EOPNOTSUPP;
  zero(operation->file, entry->off, entry->addr);
  changed(operation->file, entry->off, entry->addr, machine.processes[operation->ring->process].name);
  machine.counts[MACHINE_HOLES]++;
  return 0;
}

// Some more of a transfer lands. True when it is over, with its result.
static bool land(struct operation *operation, int *result) {
  const struct io_uring_sqe *entry = &operation->entry;
  bool writes = entry->opcode == IORING_OP_WRITE, is_late = operation->ring->is_gone;
  if (operation->never_lands) {
    machine.counts[MACHINE_NEVER_LANDED]++;
    return true;
  }
  switch (entry->opcode) {
    case IORING_OP_FSYNC:
      if (operation->failure == 0) end_sync(operation->file, operation->snapshot);
      *result = operation->failure;
      machine.counts[MACHINE_SYNCS]++;
      return true;
    case IORING_OP_FALLOCATE:
      *result = operation->failure ? operation->failure : change_allocation(operation);
      if (is_late && *result == 0) machine.counts[MACHINE_LATE]++;
      return true;
  }
  uint32_t left = operation->count - operation->done, part = left;
  if (left > SECTOR && chance(RANDOM_TRANSFERS, machine.options.tear_odds)) {
    part = (uint32_t)(1 + draw(RANDOM_TRANSFERS, left / SECTOR - 1)) * SECTOR;
    machine.counts[MACHINE_TORN]++;
  }
  if (part > 0) {
    char *memory = operation->memory + operation->done;
    off_t place = (off_t)(entry->off + operation->done);
    ssize_t moved = writes ? pwrite(operation->file, memory, part, place)
                           : pread(operation->file, memory, part, place);
    if (moved != (ssize_t)part) abort();
    if (writes) changed(operation->file, (uint64_t)place, part, machine.processes[operation->ring->process].name);
    if (is_late && writes) machine.counts[MACHINE_LATE]++;
    operation->done += part;
  }
  if (operation->done < operation->count) {
    operation->due = machine.now + 1000 + delay(machine.options.transfer_delay_max);
    if (is_late && draw(RANDOM_TRANSFERS, 4) == 0) operation->never_lands = true;
    return false;
  }
  if (writes && entry->rw_flags & 2 && operation->failure == 0) {  // RWF_DSYNC
    sync_range(operation->file, entry->off, operation->count);
    machine.counts[MACHINE_DURABLE_WRITES]++;
  }
  machine.counts[writes ? MACHINE_WRITES : MACHINE_READS]++;
  *result = operation->failure ? operation->failure : (int)operation->count;
  return true;
}

static void wake(uint64_t place);

static void look_at_files(void) {
  is_stirred = false;
  for (struct operation **each = &operations; *each;) {
    struct operation *operation = *each;
    each = &operation->next;
    if (operation->entry.opcode != IORING_OP_POLL_ADD) continue;
    struct pollfd file = {operation->file, (short)operation->entry.poll32_events, 0};
    bool is_ready = syscall(SYS_poll, &file, 1, 0) == 1;
    if (!is_ready) continue;
    // The last one has not been taken yet: what comes of it will find this as well.
    if (operation->posted && (int)(operation->ring->completion_head - operation->posted) < 0) continue;
    bool is_multishot = operation->entry.len & IORING_POLL_ADD_MULTI;
    digest(0xf11e ^ operation->number << 16);
    complete(operation->ring, operation->entry.user_data, file.revents, is_multishot ? IORING_CQE_F_MORE : 0);
    operation->posted = operation->ring->completion_tail;
    if (!is_multishot) operation->due = 0;  // it goes below
  }
  for (struct operation **each = &operations; *each;) {
    struct operation *operation = *each;
    if (operation->entry.opcode == IORING_OP_POLL_ADD && operation->due == 0) {
      *each = operation->next;
      drop(operation);
    } else {
      each = &operation->next;
    }
  }
}

static void continue_end(int process);

void run_kernel(void) {
  int current = machine.current;
  machine.kernel_due = UINT64_MAX;
  if (is_stirred) look_at_files();
  for (struct operation **each = &operations; *each;) {
    struct operation *operation = *each;
    int result = 0;
    uint8_t code = operation->entry.opcode;
    if (code == IORING_OP_POLL_ADD || code == OP_FUTEX_WAIT) {
      each = &operation->next;
      continue;
    }
    if (operation->due > machine.now) {
      due_at(operation->due);
      each = &operation->next;
      continue;
    }
    bool is_over = true;
    if (code == IORING_OP_TIMEOUT) result = -ETIME;
    if (is_transfer(operation)) is_over = land(operation, &result);
    digest(0x10 ^ operation->number << 8 ^ (uint64_t)is_over << 60);
    if (!is_over) {
      due_at(operation->due);
      each = &operation->next;
      continue;
    }
    if (is_transfer(operation)) {
      trace("ring: %llu of %s ends: %d%s", (unsigned long long)operation->number,
            machine.processes[operation->ring->process].name, result, operation->ring->is_gone ? ", late" : "");
    }
    *each = operation->next;
    complete(operation->ring, operation->entry.user_data, result, 0);
    drop(operation);
  }
  for (int process = 1; process < machine.process_count; process++) {
    while (machine.processes[process].state == MACHINE_DYING && machine.processes[process].end_due <= machine.now) {
      continue_end(process);
    }
    if (machine.processes[process].state == MACHINE_DYING) due_at(machine.processes[process].end_due);
    // Killed by another process.
    if (machine.processes[process].killed_at && machine.processes[process].state < MACHINE_DYING) {
      if (machine.processes[process].killed_at <= machine.now) {
        end_process(process);
        machine.ended_process = process;
      } else {
        due_at(machine.processes[process].killed_at);
      }
    }
  }
  machine.current = current;
  if (is_stirred) due_at(machine.now);
}

int io_uring_submit(struct io_uring *ring) {
  step(21, 0);
  land_stores(machine.current);
  struct ring *own = ring_of(ring);
  if (own->submission_head != ring->sq.sqe_tail && chance(RANDOM_TRANSFERS, machine.options.retry_odds / 4)) {
    machine.counts[MACHINE_RETRIES]++;
    return -EAGAIN;
  }
  int count = 0;
  for (; own->submission_head != ring->sq.sqe_tail; count++) {
    struct operation *operation = calloc(1, sizeof *operation);
    operation->entry = own->submissions[own->submission_head++ & own->submission_mask];
    ring->sq.sqe_head = own->submission_head;
    operation->ring = own;
    operation->file = -1;
    operation->number = operation_number++;
    const struct io_uring_sqe *entry = &operation->entry;
    switch (entry->opcode) {
      case IORING_OP_NOP: operation->due = machine.now; break;
      case IORING_OP_ASYNC_CANCEL:
      case IORING_OP_POLL_REMOVE:
        complete(own, entry->user_data, cancel(own, entry->addr, false) ? 0 : -ENOENT, 0);
        drop(operation);
        continue;
      case IORING_OP_TIMEOUT: {
        const struct __kernel_timespec *time = (const struct __kernel_timespec *)(uintptr_t)entry->addr;
        operation->due = machine.now + (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
        break;
      }
      case IORING_OP_READ: case IORING_OP_WRITE: case IORING_OP_FSYNC: case IORING_OP_FALLOCATE:
        prepare_transfer(operation);
        break;
      case IORING_OP_POLL_ADD:
        operation->file = held(entry->fd);
        operation->due = UINT64_MAX;
        if (operation->file < 0) {
          complete(own, entry->user_data, -EBADF, 0);
          drop(operation);
          continue;
        }
        is_stirred = true;
        break;
      case OP_FUTEX_WAIT: {
        const uint32_t *word = (const uint32_t *)(uintptr_t)entry->addr;
        operation->futex = place_of(word);
        operation->due = UINT64_MAX;
        machine.counts[MACHINE_RING_FUTEX_WAITS]++;
        int failure = operation->futex == 0 ? -EFAULT : *word != (uint32_t)entry->off ? -EAGAIN : 0;
        if (failure) {
          complete(own, entry->user_data, failure, 0);
          drop(operation);
          continue;
        }
        break;
      }
      default:
        complete(own, entry->user_data, -EINVAL, 0);
        drop(operation);
        continue;
    }
    // Into the middle: another order than that of submission.
    struct operation **place = &operations;
    for (uint64_t skip = draw(RANDOM_TRANSFERS, 3); skip > 0 && *place; skip--) place = &(*place)->next;
    operation->next = *place;
    *place = operation;
    due_at(operation->due);
  }
  if (is_stirred) due_at(machine.now);
  if (machine.now >= machine.kernel_due) run_kernel();
  return count;
}

int io_uring_get_events(struct io_uring *ring) {
  (void)ring;
  if (machine.now >= machine.kernel_due) run_kernel();
  return 0;
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **entry, unsigned count,
                                     struct __kernel_timespec *time, sigset_t *mask) {
  (void)mask;
  *entry = 0;
  int submitted = io_uring_submit(ring);
  if (submitted < 0) return submitted;
  struct ring *own = ring_of(ring);
  struct fiber *fiber = &machine.fibers[machine.current];
  if (has_completions(own, count)) return submitted;
  fiber->ring = own;
  fiber->completions = count;
  wait_here(time ? machine.now + (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec : UINT64_MAX);
  return has_completions(own, count) ? submitted : -ETIME;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count) {
  struct io_uring_cqe *entry;
  return io_uring_submit_and_wait_timeout(ring, &entry, count, 0, 0);
}

int io_uring_register_sync_cancel(struct io_uring *ring, struct io_uring_sync_cancel_reg *which) {
  (void)which;
  return cancel(ring_of(ring), 0, true) ? 0 : -ENOENT;
}

static void end_ring(struct ring *ring) {
  cancel(ring, 0, true);
  ring->is_gone = true;
  for (struct operation *each = operations; each; each = each->next) {
    if (each->ring != ring) continue;
    // What the dead had in flight: late, in part, or never.
    uint64_t fate = draw(RANDOM_TRANSFERS, 8);
    if (fate == 0) each->never_lands = true;
    each->due = machine.now + 1000 + delay(machine.options.late_delay_max);
    due_at(each->due);
  }
}

void io_uring_queue_exit(struct io_uring *ring) {
  struct ring *own = ring_of(ring);
  cancel(own, 0, true);
  own->is_gone = true;
}

// ---- Futexes, by the place of the word: processes map a file at different addresses

static void wake(uint64_t place) {
  for (int index = 1; index < machine.fiber_count; index++) {
    struct fiber *fiber = &machine.fibers[index];
    if (fiber->state == FIBER_WAITS && fiber->futex == place) {
      fiber->state = FIBER_READY;
      fiber->futex = 0;
    }
  }
}

static int wake_all(uint64_t place) {
  int woken = 0;
  for (int index = 1; index < machine.fiber_count; index++) {
    struct fiber *fiber = &machine.fibers[index];
    woken += fiber->state == FIBER_WAITS && fiber->futex == place && machine.processes[fiber->process].state < 3;
  }
  wake(place);
  for (struct operation **each = &operations; *each;) {
    struct operation *operation = *each;
    if (operation->entry.opcode == OP_FUTEX_WAIT && operation->futex == place) {
      *each = operation->next;
      complete(operation->ring, operation->entry.user_data, 0, 0);
      drop(operation);
      woken++;
    } else {
      each = &operation->next;
    }
  }
  return woken;
}

// Memory that is not shared has its own address for a place.
static uint64_t futex_place(const uint32_t *word) {
  uint64_t place = place_of(word);
  return place ? place : (uintptr_t)word;
}

int shim_futex_wait(const uint32_t *word, uint32_t expected, int64_t nanoseconds) {
  step(30, word);
  land_stores(machine.current);
  if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != expected) return -EAGAIN;
  machine.counts[MACHINE_FUTEX_WAITS]++;
  struct fiber *fiber = &machine.fibers[machine.current];
  fiber->futex = futex_place(word);
  wait_here(nanoseconds < 0 ? UINT64_MAX : machine.now + (uint64_t)nanoseconds);
  bool is_woken = fiber->wakes_at > machine.now || __atomic_load_n(word, __ATOMIC_SEQ_CST) != expected;
  return is_woken ? 0 : -ETIMEDOUT;
}

int shim_futex_wake(const uint32_t *word, int count) {
  step(31, word);
  land_stores(machine.current);
  machine.counts[MACHINE_FUTEX_WAKES]++;
  int woken = wake_all(futex_place(word));
  return woken < count ? woken : count;
}

int shim_membarrier_register(void) { return 0; }

int shim_membarrier(void) {
  step(32, 0);
  machine.counts[MACHINE_FENCES_FOR_OTHERS]++;
  for (int fiber = 1; fiber < machine.fiber_count; fiber++) land_stores(fiber);
  return 0;
}

// ---- Processes

int getpid(void) { return machine.is_active && machine.current ? self()->pid : (int)syscall(SYS_getpid); }

int kill(int pid, int signal) {
  if (!machine.current) return (int)syscall(SYS_kill, pid, signal);
  if (pid != self()->pid || signal != SIGSTOP) {
    errno = ESRCH;
    return -1;
  }
  land_stores(machine.current);
  self()->state = MACHINE_FROZEN;
  machine.stopped_process = own_process();
  reschedule();
  return 0;
}

int shim_pidfd_open(int32_t pid) {
  step(33, 0);
  for (int index = machine.process_count - 1; index > 0; index--) {
    if (machine.processes[index].pid == pid && machine.processes[index].state != MACHINE_GONE) {
      int fd = open_pidfd(index);
      return fd < 0 ? -errno : fd;
    }
  }
  return -ESRCH;
}

int shim_pidfd_send_signal(int pidfd, int signal) {
  step(34, 0);
  if (pidfd < 0 || pidfd >= DESCRIPTORS_MAX || !pidfd_of[pidfd] || signal != SIGKILL) return -EINVAL;
  struct process *process = &machine.processes[pidfd_of[pidfd]];
  if (process->state == MACHINE_GONE) return -ESRCH;
  if (process->state < MACHINE_DYING && !process->killed_at) {
    machine.counts[MACHINE_SIGNALS]++;
    trace("kills %s", process->name);
    // It may go on for a moment.
    process->killed_at = machine.now + draw(RANDOM_PROCESSES, 20000);
    due_at(process->killed_at);
  }
  return 0;
}

int shim_life_begin(void *life) {
  step(35, life);
  self()->life = life;
  self()->life_place = place_of(life);
  __atomic_store_n((uint32_t *)life, (uint32_t)self()->pid, __ATOMIC_SEQ_CST);
  return 0;
}

void shim_life_end(void *life) {
  step(36, life);
  land_stores(machine.current);
  self()->life = 0;
  __atomic_store_n((uint32_t *)life, 0, __ATOMIC_SEQ_CST);
  wake_all(place_of(life));
}

struct thread {
  void *(*body)(void *);
  void *argument;
};

static void thread_main(void *context) {
  struct thread thread = *(struct thread *)context;
  free(context);
  thread.body(thread.argument);
}

int shim_thread_start(const char *name, void *(*body)(void *), void *argument) {
  (void)name;
  struct thread *thread = malloc(sizeof *thread);
  *thread = (struct thread){body, argument};
  new_fiber(own_process(), false, thread_main, thread);
  return 0;
}

int shim_termination_signals(void) {
  int fd = opened((int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (fd >= 0) self()->signals = held(fd);
  return fd;
}

void shim_termination_signals_restore(void) {}

int shim_read_signal(int fd) {
  step(37, 0);
  uint64_t count;
  return read(fd, &count, sizeof count) == sizeof count ? SIGTERM : 0;
}

void machine_terminate(int process) {
  if (machine.processes[process].state >= MACHINE_DYING) return;
  if (machine.processes[process].signals < 0) {
    // It has not got to handling signals yet: this one ends it.
    end_process(process);
    return;
  }
  uint64_t one = 1;
  if (write(machine.processes[process].signals, &one, sizeof one) != sizeof one) abort();
  stir();
}

int shim_is_tmpfs(int fd) {
  // A seal against shrinking says that it is host memory, not a unit's file.
  long seals = syscall(SYS_fcntl, fd, F_GET_SEALS);
  if (seals > 0 && seals & F_SEAL_SHRINK) return 1;
  return machine.options.is_memory_file_system;
}

// The end of a process comes in stages, as in the kernel's do_exit: its life lock is marked; then its memory and its
// files go, and what it had in the ring is given up; then its pidfd can be read; then its number is free.
void end_process(int index) {
  struct process *process = &machine.processes[index];
  for (int fiber = 1; fiber < machine.fiber_count; fiber++) {
    if (machine.fibers[fiber].process != index) continue;
    land_stores(fiber);  // what has left the program lands
    machine.fibers[fiber].state = FIBER_OVER;
  }
  process->state = MACHINE_DYING;
  process->end_stage = 0;
  process->end_due = machine.now + draw(RANDOM_PROCESSES, machine.options.exit_delay_max / 8 + 1);
  due_at(process->end_due);
  digest(0xdead ^ (uint64_t)index << 16);
}

static void release_memory(int process) {
  for (int index = 0; index < mapping_count;) {
    if (mappings[index].process != process) {
      index++;
      continue;
    }
    // A touch after this ends the run.
    syscall(SYS_mmap, mappings[index].base, mappings[index].size, PROT_NONE,
            MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
    mappings[index] = mappings[--mapping_count];
  }
}

static void continue_end(int index) {
  struct process *process = &machine.processes[index];
  switch (process->end_stage++) {
    case 0:
      if (process->life) {
        uint32_t *word = (uint32_t *)kernel_address(process->life);
        uint32_t value = __atomic_load_n(word, __ATOMIC_SEQ_CST);
        __atomic_store_n(word, (value & 0x80000000u) | 0x40000000u, __ATOMIC_SEQ_CST);
        wake_all(process->life_place);
      }
      break;
    case 1:
      release_memory(index);
      for (struct ring *ring = rings; ring; ring = ring->next) {
        if (ring->process == index && !ring->is_gone) end_ring(ring);
      }
      for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        if (owner_of[fd] != index) continue;
        syscall(SYS_close, fd);
        owner_of[fd] = pidfd_of[fd] = peer_of[fd] = 0;
      }
      if (process->signals >= 0) syscall(SYS_close, process->signals);
      process->signals = -1;
      stir();
      break;
    case 2:
      for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        uint64_t one = 1;
        if (pidfd_of[fd] == index && write(fd, &one, sizeof one) != sizeof one) abort();
      }
      stir();
      break;
    default:
      process->state = MACHINE_GONE;
      return;
  }
  process->end_due = machine.now + draw(RANDOM_PROCESSES, machine.options.exit_delay_max + 1);
}

int machine_fork(void) {
  int child = (int)syscall(SYS_fork);
  // No run outlives the command.
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  return child;
}

// ---- The clock

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (!machine.is_active) return (int)syscall(SYS_clock_gettime, clock, time);
  if (machine.current) step(40, 0);
  *time = (struct timespec){(time_t)(machine.now / 1000000000u), (long)(machine.now % 1000000000u)};
  return 0;
}

int usleep(useconds_t microseconds) {
  if (!machine.current) return (int)syscall(SYS_nanosleep, &(struct timespec){0, microseconds * 1000l}, 0);
  step(41, 0);
  wait_here(machine.now + (uint64_t)microseconds * 1000);
  return 0;
}

int sched_yield(void) {
  if (!machine.current) return 0;
  step(42, 0);
  wait_here(machine.now + 1);
  return 0;
}

// ---- Random numbers: of the seed, too

void swift_stdlib_random(void *bytes, size_t count) {
  if (!machine.is_active) {
    if (syscall(SYS_getrandom, bytes, count, 0) != (long)count) abort();
    return;
  }
  for (size_t index = 0; index < count; index++) ((unsigned char *)bytes)[index] = draw(RANDOM_KERNEL, 256);
}

#else
// Without the trait there is no simulation.
extern int baton_simulated_machine;
#endif

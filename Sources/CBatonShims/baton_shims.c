#define _GNU_SOURCE
#include "baton_shims.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

// In a simulation the simulated machine has definitions of its own, which come first.
#ifdef BATON_SIMULATION
#define SEAM __attribute__((weak))
#else
#define SEAM
#endif

static int result(long value) { return value < 0 ? -errno : (int)value; }

SEAM int shim_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_nanoseconds) {
  struct timespec timeout = {timeout_nanoseconds / 1000000000, timeout_nanoseconds % 1000000000};
  return result(syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_nanoseconds < 0 ? 0 : &timeout, 0, 0));
}

SEAM int shim_futex_wake(const uint32_t *word, int count) {
  return result(syscall(SYS_futex, word, FUTEX_WAKE, count, 0, 0, 0));
}

SEAM int shim_membarrier_register(void) {
  return result(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0));
}

SEAM int shim_membarrier(void) { return result(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0)); }

SEAM int shim_pidfd_open(int32_t pid) {
  int fd = result(syscall(SYS_pidfd_open, pid, 0));
  return fd;
}

SEAM int shim_pidfd_send_signal(int pidfd, int signal) {
  return result(syscall(SYS_pidfd_send_signal, pidfd, signal, 0, 0));
}

int shim_memfd_create(const char *name) { return result(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)); }

int shim_seal_against_resize(int fd) {
  return result(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
}

int shim_is_sealed_against_shrink(int fd) {
  int seals = fcntl(fd, F_GET_SEALS);
  return seals < 0 ? -errno : (seals & F_SEAL_SHRINK) != 0;
}

SEAM int shim_is_tmpfs(int fd) {
  struct statfs about;
  struct stat facts;
  if (fstatfs(fd, &about) || fstat(fd, &facts)) return -errno;
  // For a device node fstatfs(2) reports the file system of the node: devtmpfs, which has tmpfs's number.
  return about.f_type == TMPFS_MAGIC && S_ISREG(facts.st_mode);
}

static int lock(int fd, int command, short type, int64_t offset) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
  return result(fcntl(fd, command, &lock));
}

_Static_assert(sizeof(pthread_mutex_t) <= 64, "a mutex does not fit into its line");

SEAM int shim_life_begin(void *life) {
  pthread_mutex_t *mutex = life;
  pthread_mutexattr_t attributes;
  int error = pthread_mutexattr_init(&attributes);
  if (error) return -error;
  error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  if (!error) error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  if (!error) error = pthread_mutex_init(mutex, &attributes);
  if (!error) error = pthread_mutex_lock(mutex);
  pthread_mutexattr_destroy(&attributes);
  return -error;
}

SEAM void shim_life_end(void *life) { pthread_mutex_unlock(life); }

int shim_ofd_try_lock(int fd, int64_t offset) { return lock(fd, F_OFD_SETLK, F_WRLCK, offset); }

int shim_ofd_unlock(int fd, int64_t offset) { return lock(fd, F_OFD_SETLK, F_UNLCK, offset); }

int shim_ofd_try_shared_lock(int fd, int64_t offset) { return lock(fd, F_OFD_SETLK, F_RDLCK, offset); }

int shim_process_try_lock(int fd, int64_t offset) { return lock(fd, F_SETLK, F_WRLCK, offset); }

int shim_lock_of_other(int fd, int64_t offset, int64_t count, int64_t *found) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = count};
  if (fcntl(fd, F_OFD_GETLK, &lock)) return -errno;
  *found = lock.l_start;
  return lock.l_type != F_UNLCK;
}

int shim_ofd_is_locked_by_other(int fd, int64_t offset, int64_t count) {
  int64_t found;
  return shim_lock_of_other(fd, offset, count, &found);
}

int shim_direct_io_alignment(int fd, uint32_t *memory, uint32_t *offset) {
  // struct statx as of 6.1, in 64-bit words: stx_dio_mem_align and stx_dio_offset_align are the two 32-bit halves
  // of the word at byte 152 (include/uapi/linux/stat.h). 256 bytes in all.
  uint64_t words[32] = {0};
  const uint32_t statx_dioalign = 0x2000u;
  *memory = *offset = 0;
  if (syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */, statx_dioalign, words)) return -errno;
  uint32_t mask = (uint32_t)words[0];
  if (mask & statx_dioalign) {
    memcpy(memory, (char *)words + 152, 4);
    memcpy(offset, (char *)words + 156, 4);
  }
  return 0;
}

int shim_block_device_size(int fd, uint64_t *size) { return result(ioctl(fd, BLKGETSIZE64, size)); }

int shim_block_device_sector(int fd, uint32_t *sector) {
  int value = 0;
  int status = result(ioctl(fd, BLKSSZGET, &value));
  *sector = (uint32_t)value;
  return status;
}

int shim_block_device_is_free(const char *path) {
  int fd = result(open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC));
  if (fd < 0) return fd;
  close(fd);
  return 0;
}

static int unix_address(const char *path, struct sockaddr_un *address) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
  strcpy(address->sun_path, path);
  return 0;
}

static int listen_or_close(int fd, const struct sockaddr *address, socklen_t length, int backlog) {
  int status = result(bind(fd, address, length));
  if (status == 0) status = result(listen(fd, backlog));
  if (status < 0) {
    close(fd);
    return status;
  }
  return fd;
}

static int listen_unix(const char *path, int type, int backlog) {
  struct sockaddr_un address;
  int status = unix_address(path, &address);
  if (status) return status;
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  // The mode of the socket is the mode of the file that bind makes. Not umask: that is the whole process's,
  // and a file that another thread makes meanwhile would get it too.
  if (fchmod(fd, 0600)) {
    status = -errno;
    close(fd);
    return status;
  }
  return listen_or_close(fd, (struct sockaddr *)&address, sizeof address, backlog);
}

int shim_socket_listen(const char *path) { return listen_unix(path, SOCK_SEQPACKET | SOCK_NONBLOCK, 256); }

int shim_socket_connect(const char *path) {
  struct sockaddr_un address;
  int status = unix_address(path, &address);
  if (status) return status;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  status = result(connect(fd, (struct sockaddr *)&address, sizeof address));
  if (status < 0) {
    close(fd);
    return status;
  }
  return fd;
}

int shim_socket_accept(int fd) { return result(accept4(fd, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

long shim_socket_send(int fd, const void *bytes, size_t count, int passed) {
  struct iovec part = {(void *)bytes, count};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  union {
    char space[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  if (passed >= 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

// Whether so many descriptors more fit into this process's table. The kernel hands out the lowest free numbers, so a
// stretch of that many free numbers below the limit is room for sure. POLLNVAL says that a number is free (poll(2)).
static bool has_room_for_descriptors(void) {
  enum { STRETCHES_MAX = 16 };
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) return false;
  int top = limit.rlim_cur > INT32_MAX ? INT32_MAX : (int)limit.rlim_cur;
  for (int stretch = 0; stretch < STRETCHES_MAX && top >= BATON_PASSED_MAX; stretch++) {
    struct pollfd numbers[BATON_PASSED_MAX];
    top -= BATON_PASSED_MAX;
    for (int i = 0; i < BATON_PASSED_MAX; i++) numbers[i] = (struct pollfd){.fd = top + i};
    if (poll(numbers, BATON_PASSED_MAX, 0) < 0) return false;
    int free = 0;
    while (free < BATON_PASSED_MAX && numbers[free].revents & POLLNVAL) free++;
    if (free == BATON_PASSED_MAX) return true;
  }
  return false;
}

long shim_socket_receive(int fd, void *bytes, size_t count, int passed[BATON_PASSED_MAX], int *passed_count) {
  *passed_count = 0;
  struct iovec part = {bytes, count};
  // A look first, without room for descriptors: MSG_CTRUNC says whether there are any (__scm_recv_common,
  // net/core/scm.c), and none is dropped, because the record stays where it is.
  struct msghdr look = {.msg_iov = &part, .msg_iovlen = 1};
  ssize_t seen = recvmsg(fd, &look, MSG_DONTWAIT | MSG_PEEK);
  if (seen < 0) return -errno;
  if (!(look.msg_flags & MSG_CTRUNC)) {
    ssize_t received = recv(fd, bytes, count, MSG_DONTWAIT);
    return received < 0 ? -errno : received;
  }
  if (!has_room_for_descriptors()) return -EMFILE;
  union {
    char space[CMSG_SPACE(sizeof(int) * BATON_PASSED_MAX)];
    struct cmsghdr align;
  } control;
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0) return -errno;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t descriptors = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < descriptors && *passed_count < BATON_PASSED_MAX; i++) {
      memcpy(&passed[(*passed_count)++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    }
  }
  return received;
}

int shim_socket_is_empty(int fd) {
  char byte;
  struct iovec part = {&byte, sizeof byte};
  struct msghdr look = {.msg_iov = &part, .msg_iovlen = 1};
  // 0 is the end, or an empty record: of those only one with descriptors matters.
  ssize_t seen = recvmsg(fd, &look, MSG_DONTWAIT | MSG_PEEK);
  return seen < 0 || (seen == 0 && !(look.msg_flags & MSG_CTRUNC));
}

void shim_socket_drain_and_close(int fd) {
  char byte;
  // Bounded: nothing more arrives at a socket that has been shut down. Without room, descriptors are dropped.
  for (int empty = 0; empty < 2;) {
    struct iovec part = {&byte, sizeof byte};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT);
    if (received < 0 && errno != EINTR) break;
    // 0 is the end, or an empty record with something behind it.
    empty = received == 0 && !(message.msg_flags & MSG_CTRUNC) ? empty + 1 : 0;
  }
  close(fd);
}

void shim_close_foreign(int fd) {
  struct linger none = {0};
  // ENOTSOCK: then there is nothing to turn off.
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  close(fd);
}

int shim_socket_refuse_descriptors(int fd) {
  int off = 0;
  return result(setsockopt(fd, SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &off, sizeof off));
}

int shim_poll_set(void) {
  int set = epoll_create1(EPOLL_CLOEXEC);
  return set < 0 ? -errno : set;
}

int shim_poll_set_add(int set, int fd) {
  struct epoll_event event = {.events = EPOLLIN};
  return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int shim_bell(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

void shim_bell_ring(int bell) {
  // Fails only when it has been rung 2^64 times, or was interrupted before anything was done.
  while (eventfd_write(bell, 1) && errno == EINTR) continue;
}

void shim_bell_silence(int bell) {
  eventfd_t count;
  while (eventfd_read(bell, &count) && errno == EINTR) continue;
}

SEAM int shim_thread_start(const char *name, void *(*main)(void *), void *argument) {
  sigset_t all, before;
  sigfillset(&all);
  // A thread begins with its maker's signal mask.
  int error = pthread_sigmask(SIG_SETMASK, &all, &before);
  if (error) return -error;
  pthread_t thread;
  error = pthread_create(&thread, 0, main, argument);
  pthread_sigmask(SIG_SETMASK, &before, 0);
  if (error) return -error;
  // For people who look at the process; a name that is too long is no failure.
  pthread_setname_np(thread, name);
  pthread_detach(thread);
  return 0;
}

int shim_socket_peer(int fd, int32_t *pid, uint32_t *uid) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length)) return -errno;
  *pid = peer.pid;
  *uid = peer.uid;
  return 0;
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // include/uapi/asm-generic/socket.h
#endif

int shim_socket_peer_pidfd(int fd) {
  int pidfd = -1;
  socklen_t length = sizeof pidfd;
  return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) ? -errno : pidfd;
}

// Streams let as many wait as the system allows: a client that comes while nobody accepts must not be refused.

int shim_stream_listen_unix(const char *path) {
  int fd = listen_unix(path, SOCK_STREAM, SOMAXCONN);
  // Kernels before 6.16 cannot refuse them.
  if (fd >= 0) shim_socket_refuse_descriptors(fd);
  return fd;
}

// Fills an address of either family in; its length, or 0 when the text is none.
static socklen_t numeric_address(const char *text, uint16_t port, struct sockaddr_storage *address) {
  struct sockaddr_in *four = (struct sockaddr_in *)address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
  memset(address, 0, sizeof *address);
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    return sizeof *four;
  }
  if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    return sizeof *six;
  }
  return 0;
}

int shim_stream_listen_tcp(const char *text, uint16_t port) {
  struct sockaddr_storage address;
  socklen_t length = numeric_address(text, port, &address);
  if (length == 0) return -EINVAL;
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  // A port whose connections of an earlier life have not timed out yet; and nothing of IPv4 on an IPv6 address.
  int on = 1;
  int status = result(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  if (status == 0 && address.ss_family == AF_INET6) {
    status = result(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
  }
  if (status < 0) {
    close(fd);
    return status;
  }
  return listen_or_close(fd, (struct sockaddr *)&address, length, SOMAXCONN);
}

int shim_stream_is_answered(const char *path) {
  struct sockaddr_un address;
  int status = unix_address(path, &address);
  if (status) return status;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  status = result(connect(fd, (struct sockaddr *)&address, sizeof address));
  close(fd);
  // EAGAIN: somebody listens whose backlog is full.
  if (status == 0 || status == -EAGAIN) return 1;
  return status == -ECONNREFUSED || status == -ENOENT ? 0 : status;
}

int shim_port_is_answered(const char *text, uint16_t port) {
  struct sockaddr_storage address;
  socklen_t length = numeric_address(text, port, &address);
  if (length == 0) return -EINVAL;
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int status = result(connect(fd, (struct sockaddr *)&address, length));
  close(fd);
  return status == 0 ? 1 : status == -ECONNREFUSED ? 0 : status;
}

int shim_stream_is_listening(int fd) {
  int type = 0, listens = 0;
  socklen_t length = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) || type != SOCK_STREAM) return 0;
  length = sizeof listens;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0;
}

int shim_stream_peer(int fd, uint64_t address[2]) {
  struct sockaddr_storage any;
  memset(&any, 0, sizeof any);
  socklen_t length = sizeof any;
  if (getpeername(fd, (struct sockaddr *)&any, &length)) return -errno;
  unsigned char bytes[16] = {[10] = 0xff, [11] = 0xff};
  const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&any;
  switch (any.ss_family) {
    case AF_INET: memcpy(bytes + 12, &((const struct sockaddr_in *)&any)->sin_addr, 4); break;
    case AF_INET6:
      if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        memcpy(bytes, &six->sin6_addr, 16);
      } else {
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, &six->sin6_addr, 8);
      }
      break;
    default: return 0;
  }
  memcpy(address, bytes, sizeof bytes);
  return 1;
}

int shim_stream_address(int fd, char *text, size_t size) {
  // A byte more than the kernel writes: a path that fills the structure does not end in a zero.
  union {
    struct sockaddr_storage any;
    struct sockaddr_un unix_path;
    char space[sizeof(struct sockaddr_storage) + 1];
  } address;
  memset(&address, 0, sizeof address);
  socklen_t length = sizeof address.any;
  if (getsockname(fd, (struct sockaddr *)&address.any, &length)) return -errno;
  char number[INET6_ADDRSTRLEN];
  const struct sockaddr_in *four = (const struct sockaddr_in *)&address.any;
  const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address.any;
  int count = -1;
  switch (address.any.ss_family) {
    case AF_UNIX: count = snprintf(text, size, "unix:%s", address.unix_path.sun_path); break;
    case AF_INET:
      if (inet_ntop(AF_INET, &four->sin_addr, number, sizeof number)) {
        count = snprintf(text, size, "tcp:%s:%d", number, ntohs(four->sin_port));
      }
      break;
    case AF_INET6:
      if (inet_ntop(AF_INET6, &six->sin6_addr, number, sizeof number)) {
        count = snprintf(text, size, "tcp:[%s]:%d", number, ntohs(six->sin6_port));
      }
      break;
    default: return -EAFNOSUPPORT;
  }
  return count < 0 || (size_t)count >= size ? -ENAMETOOLONG : 0;
}

int shim_address_canonical(const char *text, char *canonical, size_t size) {
  struct sockaddr_storage address;
  if (numeric_address(text, 0, &address) == 0) return -EINVAL;
  const void *bytes = address.ss_family == AF_INET ? (const void *)&((struct sockaddr_in *)&address)->sin_addr
                                                   : (const void *)&((struct sockaddr_in6 *)&address)->sin6_addr;
  return inet_ntop(address.ss_family, bytes, canonical, (socklen_t)size) ? 0 : -errno;
}

int shim_stream_no_delay(int fd) {
  int on = 1, family = 0;
  socklen_t length = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length)) return -errno;
  return family == AF_UNIX ? 0 : result(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

bool shim_kernel_is_since(int major, int minor) {
  struct utsname name;
  int found_major = 0, found_minor = 0;
  if (uname(&name) || sscanf(name.release, "%d.%d", &found_major, &found_minor) != 2) return false;
  return found_major > major || (found_major == major && found_minor >= minor);
}

void shim_ignore_broken_pipes(void) {
  struct sigaction broken;
  if (!sigaction(SIGPIPE, 0, &broken) && broken.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

void shim_end_at_quit(void) {
  struct sigaction quit;
  if (!sigaction(SIGQUIT, 0, &quit) && quit.sa_handler != SIG_IGN) signal(SIGQUIT, SIG_DFL);
}

long shim_send_at_once(int socket, const struct msghdr *message) {
  ssize_t sent = sendmsg(socket, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

// Behind what the socket takes of `before`. As much as it takes of both, or -errno where that is nothing.
static long send_both(int socket, const struct msghdr *before, int file, int64_t offset, size_t count) {
  ssize_t total = 0;
  size_t wanted = 0;
  for (size_t index = 0; index < before->msg_iovlen; index++) wanted += before->msg_iov[index].iov_len;
  if (wanted > 0) {
    // More follows at once: TCP makes no segment of a header alone.
    total = sendmsg(socket, before, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);
    if (total < 0) return -errno;
    if ((size_t)total < wanted) return total;
  }
  off_t from = offset;
  while (count > 0) {
    ssize_t sent = sendfile(socket, file, &from, count);
    if (sent <= 0) return total > 0 ? total : sent < 0 ? -errno : -EIO;
    total += sent;
    count -= sent;
  }
  return total;
}

long shim_send_with_file(int socket, const struct msghdr *before, int file, int64_t offset, size_t count) {
  int on = 1, off = 0;
  if (ioctl(socket, FIONBIO, &on)) return -errno;
  long result = send_both(socket, before, file, offset, count);
  // Cannot fail where it has just succeeded; were it to, the ring would be told -EAGAIN, and try again.
  ioctl(socket, FIONBIO, &off);
  return result;
}

int shim_remove_pages(void *address, size_t count) { return result(madvise(address, count, MADV_REMOVE)); }

// ---- Pages that are gone: async-signal-safe all through ----

static struct sigaction bus_before;

static void say(const char *text, size_t count) {
  // A standard error that nobody reads must not keep the process from ending.
  struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
  if (poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT && write(STDERR_FILENO, text, count) < 0) return;
}

static uintptr_t hexadecimal(const char **text) {
  uintptr_t value = 0;
  for (;; (*text)++) {
    char c = **text;
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return value;
    value = value << 4 | (uintptr_t)digit;
  }
}

// The path in a line of /proc/self/maps (proc_pid_maps(5)), if the address lies in it: its sixth field.
static const char *mapped_path(const char *line, uintptr_t address) {
  uintptr_t from = hexadecimal(&line);
  if (*line++ != '-') return 0;
  uintptr_t to = hexadecimal(&line);
  if (address < from || address >= to) return 0;
  for (int field = 0; field < 5; field++) {
    while (*line && *line != ' ') line++;
    while (*line == ' ') line++;
  }
  return line;
}

static void lost_page(int number, siginfo_t *info, void *context) {
  (void)context;
  int maps = info->si_code == BUS_ADRERR ? open("/proc/self/maps", O_RDONLY | O_CLOEXEC) : -1;
  char line[4608], part[1024], message[5120];
  size_t length = 0;
  ssize_t got;
  while (maps >= 0 && (got = read(maps, part, sizeof part)) > 0) {
    for (ssize_t index = 0; index < got; index++) {
      if (part[index] != '\n') {
        if (length < sizeof line - 1) line[length++] = part[index];
        continue;
      }
      line[length] = 0;
      length = 0;
      const char *path = mapped_path(line, (uintptr_t)info->si_addr);
      if (!path) continue;
      static const char before[] = "baton: ";
      static const char after[] =
          ": was cut short while it was in use, or there is no memory left for it (SIGBUS); "
          "see that nobody writes there and that there is room (df), then 'baton destroy' and 'baton create'\n";
      size_t count = strlen(path);
      memcpy(message, before, sizeof before - 1);
      memcpy(message + sizeof before - 1, path, count);
      memcpy(message + sizeof before - 1 + count, after, sizeof after - 1);
      say(message, sizeof before - 1 + count + sizeof after - 1);
      _exit(1);
    }
  }
  // Something else: as without this, when the instruction is tried again.
  if (maps >= 0) close(maps);
  sigaction(number, &bus_before, 0);
}

int shim_report_lost_pages(void) {
  struct sigaction action = {.sa_sigaction = lost_page, .sa_flags = SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  return result(sigaction(SIGBUS, &action, &bus_before));
}

static void termination_set(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGINT);
  sigaddset(set, SIGQUIT);
  // Where it is ignored (nohup(1)) it stays so: one that is held back is kept and read even then.
  struct sigaction hangup;
  if (sigaction(SIGHUP, 0, &hangup) || hangup.sa_handler != SIG_IGN) sigaddset(set, SIGHUP);
}

// How many of this thread's callers have them held back.
static _Thread_local int termination_holders;

SEAM int shim_termination_signals(void) {
  sigset_t set;
  termination_set(&set);
  int descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (descriptor < 0) return -errno;
  int failed = pthread_sigmask(SIG_BLOCK, &set, 0);
  if (failed) {
    close(descriptor);
    return -failed;
  }
  termination_holders++;
  return descriptor;
}

SEAM void shim_termination_signals_restore(void) {
  if (--termination_holders > 0) return;
  sigset_t set;
  termination_set(&set);
  // One that has come meanwhile asked for what is being done: let through, it would end the process in the middle.
  struct timespec none = {0, 0};
  while (sigtimedwait(&set, 0, &none) > 0 || errno == EINTR) continue;
  pthread_sigmask(SIG_UNBLOCK, &set, 0);
}

SEAM int shim_read_signal(int fd) {
  struct signalfd_siginfo info;
  ssize_t got = read(fd, &info, sizeof info);
  if (got < 0) return errno == EAGAIN ? 0 : -errno;
  return got == sizeof info ? (int)info.ssi_signo : -EIO;
}

// What this process could run on before it was pinned for the first time.
static cpu_set_t unpinned;
static bool was_pinned;

static int remember_unpinned(void) {
  if (!was_pinned && sched_getaffinity(0, sizeof unpinned, &unpinned)) return -errno;
  was_pinned = true;
  return 0;
}

int shim_pin_to_cpu(int cpu) {
  int status = remember_unpinned();
  if (status) return status;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return result(sched_setaffinity(0, sizeof set, &set));
}

int shim_pin_beside_cpu(int cpu) {
  int status = remember_unpinned();
  if (status) return status;
  cpu_set_t set = unpinned;
  CPU_CLR(cpu, &set);
  return result(sched_setaffinity(0, sizeof set, &set));
}

int shim_unpin(void) { return was_pinned ? result(sched_setaffinity(0, sizeof unpinned, &unpinned)) : 0; }

int shim_available_cpus(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set)) return 1;
  return CPU_COUNT(&set);
}

int shim_available_cpu(int place) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set)) return -errno;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(cpu, &set) && place-- == 0) return cpu;
  }
  return -ENOENT;
}

int shim_die_with_parent(void) { return result(prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0)); }

static int open_at(int folder, const char *path, int flags, bool writable, bool create) {
  flags |= O_CLOEXEC | O_NOCTTY | (writable ? O_RDWR : O_RDONLY);
  if (create) return result(openat(folder, path, flags | O_CREAT | O_EXCL, 0600));
  int fd = result(openat(folder, path, flags | O_NONBLOCK));
  // Non-blocking for the opening alone: io_uring gives up on transfers of such a file that it cannot do at once.
  if (fd >= 0 && fcntl(fd, F_SETFL, flags & O_DIRECT)) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

int shim_open(const char *path, bool writable, bool direct, bool create) {
  return open_at(AT_FDCWD, path, direct ? O_DIRECT : 0, writable, create);
}

int shim_open_in(int folder, const char *name, bool writable, bool create) {
  return open_at(folder, name, O_NOFOLLOW, writable, create);
}

int shim_open_folder(int folder, const char *name, bool follow) {
  return result(openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW)));
}

uint64_t shim_raise_open_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) return 0;
  if (limit.rlim_cur < limit.rlim_max) {
    struct rlimit raised = {limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return raised.rlim_cur;
  }
  return limit.rlim_cur;
}

uint64_t shim_raise_file_size_limit(uint64_t wanted) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit)) return 0;
  if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
    struct rlimit raised = {limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_FSIZE, &raised) == 0) return raised.rlim_cur;
  }
  return limit.rlim_cur;
}

int shim_terminal_columns(int fd) {
  struct winsize size;
  return ioctl(fd, TIOCGWINSZ, &size) ? 0 : size.ws_col;
}

int shim_terminal_rows(int fd) {
  struct winsize size;
  return ioctl(fd, TIOCGWINSZ, &size) ? 0 : size.ws_row;
}

extern const char shim_build_commit[] __attribute__((weak));
const char *shim_commit(void) { return shim_build_commit ? shim_build_commit : ""; }

// What Swift cannot import of the C library and the kernel: macros, variadic functions, system calls without a
// wrapper in Debian 12's C library. One comment each on why it is here. No policy: that is Swift's.
#ifndef BATON_SHIMS_H
#define BATON_SHIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// No other header here: liburing's defines feature macros of its own, and a system header that two modules have
// seen under different ones does not import. Hence int32_t for pid_t, uint32_t for uid_t, long for ssize_t.

// A barrier for the compiler alone. Swift's Synchronization module has no signal fence. It is the fast side of
// an asymmetric fence: the slow side makes the processors agree with membarrier(2).
static inline void shim_compiler_fence(void) { __asm__ volatile("" ::: "memory"); }

// PAUSE (or its like): tells the core that this is a spin loop. Not reachable from Swift.
static inline void shim_spin_hint(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Asks for the line at an address for writing, ahead of a look that a store will follow. It never faults, whatever the
// address. __builtin_prefetch(..., 1) is a prefetch for reading where the compiler may not assume PREFETCHW; processors
// without it take it for a no-op, or as PREFETCH (Intel SDM, AMD APM vol. 3).
static inline void shim_prefetch_for_writing(const void *address) {
#if defined(__x86_64__)
  __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
  __builtin_prefetch(address, 1, 3);
#endif
}

// futex(2) has no C library wrapper, and syscall(2) is variadic. Results: 0 or -errno; woken count for wake.
// The word lies in memory shared between processes, so neither uses FUTEX_PRIVATE_FLAG.
int shim_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_nanoseconds);
int shim_futex_wake(const uint32_t *word, int count);

// membarrier(2), global expedited: no wrapper. Results: 0 or -errno.
int shim_membarrier_register(void);
int shim_membarrier(void);

// pidfd_open(2), pidfd_send_signal(2): no wrappers in glibc before 2.36, variadic syscall otherwise.
int shim_pidfd_open(int32_t pid);
int shim_pidfd_send_signal(int pidfd, int signal);

// memfd_create(2) and the seals need _GNU_SOURCE, which Swift's importer does not set. A new descriptor or -errno.
int shim_memfd_create(const char *name);
int shim_seal_against_resize(int fd);
// Whether the file can no longer shrink: 1, 0 or -errno (not a memfd).
int shim_is_sealed_against_shrink(int fd);
// Whether a file lies on tmpfs (fstatfs(2), whose magic numbers are macros): 1, 0 or -errno. A memfd with huge pages
// does not (hugetlbfs): it can fault with SIGBUS when pages run out.
int shim_is_tmpfs(int fd);

// Open file description locks: F_OFD_SETLK needs _GNU_SOURCE and fcntl is variadic. One byte at offset; 0 or -errno.
int shim_ofd_try_lock(int fd, int64_t offset);
int shim_ofd_unlock(int fd, int64_t offset);
// The same lock, shared: all that a descriptor that is open for reading can have.
int shim_ofd_try_shared_lock(int fd, int64_t offset);
// F_SETLK: a lock of this process; the kernel gives it up when the process ends or closes any descriptor of the file.
int shim_process_try_lock(int fd, int64_t offset);
// Whether any other open file description, or any process, has a lock on one of count bytes from offset on: 1, 0 or
// -errno. Where there is one, *found is the first byte of it.
int shim_lock_of_other(int fd, int64_t offset, int64_t count, int64_t *found);
int shim_ofd_is_locked_by_other(int fd, int64_t offset, int64_t count);

// statx(2) with STATX_DIOALIGN (kernel 6.1) is newer than glibc 2.36's header. Fills the alignments for direct I/O;
// 0 or -errno; both zero when the file system does not say.
int shim_direct_io_alignment(int fd, uint32_t *memory, uint32_t *offset);
// BLKGETSIZE64 and BLKSSZGET are macros over _IOR.
int shim_block_device_size(int fd, uint64_t *size);
int shim_block_device_sector(int fd, uint32_t *sector);
// Whether nobody has claimed a block device: file systems, swap, and others that were opened with O_EXCL (open(2)).
// 0, -EBUSY or another -errno.
int shim_block_device_is_free(const char *path);

// Unix sockets: CMSG_* are macros; SOCK_SEQPACKET is an enum case in C and awkward in Swift.
int shim_socket_listen(const char *path);
int shim_socket_connect(const char *path);
int shim_socket_accept(int fd);
// Sends one record, with one descriptor attached when passed >= 0. Bytes sent or -errno; never raises SIGPIPE.
long shim_socket_send(int fd, const void *bytes, size_t count, int passed);
// As many descriptors as one record can carry (SCM_MAX_FD, include/net/scm.h). With less room, the kernel would drop
// the surplus in this thread, and the last close of somebody else's file can block.
enum { BATON_PASSED_MAX = 253 };
// Receives one record, and in `passed` the descriptors that came with it (close-on-exec), *passed_count of them. Bytes
// or -errno; 0 at end. -EMFILE: the record carries descriptors and this process has no room for so many; it stays
// unread.
long shim_socket_receive(int fd, void *bytes, size_t count, int passed[BATON_PASSED_MAX], int *passed_count);
// Whether a socket that has been shut down holds no record, so that closing it closes nothing else: 1 or 0.
int shim_socket_is_empty(int fd);
// Reads and drops every record of a socket that has been shut down, with all descriptors, and closes it. A socket that
// is closed with a record unread resets the other end, which may then miss what was sent to it before (unix(7)).
void shim_socket_drain_and_close(int fd);
// Closes a descriptor that somebody else handed over. Turns lingering off first, where it is a socket.
void shim_close_foreign(int fd);
// SO_PEERCRED fills struct ucred, which needs _GNU_SOURCE.
int shim_socket_peer(int fd, int32_t *pid, uint32_t *uid);
// SO_PEERPIDFD (Linux 6.5) is newer than Debian 12's headers: a pidfd of the process that SO_PEERCRED names, which is
// the one that called listen(2) where this end connected. A new descriptor (close-on-exec) or -errno: -ENOPROTOOPT, the
// kernel does not know it.
int shim_socket_peer_pidfd(int fd);

// SO_PASSRIGHTS (Linux 6.16) is newer than glibc: no descriptors can be sent to this socket, nor to one that it
// accepts. A byte stream with descriptors in it is dropped where it is read, by the loop. 0 or -errno.
int shim_socket_refuse_descriptors(int fd);

// eventfd(2), which Swift's Glibc module does not have: a bell that a thread rings for a ring. A descriptor or -errno.
int shim_bell(void);
void shim_bell_ring(int bell);
// It can be read no more, until it is rung again.
void shim_bell_silence(int bell);

// epoll(7), which Swift's Glibc module does not have: a set of descriptors that can be read when one of them can. A new
// descriptor or -errno; 0 or -errno.
int shim_poll_set(void);
int shim_poll_set_add(int set, int fd);

// Starts a detached thread with every signal blocked: macros over pthread_attr_t and sigset_t. 0 or -errno.
int shim_thread_start(const char *name, void *(*main)(void *), void *argument);

// Stream sockets to listen on, for clients that know nothing of Baton. Not non-blocking: io_uring waits for them. A new
// descriptor or -errno. A unix socket gets mode 0600. An address is numeric, of either family; -EINVAL if it is none.
int shim_stream_listen_unix(const char *path);
int shim_stream_listen_tcp(const char *address, uint16_t port);
// Whether somebody listens at that path, at that port: 1, 0 or -errno.
int shim_stream_is_answered(const char *path);
int shim_port_is_answered(const char *address, uint16_t port);
// Whether a descriptor is a stream socket that listens: 1 or 0.
int shim_stream_is_listening(int fd);
// Where it listens, as "unix:PATH", "tcp:ADDRESS:PORT" or "tcp:[ADDRESS]:PORT". 0 or -errno.
int shim_stream_address(int fd, char *text, size_t size);
// The other end of a stream socket: 1 and its address for TCP (an IPv4 address as IPv6 maps it, RFC 4291; of
// an IPv6 address the 64 bits of its network, because a host may use all of them), 0 for a unix socket, or -errno.
int shim_stream_peer(int fd, uint64_t address[2]);
// A numeric address in its usual form. 0, or -EINVAL when it is none.
int shim_address_canonical(const char *address, char *text, size_t size);
// TCP_NODELAY; does nothing to a unix socket. 0 or -errno.
int shim_stream_no_delay(int fd);

struct msghdr;
// Sends what `message` points at, as much as the socket takes at once. How many bytes, or -errno: -EAGAIN, it is full.
long shim_send_at_once(int socket, const struct msghdr *message);
// The same, and behind it bytes of a file from where they lie (sendfile(2)); -EIO: the file has ended. sendfile waits
// for a socket that is not non-blocking, so this one is for the time, and has no MSG_NOSIGNAL: SIGPIPE must be ignored.
long shim_send_with_file(int socket, const struct msghdr *before, int file, int64_t offset, size_t count);
// Whether the kernel is of that version or a later one (uname(2)).
bool shim_kernel_is_since(int major, int minor);
// Ignores SIGPIPE where it would end the process.
void shim_ignore_broken_pipes(void);
// Lets SIGQUIT end the process, unless it is ignored: a runtime may have made it something else.
void shim_end_at_quit(void);

// madvise(2), MADV_REMOVE: gives pages of shared memory back; they read as zeroes. 0 or -errno.
int shim_remove_pages(void *address, size_t count);

// signalfd(2) with SIGTERM, SIGINT, SIGQUIT and SIGHUP (unless it is ignored) blocked in this thread: sigset_t macros.
// A new descriptor or -errno.
int shim_termination_signals(void);
// Undoes the blocking that shim_termination_signals did, when it has been called as often. What has come meanwhile
// and was not read is dropped.
void shim_termination_signals_restore(void);
// One waiting signal's number, 0 when none waits, or -errno.
int shim_read_signal(int fd);

// Ends this process with a message and status 1 when a page of a mapped file is gone: the file was cut short, or there
// is no memory for it. SIGBUS is all that the kernel says, so this is a signal handler; it finds the file's name in
// /proc/self/maps. For a program to install, not for a library. 0 or -errno.
int shim_report_lost_pages(void);

// sched_setaffinity(2) takes cpu_set_t, which is macros. 0 or -errno.
int shim_pin_to_cpu(int cpu);

// The same for every CPU but that one, which may not be the only one.
int shim_pin_beside_cpu(int cpu);
// Undoes the pinning: the CPUs that this process had before. 0 or -errno.
int shim_unpin(void);
// How many CPUs this process may run on.
int shim_available_cpus(void);
// The number of one of them, counted from 0 on. -ENOENT where there are fewer.
int shim_available_cpu(int place);

// A robust lock between processes, in shared memory (64 bytes, zeroed): this thread holds it until shim_life_end, or
// until it dies. Then the kernel sets FUTEX_OWNER_DIED in its first 32 bits, before it takes memory and files apart,
// and wakes the waiters (set_robust_list(2)). pthread_mutex_t and its attributes are opaque in Swift. 0 or -errno.
int shim_life_begin(void *life);
void shim_life_end(void *life);

// prctl(2) is variadic: this process gets SIGTERM when its parent ends. 0 or -errno.
int shim_die_with_parent(void);

// open(2) is variadic and O_DIRECT needs _GNU_SOURCE. A new descriptor (close-on-exec) or -errno. Does not wait for
// the other end of a FIFO: the caller looks at what it has opened.
int shim_open(const char *path, bool writable, bool direct, bool create);
// openat(2): the same for a name in a folder, without following a symbolic link (-ELOOP); `create`: a new file.
int shim_open_in(int folder, const char *name, bool writable, bool create);
// A folder, for openat(2) and flock(2). -ENOTDIR for a symbolic link that is not followed.
int shim_open_folder(int folder, const char *name, bool follow);

// Raises the soft limit on open files to the hard one; returns the limit then in force.
uint64_t shim_raise_open_file_limit(void);
// Raises the soft limit on the size of files to the hard one if it is below `wanted`; returns the limit then in force,
// in bytes (RLIM_INFINITY is the largest number).
uint64_t shim_raise_file_size_limit(uint64_t wanted);

// Columns of the terminal that a descriptor leads to; 0 where it is no terminal, or does not know (ioctl(2) is
// variadic).
int shim_terminal_columns(int fd);

// The same for its rows.
int shim_terminal_rows(int fd);

// The commit that the program was built from, "" where its build did not say: tools/release links an object with the
// name in.
const char *shim_commit(void);

// errno is a macro over a function call in C; Swift's overlay of it is fine, but these shims return -errno instead
// so that no library call can come between the failure and the reading of it.

// A simulation only (trait `Simulation`): a step on a word in shared memory is about to be taken, and others may run
// before it. Declared always, because Swift does not see what a C target is compiled with; defined in Tests/Simulation.
uint64_t shim_simulated_load(const uint64_t *address);
uint32_t shim_simulated_load_half(const uint32_t *address);
void shim_simulated_store(uint64_t *address, uint64_t value);
void shim_simulated_step(const void *address);

// ---- Probes ----

// Whether a tracer has asked for any of the probes of baton_probes.c.
bool shim_is_probed(void);
// Passes the probe of that step (TraceStep), which a tracer such as bpftrace(8) or perf(1) may have asked for.
void shim_probe(unsigned step, uint64_t function, uint64_t channel, uint64_t sequence, uint64_t value);
// The name of that probe; null: there is none.
const char *shim_probe_name(unsigned step);

#endif

// A peer is what one would use instead of Baton: a program of two processes, the host and the server, that pass
// requests of 64 bytes and responses of 16 bytes through memory that they share. Each source next to this one says
// how, by the functions that are declared below; all else is in this file, so that all peers are measured alike:
//
//     PEER round-trip|throughput|hand-over --turns N [--depth D] --cpus A,B [--curve]
//
//   round-trip   one request at a time
//   throughput   D requests in flight, 1 to 255
//   hand-over    no request: the right to go on goes to the server and back. Only a peer that hands over has it.
//
// Prints `ns_per_request X`: what a turn took, over N of them. A turn is counted from the host's side; turns before
// these, to warm up, are not counted. With --curve, N more turns are timed one by one, and `timer_ns X` (what one
// look at the clock costs, which each of these turns includes) and lines of `NANOSECONDS COUNT` follow.
//
// The host is pinned to CPU A, the server to CPU B; -1 is not pinned. Ends with 0 only if each response was the one
// to its request.
//
// C and C++, because half of the peers' libraries are the one and half the other. Compiled with -D_GNU_SOURCE.
#ifndef BATON_PEER_H
#define BATON_PEER_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  // The most that can be in flight: a ring of 256 elements holds 255 where full and empty must differ.
  DEPTH_MAX = 255,
  // Elements of each ring, and slots for requests where the peer only signals.
  RING_SIZE = 256,
  // Two cache lines: the CPU fetches the neighbour of a line along with it.
  LINE_STRIDE = 128,
};

struct request {
  uint64_t words[8];
};

struct response {
  uint64_t tag; // the first word of the request
  uint64_t sum; // of all its words: the server has read them
};

// What the two processes share; each peer's own.
struct channel;
static size_t channel_size(void);
// Before the fork, in memory that is zero.
static void channel_make(struct channel *channel);

// The host's side. There is always room: no more than DEPTH_MAX requests are in flight.
static inline void submit(struct channel *channel, const struct request *request);
static inline void collect(struct channel *channel, struct response *response);
// The server's side.
static inline void take(struct channel *channel, struct request *request);
static inline void answer(struct channel *channel, const struct response *response);

#ifdef PEER_HANDS_OVER
// Waits until it is this one's turn (0 the host, which begins, 1 the server), and hands over to the other.
static inline void hand_over(struct channel *channel, unsigned self);
#endif

// Says what went wrong and ends the process; its partner is killed by that.
__attribute__((noreturn, cold, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: ", program_invocation_short_name);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  _exit(EXIT_FAILURE);
}

// For calls that return -1 and set errno.
static inline long check(long result, const char *what) {
  if (result < 0) fail("%s failed: %s", what, strerror(errno));
  return result;
}

// Whether each of the two is pinned to a CPU of its own.
static bool each_has_cpu = false;

// Tells the CPU that this is a waiting loop.
static inline void peer_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One look in vain, of a process that spins; after some, another one is let run. Where each has a CPU of its own
// there is nobody to let run, and a yield would cost a turn; where they share one, no look but the first finds
// anything new. No PAUSE: it takes as long as a line needs to come, on some CPUs longer.
static inline void peer_spin(unsigned *looks) {
  if (++*looks < (each_has_cpu ? 65536u : 64u)) return;
  *looks = 0;
  sched_yield();
}

static inline uint64_t peer_nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// Buckets of a histogram: exact below 256, then 128 to each power of two, so that a value is known to a hundredth.
enum { CURVE_STEPS = 128, CURVE_BUCKETS = 58 * CURVE_STEPS };

static inline unsigned curve_bucket(uint64_t value) {
  unsigned shift = 0;
  while (value >> shift >= 2 * CURVE_STEPS) shift++;
  return shift * CURVE_STEPS + (unsigned)(value >> shift);
}

// The least value of a bucket.
static inline uint64_t curve_value(unsigned bucket) {
  if (bucket < 2 * CURVE_STEPS) return bucket;
  unsigned shift = bucket / CURVE_STEPS - 1;
  return (uint64_t)(bucket % CURVE_STEPS + CURVE_STEPS) << shift;
}

static inline uint64_t request_sum(const struct request *request) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < 8; i++) sum += request->words[i];
  return sum;
}

static inline struct request request_make(uint64_t tag) {
  struct request request;
  for (unsigned i = 0; i < 8; i++) request.words[i] = tag + i;
  return request;
}

// The server's loop: as many requests as the host makes.
static void serve(struct channel *channel, uint64_t turns) {
  for (uint64_t i = 0; i < turns; i++) {
    struct request request;
    take(channel, &request);
    struct response response = {request.words[0], request_sum(&request)};
    answer(channel, &response);
  }
}

// The host's loop. Responses come in the order of the requests. With `curve`, each turn is timed.
static inline __attribute__((always_inline)) void request_turns(
    struct channel *channel, uint64_t turns, unsigned depth, uint64_t *curve) {
  uint64_t submitted_at[RING_SIZE];
  uint64_t submitted = 0;
  for (uint64_t collected = 0; collected < turns; collected++) {
    while (submitted < turns && submitted - collected < depth) {
      struct request request = request_make(submitted);
      if (curve) submitted_at[submitted % RING_SIZE] = peer_nanoseconds();
      submit(channel, &request);
      submitted++;
    }
    struct response response;
    collect(channel, &response);
    if (curve) curve[curve_bucket(peer_nanoseconds() - submitted_at[collected % RING_SIZE])]++;
    if (response.tag != collected || response.sum != 8 * collected + 28) {
      fail("request %llu was answered wrongly", (unsigned long long)collected);
    }
  }
}

struct peer_plan {
  bool is_hand_over;
  uint64_t turns;
  uint64_t warm_up;
  unsigned depth;
  int cpus[2];
  bool wants_curve;
};

static void play(const struct peer_plan *plan, struct channel *channel, uint64_t turns, uint64_t *curve) {
#ifdef PEER_HANDS_OVER
  if (plan->is_hand_over) {
    // The first is the host's own right, handed over; from then on each is a turn.
    uint64_t start = curve ? peer_nanoseconds() : 0;
    for (uint64_t i = 0; i < turns; i++) {
      hand_over(channel, 0);
      if (!curve) continue;
      uint64_t now = peer_nanoseconds();
      curve[curve_bucket(now - start)]++;
      start = now;
    }
    return;
  }
#endif
  // Two copies of the loop: the one that is not timed has no trace of the timing in it.
  if (curve) {
    request_turns(channel, turns, plan->depth, curve);
  } else {
    request_turns(channel, turns, plan->depth, NULL);
  }
}

static void partner(const struct peer_plan *plan, struct channel *channel, uint64_t turns) {
#ifdef PEER_HANDS_OVER
  if (plan->is_hand_over) {
    for (uint64_t i = 0; i < turns; i++) hand_over(channel, 1);
    return;
  }
#endif
  (void)plan;
  serve(channel, turns);
}

static void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((unsigned)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("CPU %d cannot be had: %s", cpu, strerror(errno));
}

__attribute__((noreturn, cold)) static void usage(const char *problem) {
  fprintf(stderr, "%s: %s\nusage: %s round-trip|throughput|hand-over --turns N [--depth D] --cpus A,B [--curve]\n",
          program_invocation_short_name, problem, program_invocation_short_name);
  exit(64); // EX_USAGE
}

// A whole number from least to most, up to `end` (a comma or the end of the word).
static long number(const char *text, long least, long most, char end, const char **rest) {
  char *stop;
  errno = 0;
  long value = text ? strtol(text, &stop, 10) : 0;
  if (!text || errno != 0 || stop == text || *stop != end || value < least || value > most) {
    usage("a number is missing or makes no sense");
  }
  if (rest) *rest = stop + 1;
  return value;
}

static struct peer_plan peer_plan_of(int count, char **words) {
  struct peer_plan plan;
  memset(&plan, 0, sizeof plan);
  plan.depth = 1;
  bool has_cpus = false;
  if (count < 2) usage("no mode");
  bool is_throughput = strcmp(words[1], "throughput") == 0;
  plan.is_hand_over = strcmp(words[1], "hand-over") == 0;
  if (!is_throughput && !plan.is_hand_over && strcmp(words[1], "round-trip") != 0) usage("no such mode");
#ifndef PEER_HANDS_OVER
  if (plan.is_hand_over) usage("this peer carries requests and has no right to hand over");
#endif
  for (int i = 2; i < count; i++) {
    const char *value = i + 1 < count ? words[i + 1] : NULL;
    if (strcmp(words[i], "--curve") == 0) {
      plan.wants_curve = true;
      continue;
    }
    if (strcmp(words[i], "--turns") == 0) {
      plan.turns = (uint64_t)number(value, 1, 1000000000, 0, NULL);
    } else if (strcmp(words[i], "--depth") == 0) {
      plan.depth = (unsigned)number(value, 1, DEPTH_MAX, 0, NULL);
    } else if (strcmp(words[i], "--cpus") == 0) {
      const char *rest = NULL;
      plan.cpus[0] = (int)number(value, -1, CPU_SETSIZE - 1, ',', &rest);
      plan.cpus[1] = (int)number(rest, -1, CPU_SETSIZE - 1, 0, NULL);
      has_cpus = true;
    } else {
      usage("no such option");
    }
    i++;
  }
  if (plan.turns == 0) usage("no --turns");
  if (!has_cpus) usage("no --cpus");
  if (plan.depth > 1 && !is_throughput) usage("only throughput has a depth");
  // Caches, branch predictors and the clock of the CPU are warm after a few thousand.
  plan.warm_up = plan.turns / 10 + 1 < 10000 ? plan.turns / 10 + 1 : 10000;
  return plan;
}

// Only what a signal handler may call. The server's process ends only when it is killed, so SIGCHLD is always bad news.
__attribute__((noreturn)) static void peer_signalled(int signal) {
  static const char ended[] = "the server's process has ended before its time\n";
  static const char late[] = "did not come to its end in time\n";
  ssize_t written = signal == SIGCHLD ? write(STDERR_FILENO, ended, sizeof ended - 1)
                                      : write(STDERR_FILENO, late, sizeof late - 1);
  (void)written;
  _exit(EXIT_FAILURE);
}

// Whatever a peer waits for, by whatever call, ends with one of the two.
static void peer_bound(unsigned seconds) {
  signal(SIGALRM, peer_signalled);
  signal(SIGCHLD, peer_signalled);
  sigset_t none;
  sigemptyset(&none);
  check(sigprocmask(SIG_SETMASK, &none, NULL), "sigprocmask");
  alarm(seconds);
}

int main(int count, char **words) {
  struct peer_plan plan = peer_plan_of(count, words);
  // A parent that has gone will not read what this process prints.
  check(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
  each_has_cpu = plan.cpus[0] >= 0 && plan.cpus[1] >= 0 && plan.cpus[0] != plan.cpus[1];

  struct channel *channel = (struct channel *)mmap(
      NULL, channel_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (channel == MAP_FAILED) fail("shared memory cannot be had: %s", strerror(errno));
  channel_make(channel);

  uint64_t turns = plan.warm_up + plan.turns * (plan.wants_curve ? 2 : 1);
  // A turn takes some 100 microseconds at the worst where each has a CPU, a few time slices where they share one.
  peer_bound((unsigned)(20 + turns / (each_has_cpu ? 1000 : 50)));

  pid_t host = getpid();
  pid_t server = (pid_t)check(fork(), "fork");
  if (server == 0) {
    check(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
    if (getppid() != host) _exit(EXIT_FAILURE); // it died before the line above
    pin(plan.cpus[1]);
    partner(&plan, channel, turns);
    for (;;) pause();
  }
  pin(plan.cpus[0]);
  play(&plan, channel, plan.warm_up, NULL);
  uint64_t start = peer_nanoseconds();
  play(&plan, channel, plan.turns, NULL);
  double nanoseconds = (double)(peer_nanoseconds() - start);
  printf("ns_per_request %.2f\n", nanoseconds / (double)plan.turns);

  static uint64_t curve[CURVE_BUCKETS];
  if (plan.wants_curve) play(&plan, channel, plan.turns, curve);

  signal(SIGCHLD, SIG_DFL);
  check(kill(server, SIGKILL), "kill");
  check(waitpid(server, NULL, 0), "waitpid");
  if (plan.wants_curve) {
    enum { CLOCK_LOOKS = 10000 };
    start = peer_nanoseconds();
    for (unsigned i = 0; i < CLOCK_LOOKS; i++) peer_nanoseconds();
    printf("timer_ns %.2f\n", (double)(peer_nanoseconds() - start) / CLOCK_LOOKS);
    for (unsigned i = 0; i < CURVE_BUCKETS; i++) {
      if (curve[i] > 0) printf("%llu %llu\n", (unsigned long long)curve_value(i), (unsigned long long)curve[i]);
    }
  }
  if (fflush(stdout) != 0) fail("what was measured cannot be written: %s", strerror(errno));
  return EXIT_SUCCESS;
}

#endif

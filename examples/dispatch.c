/* How long does dispatch take? A performance harness in one file of C.
 *
 *     cc -O2 dispatch.c $(pkg-config --cflags --libs baton) -o dispatch && ./dispatch
 *
 * The program holds a whole subsystem: two controllers and a host, all turned by its one loop, on a unit that does
 * nothing. So what it measures is dispatch alone: from the host's submission to the answer in its hands.
 *
 *     dispatch [--requests N] [--depth N] [--batched | --one-by-one]
 *
 * Without a mode it reports latencies at depth 1, and rates at that depth both ways. With a mode it runs that loop and
 * nothing else, for tools that count from outside.
 */
#include <baton.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME "dispatch-example"
enum { DEPTH_MAX = 255 };

static struct baton_controller *controllers[2];
static struct baton_host *host;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, baton_last_error_text());
  exit(1);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void turn(void *unused) {
  (void)unused;
  baton_controller_turn(controllers[BATON_A]);
  baton_controller_turn(controllers[BATON_B]);
}

static void begin(void) {
  const char *unit = "null:1G";
  if (baton_create(NAME, &unit, 1, BATON_CREATE_REPLACE) < 0) fail("create");
  struct baton_controller_options options;
  baton_controller_options_init(&options, sizeof options);
  /* One loop turns both, so neither is ever silent; but a debugger or a counting tool may hold up the loop. */
  options.deadline_ns = 3600000000000;
  for (uint32_t which = 0; which < 2; which++)
    if (baton_controller_open(&controllers[which], NAME, which, &options) < 0) fail("controller");
  struct baton_host_options host_options;
  baton_host_options_init(&host_options, sizeof host_options);
  host_options.turn = turn;
  if (baton_host_open(&host, NAME, &host_options) < 0) fail("host");
  if (baton_host_attach(host, BATON_MASK_BOTH, 10000000000) < 0) fail("attach");
}

static void end(void) {
  baton_host_close(&host);
  for (int which = 0; which < 2; which++) {
    baton_controller_stop(controllers[which]);
    while (!baton_controller_stopped(controllers[which])) turn(NULL);
  }
  for (int which = 0; which < 2; which++) baton_controller_close(&controllers[which]);
  if (baton_destroy(NAME) < 0) fail("destroy");
}

/* Both loops: submit a batch, turn the controller once, take every answer. The sum of the cookies shows that each
 * request was answered once. */
static uint64_t one_by_one(uint64_t requests, uint32_t depth) {
  struct baton_request request = {.operation = BATON_READ, .length = 4096};
  struct baton_completion done;
  uint64_t sum = 0;
  for (uint64_t cookie = 0; cookie < requests;) {
    uint32_t batch = requests - cookie < depth ? (uint32_t)(requests - cookie) : depth;
    for (uint32_t i = 0; i < batch; i++) {
      request.cookie = cookie++;
      if (baton_host_submit(host, &request, 1) != 1) fail("submit");
    }
    baton_controller_turn(controllers[BATON_A]);
    for (uint32_t i = 0; i < batch; i++) {
      if (baton_host_reap(host, &done, 1, 1, -1) != 1 || done.status != BATON_STATUS_SUCCESS) fail("reap");
      sum += done.cookie;
    }
  }
  return sum;
}

static uint64_t batched(uint64_t requests, uint32_t depth) {
  static struct baton_request batch[DEPTH_MAX];
  static struct baton_completion done[DEPTH_MAX];
  for (uint32_t i = 0; i < depth; i++) batch[i] = (struct baton_request){.operation = BATON_READ, .length = 4096};
  uint64_t sum = 0;
  for (uint64_t cookie = 0; cookie < requests;) {
    uint32_t count = requests - cookie < depth ? (uint32_t)(requests - cookie) : depth;
    for (uint32_t i = 0; i < count; i++) batch[i].cookie = cookie++;
    if (baton_host_submit(host, batch, count) != (int)count) fail("submit");
    baton_controller_turn(controllers[BATON_A]);
    if (baton_host_reap(host, done, count, count, -1) != (int)count) fail("reap");
    for (uint32_t i = 0; i < count; i++) {
      if (done[i].status != BATON_STATUS_SUCCESS) fail("request");
      sum += done[i].cookie;
    }
  }
  return sum;
}

typedef uint64_t loop(uint64_t requests, uint32_t depth);

static void run(loop *loop, uint64_t requests, uint32_t depth) {
  if (loop(requests, depth) == requests * (requests - 1) / 2) return;
  fprintf(stderr, "some request was not answered, or answered twice\n");
  exit(2);
}

static int ascending(const void *one, const void *other) {
  uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
  return (a > b) - (a < b);
}

static void latencies(uint64_t requests) {
  uint64_t *times = calloc(requests, sizeof *times);
  if (!times) fail("memory");
  for (uint64_t i = 0; i < requests; i++) {
    uint64_t before = now();
    one_by_one(1, 1);
    times[i] = now() - before;
  }
  qsort(times, requests, sizeof *times, ascending);
  printf("latency at depth 1: p50 %llu ns, p99 %llu ns, p99.9 %llu ns, with the two looks at the clock\n",
         (unsigned long long)times[requests / 2], (unsigned long long)times[requests / 100 * 99],
         (unsigned long long)times[requests / 1000 * 999]);
  free(times);
}

static void rate(const char *name, loop *loop, uint64_t requests, uint32_t depth) {
  uint64_t before = now();
  run(loop, requests, depth);
  printf("%s at depth %u: %.1f ns per request\n", name, depth, (double)(now() - before) / (double)requests);
}

int main(int count, char **words) {
  uint64_t requests = 1000000;
  uint32_t depth = 32;
  loop *mode = NULL;
  for (int i = 1; i < count; i++) {
    if (strcmp(words[i], "--batched") == 0) {
      mode = batched;
    } else if (strcmp(words[i], "--one-by-one") == 0) {
      mode = one_by_one;
    } else if (strcmp(words[i], "--requests") == 0 && i + 1 < count) {
      requests = strtoull(words[++i], NULL, 10);
    } else if (strcmp(words[i], "--depth") == 0 && i + 1 < count) {
      depth = (uint32_t)strtoul(words[++i], NULL, 10);
    } else {
      fprintf(stderr, "usage: dispatch [--requests N] [--depth N] [--batched | --one-by-one]\n");
      return 64;
    }
  }
  if (depth < 1 || depth > DEPTH_MAX || requests < 1000) {
    fprintf(stderr, "a depth is 1 to %d, and there are at least 1,000 requests\n", DEPTH_MAX);
    return 64;
  }
  begin();
  if (mode) {
    run(mode, requests, depth);
  } else {
    latencies(requests / 10);
    rate("one by one", one_by_one, requests, depth);
    rate("batched", batched, requests, depth);
  }
  end();
  return 0;
}

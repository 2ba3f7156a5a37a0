// Tests of the C interface, for tools/check-library. interface [NAME...] runs the tests of those names, or all of them.
// interface cycles N goes through N lives of a whole subsystem, and compares what is left.
//
// BATON_PROGRAM names Baton's executable, for the tests of controllers in processes of their own.
#include <baton.h>

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME "c-interface"

static const char *test;
#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "%s: line %d: not so: %s\n  last error: %s\n", test, __LINE__, #condition,             \
              baton_last_error_text());                                                                      \
      exit(1);                                                                                               \
    }                                                                                                        \
  } while (0)

enum { PATIENCE = 60 };
#define SECONDS(n) ((int64_t)(n) * 1000000000)

// ---- A subsystem whose controllers this thread turns ----

struct lab {
  struct baton_controller *controllers[2];
  struct baton_host *host;
  unsigned char *arena;
};

static void turn(void *context) {
  struct lab *lab = context;
  for (int i = 0; i < 2; i++)
    if (lab->controllers[i]) baton_controller_turn(lab->controllers[i]);
}

static struct baton_controller_options controller_options(void) {
  struct baton_controller_options options;
  baton_controller_options_init(&options, sizeof options);
  // A controller that is not turned for a while must not be taken for dead.
  options.deadline_ns = SECONDS(PATIENCE);
  return options;
}

static void create(const char *unit) {
  CHECK(baton_create(NAME, &unit, 1, BATON_CREATE_REPLACE) == 0);
}

static void begin(struct lab *lab, const char *unit) {
  memset(lab, 0, sizeof *lab);
  create(unit);
  struct baton_controller_options options = controller_options();
  for (uint32_t i = 0; i < 2; i++) CHECK(baton_controller_open(&lab->controllers[i], NAME, i, &options) == 0);
  struct baton_host_options host;
  baton_host_options_init(&host, sizeof host);
  host.turn = turn;
  host.turn_context = lab;
  host.arena_size = 1 << 20;
  CHECK(baton_host_open(&lab->host, NAME, &host) == 0);
  CHECK(baton_host_attach(lab->host, BATON_MASK_BOTH, SECONDS(PATIENCE)) == 0);
  size_t size = 0;
  lab->arena = baton_host_arena(lab->host, &size);
  CHECK(lab->arena && size == 1 << 20);
}

static void end(struct lab *lab) {
  baton_host_close(&lab->host);
  for (int i = 0; i < 2; i++) {
    if (!lab->controllers[i]) continue;
    baton_controller_stop(lab->controllers[i]);
    while (!baton_controller_stopped(lab->controllers[i])) turn(lab);
    CHECK(baton_controller_turn(lab->controllers[i]) == -ESTALE);
    baton_controller_close(&lab->controllers[i]);
    CHECK(!lab->controllers[i]);
  }
  CHECK(baton_destroy(NAME) == 0);
}

static struct baton_completion perform(struct lab *lab, struct baton_request request) {
  struct baton_completion completion;
  CHECK(baton_host_perform(lab->host, &request, &completion) == 0);
  CHECK(completion.cookie == request.cookie);
  return completion;
}

// ---- Controllers that run in threads ----

struct runner {
  pthread_t thread;
  uint32_t which;
  _Atomic(struct baton_controller *) controller;
  int result;
};

static void *run(void *argument) {
  struct runner *runner = argument;
  struct baton_controller_options options = controller_options();
  options.wait = BATON_WAIT_PARK;
  struct baton_controller *controller;
  CHECK(baton_controller_open(&controller, NAME, runner->which, &options) == 0);
  atomic_store(&runner->controller, controller);
  runner->result = baton_controller_run(controller, 0);
  return NULL;
}

static void start_threads(struct runner runners[2]) {
  for (uint32_t i = 0; i < 2; i++) {
    runners[i].which = i;
    runners[i].result = -1;
    atomic_store(&runners[i].controller, NULL);
    CHECK(pthread_create(&runners[i].thread, NULL, run, &runners[i]) == 0);
  }
  CHECK(baton_wait_serving(NAME, BATON_MASK_BOTH, SECONDS(PATIENCE)) == 0);
}

static void stop_threads(struct runner runners[2]) {
  for (int i = 0; i < 2; i++) {
    struct baton_controller *controller = atomic_load(&runners[i].controller);
    baton_controller_stop(controller);
    CHECK(pthread_join(runners[i].thread, NULL) == 0);
    CHECK(runners[i].result == 0);
    baton_controller_close(&controller);
  }
}

static struct baton_host *open_host(void) {
  struct baton_host *host;
  struct baton_host_options options;
  baton_host_options_init(&options, sizeof options);
  options.arena_size = 1 << 20;
  CHECK(baton_host_open(&host, NAME, &options) == 0);
  CHECK(baton_host_attach(host, BATON_MASK_BOTH, SECONDS(PATIENCE)) == 0);
  return host;
}

// ---- The tests ----

static void versions(void) {
  CHECK(baton_api_level() >= BATON_API_LEVEL);
  CHECK(baton_layout_version() > 0);
  char number[32];
  snprintf(number, sizeof number, "%d.%d.%d", BATON_VERSION_MAJOR, BATON_VERSION_MINOR, BATON_VERSION_PATCH);
  CHECK(strncmp(baton_version(), number, strlen(number)) == 0);
  CHECK(strcmp(baton_status_text(BATON_STATUS_SUCCESS), "success") == 0);
  CHECK(baton_status_errno(BATON_STATUS_SUCCESS) == 0 && baton_status_errno(BATON_STATUS_READ_ONLY) == EROFS);
  CHECK(baton_status_errno(200) != 0 && *baton_status_text(200));
}

static void *other_thread(void *seen) {
  *(uint32_t *)seen = baton_last_error()->code;
  return NULL;
}

static void errors(void) {
  const char *unit = "nonsense:x";
  CHECK(baton_create(NAME, &unit, 1, 0) == -EINVAL);
  const struct baton_error *error = baton_last_error();
  CHECK(error->code == BATON_ERROR_INVALID && strstr(error->subject, "nonsense") && *error->fix);
  CHECK(strstr(baton_last_error_text(), error->problem));
  // Each thread has its own.
  uint32_t seen = 99;
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, other_thread, &seen) == 0 && pthread_join(thread, NULL) == 0);
  CHECK(seen == BATON_ERROR_NONE);

  CHECK(baton_destroy("no-such-subsystem") == -ENOENT);
  struct baton_host *host = (void *)1;
  CHECK(baton_host_open(&host, "no-such-subsystem", NULL) == -ENOENT && !host);
  struct baton_controller *controller;
  CHECK(baton_controller_open(&controller, NAME, 7, NULL) == -EINVAL);
  CHECK(baton_create(NULL, &unit, 1, 0) == -EINVAL);
  // Closing nothing is nothing.
  baton_host_close(&host);
  baton_controller_close(&controller);

  create("mem:1M");
  unit = "mem:1M";
  CHECK(baton_create(NAME, &unit, 1, 0) == -EBUSY);
  CHECK(strstr(baton_last_error()->problem, "exists"));
  CHECK(baton_create(NAME, &unit, 1, BATON_CREATE_REPLACE) == 0);
  struct baton_controller_options options = controller_options();
  CHECK(baton_controller_open(&controller, NAME, BATON_A, &options) == 0);
  // Nobody takes a running subsystem away.
  CHECK(baton_create(NAME, &unit, 1, BATON_CREATE_REPLACE) == -EBUSY);
  struct baton_controller *second;
  CHECK(baton_controller_open(&second, NAME, BATON_A, &options) == -EBUSY);
  CHECK(baton_wait_serving(NAME, BATON_MASK_B, 1000000) == -ETIMEDOUT);
  baton_controller_close(&controller);
  CHECK(baton_destroy(NAME) == 0);
}

static void options(void) {
  create("mem:1M");
  // A program with an older header knows less; one with a newer header may set what this library does not know.
  struct {
    struct baton_host_options known;
    uint64_t later;
  } newer;
  baton_host_options_init(&newer.known, sizeof newer);
  CHECK(newer.known.size == sizeof newer && newer.later == 0);
  struct baton_controller *controller;
  struct baton_controller_options older = controller_options();
  older.size = offsetof(struct baton_controller_options, hosts_max);
  older.hosts_max = 0;  // beyond what it knows
  CHECK(baton_controller_open(&controller, NAME, BATON_A, &older) == 0);
  while (!baton_controller_serving(controller)) baton_controller_turn(controller);
  struct baton_host *host;
  CHECK(baton_host_open(&host, NAME, &newer.known) == 0);
  baton_host_close(&host);
  newer.later = 1;
  CHECK(baton_host_open(&host, NAME, &newer.known) == -EOPNOTSUPP);
  newer.known.size = 0;
  CHECK(baton_host_open(&host, NAME, &newer.known) == -EINVAL);
  newer.known.size = sizeof newer.known;
  newer.known.lines = 3;
  CHECK(baton_host_open(&host, NAME, &newer.known) == -EINVAL && strstr(baton_last_error()->fix, "power of two"));
  baton_controller_close(&controller);
  CHECK(baton_destroy(NAME) == 0);
}

static void requests(void) {
  struct lab lab;
  begin(&lab, "mem:1M");
  CHECK(baton_host_attached(lab.host) == BATON_MASK_BOTH);
  CHECK(baton_host_room(lab.host, BATON_A) == 255);
  memset(lab.arena, 0x42, 4096);
  struct baton_request write = {.operation = BATON_WRITE, .flags = BATON_REQUEST_DURABLE, .controller = BATON_A,
                                .length = 4096, .cookie = ~0ull};
  struct baton_completion done = perform(&lab, write);
  CHECK(done.status == BATON_STATUS_SUCCESS && done.value == 4096 && done.controller == BATON_A);
  // Through the controller that did not write it.
  struct baton_request read = {.operation = BATON_READ, .controller = BATON_B, .length = 4096, .buffer = 8192};
  done = perform(&lab, read);
  CHECK(done.status == BATON_STATUS_SUCCESS && done.controller == BATON_B && done.transferred && done.term == 2);
  CHECK(lab.arena[8192] == 0x42 && lab.arena[8192 + 4095] == 0x42);
  done = perform(&lab, (struct baton_request){.operation = BATON_WRITE_ZEROES, .controller = BATON_EITHER,
                                              .length = 4096});
  CHECK(done.status == BATON_STATUS_SUCCESS);
  perform(&lab, read);
  CHECK(lab.arena[8192] == 0);
  CHECK(perform(&lab, (struct baton_request){.operation = BATON_FLUSH}).status == BATON_STATUS_SUCCESS);
  read.offset = 1 << 20;
  CHECK(perform(&lab, read).status == BATON_STATUS_OUT_OF_RANGE);
  CHECK(perform(&lab, (struct baton_request){.operation = BATON_READ, .unit = 9, .length = 512}).status ==
        BATON_STATUS_NO_SUCH_UNIT);

  // The state of a unit.
  struct baton_request state = {.operation = BATON_SET_UNIT_STATE, .offset = BATON_UNIT_READ_ONLY};
  CHECK(perform(&lab, state).status == BATON_STATUS_SUCCESS);
  CHECK(perform(&lab, write).status == BATON_STATUS_READ_ONLY);
  CHECK(perform(&lab, (struct baton_request){.operation = BATON_UNIT_STATE}).value == BATON_UNIT_READ_ONLY);

  // What the interface refuses itself: unknown numbers, and reserved fields.
  struct baton_request bad[] = {
      {.operation = BATON_READ, .flags = 2},      {.operation = BATON_READ, .flags = 0x40},
      {.operation = BATON_READ, .controller = 2}, {.operation = BATON_READ, .controller = 0xfe},
      {.operation = BATON_READ, .reserved_0 = 1}, {.operation = BATON_READ, .reserved_0 = 0x80},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    bad[i].length = 512;
    CHECK(baton_host_submit(lab.host, &bad[i], 1) == -EINVAL);
    struct baton_request mixed[] = {read, bad[i], read};
    mixed[0].offset = 0;
    CHECK(baton_host_submit(lab.host, mixed, 3) == 1);
    struct baton_completion one;
    CHECK(baton_host_reap(lab.host, &one, 1, 1, -1) == 1 && one.status == BATON_STATUS_SUCCESS);
  }
  // What a controller refuses: unknown operations.
  for (int i = 0; i < 256; i++) {
    if (i == 0 || (i > 7 && i < 16) || i > 20)
      CHECK(perform(&lab, (struct baton_request){.operation = (uint8_t)i, .length = 512}).status ==
            BATON_STATUS_INVALID_OPERATION);
  }
  end(&lab);
}

static void batches(void) {
  struct lab lab;
  begin(&lab, "mem:1M");
  struct baton_request batch[64];
  struct baton_completion done[64];
  memset(batch, 0, sizeof batch);
  for (int i = 0; i < 64; i++) {
    batch[i].operation = BATON_READ;
    batch[i].length = 512;
    batch[i].offset = (uint64_t)i * 512;
  }
  uint64_t sum = 0, count = 0, expected = 0;
  for (int round = 0; round < 2000; round++) {
    for (int i = 0; i < 64; i++) {
      batch[i].controller = round / 100 % 2;
      batch[i].cookie = (uint64_t)round * 64 + i;
      expected += batch[i].cookie;
    }
    CHECK(baton_host_submit(lab.host, batch, 64) == 64);
    CHECK(baton_host_outstanding(lab.host) == 64);
    int taken = baton_host_reap(lab.host, done, 64, 64, -1);
    CHECK(taken == 64);
    for (int i = 0; i < taken; i++) {
      CHECK(done[i].status == BATON_STATUS_SUCCESS);
      sum += done[i].cookie;
      count++;
    }
  }
  CHECK(count == 128000 && sum == expected);
  // As many as there is room for, and no more.
  struct baton_request many[300];
  for (int i = 0; i < 300; i++) many[i] = batch[0];
  CHECK(baton_host_submit(lab.host, many, 300) == 255);
  CHECK(baton_host_submit(lab.host, many, 1) == 0);
  for (int left = 255; left > 0;) {
    int taken = baton_host_reap(lab.host, done, 1, 64, -1);
    CHECK(taken > 0);
    left -= taken;
  }
  // With nothing outstanding there is nothing to wait for.
  CHECK(baton_host_reap(lab.host, done, 1, 1, -1) == 0);
  end(&lab);
}

static void waiting(void) {
  struct lab lab;
  begin(&lab, "fault:delay=200ms:mem:1M");
  struct baton_request read = {.operation = BATON_READ, .length = 512};
  struct baton_completion done;
  CHECK(baton_host_submit(lab.host, &read, 1) == 1);
  // Not yet, and then for as long as it takes.
  CHECK(baton_host_reap(lab.host, &done, 0, 1, -1) == 0);
  CHECK(baton_host_reap(lab.host, &done, 1, 1, 1000) == 0);
  CHECK(baton_host_reap(lab.host, &done, 1, 1, SECONDS(PATIENCE)) == 1);
  struct baton_completion second;
  CHECK(baton_host_submit(lab.host, &read, 1) == 1);
  CHECK(baton_host_perform(lab.host, &read, &second) == -EBUSY);
  CHECK(baton_host_reap(lab.host, &done, 1, 1, -1) == 1);
  end(&lab);
}

static void *wake(void *host) {
  baton_host_wake(host);
  return NULL;
}

static void threads(void) {
  create("fault:delay=100ms:mem:1M");
  struct runner runners[2];
  start_threads(runners);
  struct baton_host *host = open_host();
  struct baton_request read = {.operation = BATON_READ, .length = 512};
  struct baton_completion done;
  CHECK(baton_host_perform(host, &read, &done) == 0 && done.status == BATON_STATUS_SUCCESS);
  // Another thread ends the wait; what is outstanding stays so.
  for (int i = 0; i < 20; i++) {
    CHECK(baton_host_submit(host, &read, 1) == 1);
    pthread_t waker;
    CHECK(pthread_create(&waker, NULL, wake, host) == 0);
    int taken = baton_host_reap(host, &done, 1, 1, -1);
    CHECK(pthread_join(waker, NULL) == 0);
    CHECK(taken == 0 || taken == 1);
    // A call that came too late for that wait ends the next one.
    while (baton_host_outstanding(host) > 0) baton_host_reap(host, &done, 1, 1, -1);
  }
  baton_host_close(&host);
  stop_threads(runners);
  CHECK(baton_destroy(NAME) == 0);
}

// Controllers sleep in their threads, and so does the host, in poll(2) and nowhere else.
static void descriptor(void) {
  create("fault:delay=2ms:mem:1M");
  struct runner runners[2];
  start_threads(runners);
  struct baton_host *host = open_host();
  struct pollfd look = {.fd = baton_host_fd(host), .events = POLLIN};
  CHECK(look.fd >= 0 && baton_host_fd(host) == look.fd);
  struct baton_request read = {.operation = BATON_READ, .length = 512};
  struct baton_completion done[4];
  int woken = 0;
  for (int i = 0; i < 200; i++) {
    read.controller = i / 10 % 2;
    CHECK(baton_host_submit(host, &read, 1) == 1);
    int taken = 0;
    for (int looks = 0; taken == 0; looks++) {
      CHECK(looks < 10000);
      taken = baton_host_reap(host, done, 0, 4, 0);
      CHECK(taken >= 0);
      if (taken == 0 && poll(&look, 1, 10000) == 1) woken++;
    }
    CHECK(taken == 1 && done[0].status == BATON_STATUS_SUCCESS);
  }
  // Nothing else than the descriptor ends a wait of 10 s.
  CHECK(woken >= 100);
  baton_host_close(&host);
  stop_threads(runners);
  CHECK(baton_destroy(NAME) == 0);
}

static void takeover(void) {
  struct lab lab;
  begin(&lab, "mem:1M");
  struct baton_request write = {.operation = BATON_WRITE, .length = 512};
  perform(&lab, write);
  // As if it had crashed: its peer takes over.
  baton_controller_close(&lab.controllers[BATON_A]);
  struct baton_completion done = perform(&lab, write);
  CHECK(done.status == BATON_STATUS_SUCCESS && done.controller == BATON_B);
  struct baton_controller_options options = controller_options();
  CHECK(baton_controller_open(&lab.controllers[BATON_A], NAME, BATON_A, &options) == 0);
  CHECK(baton_host_attach(lab.host, BATON_MASK_BOTH, SECONDS(PATIENCE)) == 0);
  done = perform(&lab, write);
  CHECK(done.status == BATON_STATUS_SUCCESS && done.controller == BATON_A);
  end(&lab);
}

static void lost(void) {
  struct lab lab;
  begin(&lab, "mem:1M");
  for (int i = 0; i < 2; i++) baton_controller_close(&lab.controllers[i]);
  struct baton_request read = {.operation = BATON_READ, .length = 512};
  baton_host_submit(lab.host, &read, 1);
  CHECK(baton_destroy(NAME) == 0);
  struct baton_completion done;
  struct baton_request other = {.operation = BATON_READ, .length = 512};
  int result = baton_host_outstanding(lab.host) > 0 ? baton_host_reap(lab.host, &done, 1, 1, -1)
                                                    : baton_host_perform(lab.host, &other, &done);
  CHECK(result == -ENODEV && strstr(baton_last_error_text(), "destroyed"));
  baton_host_close(&lab.host);
}

static void view(void) {
  struct lab lab;
  begin(&lab, "mem:1M");
  struct baton_view *view;
  CHECK(baton_view_open(&view, "no-such-subsystem") == -ENOENT && !view);
  CHECK(baton_view_open(&view, NAME) == 0);
  CHECK(baton_view_units(view) == 1 && baton_view_generation(view) != 0);
  struct baton_ownership ownership;
  CHECK(baton_view_ownership(view, 0, &ownership) == 0);
  CHECK(ownership.owner == BATON_EITHER && ownership.term == 0);
  CHECK(baton_view_ownership(view, 1, &ownership) == -ENOENT);
  struct baton_request write = {.operation = BATON_WRITE, .length = 512, .controller = BATON_B};
  perform(&lab, write);
  // The same mapping shows what has happened since.
  CHECK(baton_view_ownership(view, 0, &ownership) == 0 && ownership.owner == BATON_B && ownership.term == 1);
  struct baton_controller_info info;
  CHECK(baton_view_controller(view, BATON_B, &info) == 0);
  CHECK(info.phase == BATON_PHASE_SERVING && info.standing == BATON_STANDING_MEMBER && info.running);
  CHECK(info.pid == (uint64_t)getpid() && info.incarnation == 1 && !info.parked);
  CHECK(baton_view_controller(view, 5, &info) == -EINVAL);
  struct baton_unit_info unit;
  CHECK(baton_view_unit(view, 0, &unit) == 0);
  CHECK(unit.bytes == 1 << 20 && unit.block_size == 512 && unit.kind == BATON_KIND_MEMORY && unit.state == 0);
  uint64_t counters[64];
  uint32_t count = baton_counter_count();
  CHECK(count > 20 && count <= 64);
  CHECK(baton_view_counters(view, BATON_B, counters, 64) == (int)count);
  int found = 0;
  for (uint32_t i = 0; i < count; i++) {
    CHECK(baton_counter_name(i));
    if (strcmp(baton_counter_name(i), "bytesWritten") == 0) found = counters[i] == 512;
  }
  CHECK(found && !baton_counter_name(count));
  baton_view_close(&view);
  CHECK(!view);
  end(&lab);
}

static void note(void *context, uint32_t level, const char *line) {
  if (level == BATON_LOG_INFO && strstr(line, "controller a")) ++*(int *)context;
}

static void logs(void) {
  create("mem:1M");
  int lines = 0;
  struct baton_controller_options options = controller_options();
  options.log = note;
  options.log_context = &lines;
  options.log_level = BATON_LOG_INFO;
  struct baton_controller *controller;
  CHECK(baton_controller_open(&controller, NAME, BATON_A, &options) == 0);
  CHECK(lines > 0);
  baton_controller_close(&controller);
  CHECK(baton_destroy(NAME) == 0);
}

static void processes(void) {
  const char *program = getenv("BATON_PROGRAM");
  struct baton_process *process[2];
  struct baton_process_options options;
  baton_process_options_init(&options, sizeof options);
  create("mem:1M");
  options.program = "/no/such/program";
  CHECK(baton_process_start(&process[0], NAME, BATON_A, &options) == -ENOENT);
  if (!program) {
    printf("not run: processes, because BATON_PROGRAM is not set\n");
    CHECK(baton_destroy(NAME) == 0);
    return;
  }
  options.program = program;
  options.log = "/dev/null";
  CHECK(baton_process_start(&process[0], NAME, BATON_A, &options) == 0);
  options.flags = BATON_PROCESS_SUPERVISED;
  CHECK(baton_process_start(&process[1], NAME, BATON_B, &options) == 0);
  for (int i = 0; i < 2; i++) CHECK(baton_process_wait_serving(process[i], SECONDS(PATIENCE)) == 0);
  struct baton_host *host = open_host();
  struct baton_request write = {.operation = BATON_WRITE, .length = 512};
  struct baton_completion done;
  CHECK(baton_host_perform(host, &write, &done) == 0 && done.status == BATON_STATUS_SUCCESS);
  struct baton_view *view;
  CHECK(baton_view_open(&view, NAME) == 0);
  struct baton_controller_info info;
  CHECK(baton_view_controller(view, BATON_A, &info) == 0 && (int)info.pid == baton_process_pid(process[0]));

  // The supervisor's controller is another process, and is started again.
  CHECK(baton_view_controller(view, BATON_B, &info) == 0 && (int)info.pid != baton_process_pid(process[1]));
  uint64_t life = info.incarnation;
  CHECK(kill((pid_t)info.pid, SIGKILL) == 0);
  for (int i = 0; info.incarnation == life || info.phase != BATON_PHASE_SERVING; i++) {
    CHECK(i < PATIENCE * 1000);
    usleep(1000);
    CHECK(baton_view_controller(view, BATON_B, &info) == 0);
  }
  CHECK(baton_host_perform(host, &write, &done) == 0 && done.status == BATON_STATUS_SUCCESS);

  int status = -1;
  CHECK(baton_process_ended(process[0], &status) == 0);
  baton_process_kill(process[0]);
  CHECK(baton_process_ended(process[0], &status) == 1 && status == 128 + SIGKILL);
  CHECK(baton_host_perform(host, &write, &done) == 0 && done.controller == BATON_B);
  baton_view_close(&view);
  baton_host_close(&host);
  CHECK(baton_process_stop(process[1], SECONDS(PATIENCE)) == 0);
  for (int i = 0; i < 2; i++) {
    baton_process_close(&process[i]);
    CHECK(!process[i]);
  }
  CHECK(baton_destroy(NAME) == 0);
}

// ---- Cycles: what is left after N lives ----

struct remains {
  long descriptors, mappings, pages, shm;
};

static long entries(const char *path) {
  DIR *folder = opendir(path);
  if (!folder) return 0;
  long count = 0;
  while (readdir(folder)) count++;
  closedir(folder);
  return count;
}

static struct remains remains(void) {
  const char *home = getenv("BATON_HOME");
  struct remains now = {.descriptors = entries("/proc/self/fd"), .shm = entries(home ? home : "/dev/shm")};
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps);
  for (int c; (c = getc(maps)) != EOF;) now.mappings += c == '\n';
  fclose(maps);
  FILE *memory = fopen("/proc/self/statm", "r");
  CHECK(memory && fscanf(memory, "%*d %ld", &now.pages) == 1);
  fclose(memory);
  return now;
}

static void cycles(long count) {
  struct remains before = {0};
  // The first ones fill the allocator's pools.
  long warm = count / 10 + 5;
  for (long i = 0; i < count + warm; i++) {
    if (i == warm) before = remains();
    struct lab lab;
    begin(&lab, "mem:1M");
    CHECK(perform(&lab, (struct baton_request){.operation = BATON_WRITE, .length = 4096}).status == 0);
    end(&lab);
  }
  // Threads of controllers end by themselves, soon.
  struct remains after = remains();
  for (int i = 0; i < 5000 && (after.descriptors > before.descriptors || after.mappings > before.mappings); i++) {
    usleep(1000);
    after = remains();
  }
  printf("%ld cycles: descriptors %ld, before %ld; mappings %ld, before %ld; memory %ld pages, before %ld; "
         "files %ld, before %ld\n",
         count, after.descriptors, before.descriptors, after.mappings, before.mappings, after.pages, before.pages,
         after.shm, before.shm);
  CHECK(after.descriptors <= before.descriptors);
  CHECK(after.mappings <= before.mappings + 4);
  CHECK(after.shm <= before.shm);
  // A hundred bytes a cycle would be 1 MiB after 10,000.
  CHECK((after.pages - before.pages) * sysconf(_SC_PAGESIZE) < 1 << 20);
}

static const struct {
  const char *name;
  void (*run)(void);
} tests[] = {
    {"versions", versions}, {"errors", errors},         {"options", options},   {"requests", requests},
    {"batches", batches},   {"waiting", waiting},       {"threads", threads},   {"descriptor", descriptor},
    {"takeover", takeover}, {"lost", lost},             {"view", view},         {"logs", logs},
    {"processes", processes},
};

int main(int count, char **words) {
  if (count == 3 && strcmp(words[1], "cycles") == 0) {
    test = "cycles";
    cycles(atol(words[2]));
    return 0;
  }
  int run = 0;
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
    int isWanted = count == 1;
    for (int word = 1; word < count; word++) isWanted |= strcmp(words[word], tests[i].name) == 0;
    if (!isWanted) continue;
    test = tests[i].name;
    tests[i].run();
    printf("passed: %s\n", test);
    run++;
  }
  return run > 0 ? 0 : 64;
}

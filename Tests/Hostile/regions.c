// Controllers and commands on damaged regions: regions BATON FOLDER CLASS SEED FIRST COUNT JOBS
//
// Each case makes a subsystem with a memory, a null and a file unit, damages its region in one way of CLASS, and looks
// at it with `baton status`, starts both controllers, lets a host read and write where one of them serves, asks both to
// leave, and destroys it. Demanded of all of them: no crash, no hang, an error with words or service, no unit that
// changed its size, and no signal to a process that only the region names.
//
//   header    fields of the header, checksum made right      journal   plausible and implausible entries and hosts
//   fixed     the fixed half of a unit, checksum made right   words     controller records, hints, times, setters
//   valid     words that are valid and at their ends          variable  anything that the checksum does not cover
//   every     a few bytes of every page
//
// One line a case: what was planted (read back from the file and compared), whether the checksum is what it should be,
// and what came of it. Everything follows from SEED. Exits 0 only if all was as expected and each case had damage.
//
// It knows the public layout and nothing else of Baton. tools/check-regions builds and runs it.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "baton_layout.h"

static const char *baton, *folder;
static _Atomic int *failures;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void die(const char *what) {
  fprintf(stderr, "regions: %s: %s\n", what, strerror(errno));
  _exit(1);
}

static uint64_t state;
static uint64_t any(void) {  // splitmix64
  uint64_t word = state += 0x9e3779b97f4a7c15ull;
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ull;
  word = (word ^ word >> 27) * 0x94d049bb133111ebull;
  return word ^ word >> 31;
}
static uint64_t below(uint64_t count) { return any() % count; }
static uint64_t one_of(int count, ...) {
  va_list values;
  va_start(values, count);
  uint64_t value = 0;
  for (uint64_t index = below((uint64_t)count) + 1; index > 0; index--) value = va_arg(values, uint64_t);
  va_end(values);
  return value;
}
#define U(value) ((uint64_t)(value))
static uint64_t extreme(uint64_t limit) {
  uint64_t chosen = one_of(
      12, U(0), U(1), limit, limit - 1, limit + 512, limit - 512, U(UINT64_MAX), U(INT64_MAX), U(1) << 63, U(4096),
      U(1) << below(64), any());
  return below(2) ? chosen : below(limit + 1) & ~511ull;
}

// ---- The region ----

enum { UNITS = 3, UNIT_SIZE = 65536, FILE_SIZE = 1 << 20 };

struct region {
  uint8_t *bytes;
  size_t size;
  struct baton_region_header header;  // as it was before anything was damaged
  pid_t victim;                       // a process that only the region names
  uint64_t victim_start;
};

static struct baton_controller_record *controller_of(struct region *region, int side) {
  size_t at = region->header.controllers_offset + (size_t)side * sizeof(struct baton_controller_record);
  return (void *)(region->bytes + at);
}
static struct baton_host_record *hosts_of(struct region *region, int side) {
  size_t journal = BATON_HOST_PLACES * sizeof(struct baton_host_record) +
                   BATON_JOURNAL_CAPACITY * sizeof(struct baton_accepted_request);
  return (void *)(region->bytes + region->header.journals_offset + (size_t)side * journal);
}
static struct baton_accepted_request *entries_of(struct region *region, int side) {
  return (void *)(hosts_of(region, side) + BATON_HOST_PLACES);
}
static struct baton_function_record *functions_of(struct region *region) {
  return (void *)(region->bytes + region->header.functions_offset);
}
static struct baton_unit_record *units_of(struct region *region) {
  return (void *)(region->bytes + region->header.units_offset);
}
static struct baton_membership_record *membership_of(struct region *region) {
  return (void *)(region->bytes + region->header.membership_offset);
}

// FNV-1a over what the checksum covers. 0: by what the header says it would lie outside of the region.
static uint64_t checksum_of(const uint8_t *bytes, size_t size) {
  const struct baton_region_header *header = (const void *)bytes;
  uint64_t hash = 0xcbf29ce484222325ull, units = header->unit_count, record = sizeof(struct baton_unit_record);
  if (header->units_offset > size || units > (size - header->units_offset) / record) return 0;
  if (header->strings_offset > size || header->strings_count > size - header->strings_offset) return 0;
  // No value is right where the checksum is a part of what it sums up.
  size_t own = offsetof(struct baton_region_header, checksum);
  if (units && header->units_offset < own + 8 && header->units_offset + units * record > own) return 0;
  if (header->strings_offset < own + 8 && header->strings_offset + header->strings_count > own) return 0;
#define ADD(from, count) \
  for (size_t index = 0; index < (count); index++) hash = (hash ^ (from)[index]) * 0x100000001b3ull
  ADD(bytes, offsetof(struct baton_region_header, checksum));
  for (uint64_t unit = 0; unit < units; unit++)
    ADD(bytes + header->units_offset + unit * record, offsetof(struct baton_unit_record, state));
  ADD(bytes + header->strings_offset, header->strings_count);
#undef ADD
  return hash;
}

static void repair(struct region *region) {
  uint64_t checksum = checksum_of(region->bytes, region->size);
  if (checksum) ((struct baton_region_header *)region->bytes)->checksum = checksum;
}

// ---- Damage ----

static uint64_t ownership(int reaches_end) {
  static const uint64_t states[] = {0, 1, 3, 5, 7};
  uint64_t term = reaches_end ? one_of(4, (U(1) << 48) - 1, (U(1) << 48) - 2, any() >> 16, below(1000)) : below(1000);
  return term << 16 | states[below(5)];
}
static uint64_t half_of_membership(int reaches_end) {
  uint64_t most = (U(1) << 29) - 1;
  uint64_t incarnation = reaches_end ? one_of(4, most, most - 1, any() & most, below(4)) : below(1000);
  return incarnation << 3 | below(4);
}
static void make_words_valid(struct region *region, int ends) {
  for (int function = 0; function <= UNITS; function++) functions_of(region)[function].ownership = ownership(ends);
  for (int unit = 0; unit < UNITS; unit++) units_of(region)[unit].state = any() << 8 | below(3);
  // The unit that is read and written is mostly online.
  if (below(4)) units_of(region)[0].state &= ~255ull;
  membership_of(region)->membership = half_of_membership(ends) | half_of_membership(ends) << 32;
}
static void set_lives(struct region *region) {
  for (int side = 0; side < 2; side++) {
    struct baton_controller_record *record = controller_of(region, side);
    record->phase = below(1000) << 8 | below(6);
    // A process that has nothing to do with this subsystem, named as if it were its controller.
    record->pid = one_of(4, U(0), U(1), U(region->victim), U(region->victim));
    record->start_time = below(4) ? region->victim_start : any();
    record->journal_top = one_of(4, U(0), U(100), U(BATON_JOURNAL_CAPACITY), U(UINT64_MAX));
  }
}

static void damage_header(struct region *region) {
  static const struct {
    size_t at, count;
  } fields[] = {
#define FIELD(name) {offsetof(struct baton_region_header, name), sizeof region->header.name}
      FIELD(layout_version), FIELD(unit_count), FIELD(size), FIELD(generation), FIELD(membership_offset),
      FIELD(controllers_offset), FIELD(journals_offset), FIELD(links_offset), FIELD(functions_offset),
      FIELD(units_offset), FIELD(strings_offset), FIELD(strings_count),
#undef FIELD
  };
  for (uint64_t count = 1 + below(2); count > 0; count--) {
    uint64_t field = below(sizeof fields / sizeof fields[0]), value = extreme(below(2) ? region->size : 65536);
    memcpy(region->bytes + fields[field].at, &value, fields[field].count);
  }
  repair(region);
}

static void damage_fixed(struct region *region) {
  struct baton_unit_record *unit = units_of(region) + below(UNITS);
  for (uint64_t count = one_of(4, U(1), U(1), U(2), U(8)); count > 0; count--) {
    uint64_t power = U(1) << below(64);
    uint64_t value = one_of(5, extreme(1 << 20), extreme(4096), below(8), power, any());
    // Whatever fields there are: by their bytes, in pieces that fields may have.
    size_t width = (size_t)1 << below(4), at = below(offsetof(struct baton_unit_record, state) / width) * width;
    memcpy((uint8_t *)unit + at, &value, width);
  }
  repair(region);
}

static void damage_journal(struct region *region) {
  static const uint8_t operations[] = {1, 2, 2, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20};
  uint64_t count = one_of(5, U(1), U(10), U(100), U(1000), U(BATON_JOURNAL_CAPACITY));
  set_lives(region);
  make_words_valid(region, 0);
  for (int side = 0; side < 2; side++) {
    controller_of(region, side)->journal_top = one_of(4, count, count, U(BATON_JOURNAL_CAPACITY), any());
    for (int place = 0; place < BATON_HOST_PLACES; place++) {
      struct baton_host_record *host = hosts_of(region, side) + place;
      if (below(2)) continue;
      host->identity = one_of(4, U(0), U(1), U(2), any());
      host->pid = one_of(4, U(1), U(region->victim), U(0), any());
      host->start_time = one_of(3, U(0), region->victim_start, any());
    }
    for (uint64_t index = 0; index < count; index++) {
      struct baton_accepted_request *entry = entries_of(region, side) + index;
      entry->state = one_of(5, U(1), U(1), U(1), U(0), any());
      entry->next = (int32_t)one_of(3, U(-1), below(BATON_JOURNAL_CAPACITY), any());
      entry->channel = (uint32_t)(below(20) ? below(2 * BATON_HOST_PLACES) : any());
      entry->operation = below(20) ? operations[below(sizeof operations)] : (uint8_t)any();
      entry->flags = (uint8_t)any();
      entry->slot = (uint16_t)(below(2) ? below(256) : any());
      entry->unit = (uint32_t)(below(20) ? below(UNITS) : any());
      entry->sequence = extreme(1000);
      entry->offset = extreme(UNIT_SIZE);
      entry->length = extreme(UNIT_SIZE);
      entry->buffer = extreme(1 << 20);
      entry->later = (int32_t)any();
      entry->earlier = (int32_t)any();
    }
  }
}

static void damage_words(struct region *region) {
  for (int side = 0; side < 2; side++) {
    uint64_t *words = (uint64_t *)controller_of(region, side);
    for (size_t word = 0; word < sizeof(struct baton_controller_record) / 8; word++)
      words[word] = one_of(4, U(0), any(), below(1024), U(UINT64_MAX));
  }
  set_lives(region);
  uint64_t *links = (uint64_t *)(region->bytes + region->header.links_offset);
  for (int word = 0; word < 2 * BATON_LINK_CAPACITY; word++)
    links[word] = one_of(5, U(0), any(), below(UNITS + 2), U(UINT64_MAX), (U(1) << 63) + below(2));
  make_words_valid(region, 0);
  for (int function = 0; function <= UNITS; function++) functions_of(region)[function].granted_at = any();
  for (int unit = 0; unit < UNITS; unit++)
    for (int word = 0; word < 4; word++) units_of(region)[unit].set_by[word] = any();
}

static void damage_variable(struct region *region) {
  struct baton_region_header header = region->header;
  uint8_t fixed[UNITS][offsetof(struct baton_unit_record, state)];
  uint8_t *strings = malloc(header.strings_count);
  for (int unit = 0; unit < UNITS; unit++) memcpy(fixed[unit], units_of(region) + unit, sizeof fixed[unit]);
  memcpy(strings, region->bytes + header.strings_offset, header.strings_count);
  for (size_t page = 0; page < region->size; page += 4096)
    for (uint64_t count = one_of(4, U(1), U(4), U(64), U(1024)); count > 0; count--) {
      uint64_t value = one_of(4, any(), below(256), U(UINT64_MAX), U(1) << below(64));
      memcpy(region->bytes + page + below(512) * 8, &value, 8);
    }
  memcpy(region->bytes, &header, sizeof header);
  for (int unit = 0; unit < UNITS; unit++) memcpy(units_of(region) + unit, fixed[unit], sizeof fixed[unit]);
  memcpy(region->bytes + header.strings_offset, strings, header.strings_count);
  free(strings);
  set_lives(region);
  make_words_valid(region, 0);
}

static void damage_valid(struct region *region) { make_words_valid(region, 1); }

static void damage_every(struct region *region) {
  for (size_t page = 0; page < region->size; page += 4096)
    for (uint64_t count = one_of(4, U(1), U(1), U(3), U(16)); count > 0; count--)
      region->bytes[page + below(4096)] ^= (uint8_t)(1 + below(255));
}

static const struct {
  const char *name;
  void (*damage)(struct region *);
  int is_repaired;  // the checksum has to be right afterwards, where it can be
} classes[] = {
    {"header", damage_header, 1}, {"fixed", damage_fixed, 1}, {"valid", damage_valid, 1},
    {"journal", damage_journal, 1}, {"words", damage_words, 1}, {"variable", damage_variable, 1},
    {"every", damage_every, 0},
};
enum { CLASSES = sizeof classes / sizeof classes[0] };

// ---- Processes ----

// Starts a program with all that it says in a file.
static pid_t start(const char *log, const char *const *words) {
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int output = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600), input = open("/dev/null", O_RDONLY);
  if (output < 0 || input < 0) _exit(127);
  dup2(input, 0), dup2(output, 1), dup2(output, 2);
  execv(baton, (char *const *)words);
  _exit(127);
}

enum { HANGS = -1000 };
// Its exit status, minus its signal, or HANGS: then it is killed.
static int await(pid_t pid, double seconds) {
  int status;
  for (double end = now() + seconds;; usleep(1000)) {
    pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    if (ended < 0 && errno != EINTR) die("waitpid");
    if (now() > end) break;
  }
  kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return HANGS;
}

// Longer than anything takes on a machine that is busy with other things.
static const double patience = 30;
// A unit may be as slow as 10 s for each operation, of which a run makes several, one after the other.
static const double patience_with_units = 120;

static char *contents(const char *path) {
  static char text[4096];
  int fd = open(path, O_RDONLY);
  ssize_t count = 0;
  if (fd >= 0) {
    off_t size = lseek(fd, 0, SEEK_END);
    count = pread(fd, text, sizeof text - 1, size > 600 ? size - 600 : 0);
    close(fd);
  }
  text[count > 0 ? count : 0] = 0;
  for (char *byte = text; *byte; byte++)
    if (*byte == '\n') *byte = '|';
  return text;
}

static uint64_t start_of(pid_t pid) {  // field 22 of /proc/PID/stat, behind the name in brackets
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY);
  ssize_t count = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (count <= 0) return 0;
  text[count] = 0;
  char *rest = strrchr(text, ')');
  uint64_t start = 0;
  for (int field = 2; rest && field < 22; field++) rest = strchr(rest + 1, ' ');
  if (rest) start = strtoull(rest, NULL, 10);
  return start;
}

// ---- A case ----

struct text {
  char bytes[3000];
  size_t count;
  int is_bad;
};
static void say(struct text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int count = vsnprintf(text->bytes + text->count, sizeof text->bytes - text->count, format, arguments);
  va_end(arguments);
  if (count > 0) text->count += (size_t)count;
  if (text->count >= sizeof text->bytes) text->count = sizeof text->bytes - 1;
}

// Says how a command ended, and whether it may end so.
static void judge(struct text *text, const char *what, int status, const char *log) {
  if (status == 0) return say(text, "; %s done", what);
  // 4: a controller that served first has not gone on, by which nobody else is hurt.
  if (status == 1 || status == 4 || status == 64) {
    say(text, "; %s refused", what);
    if (*contents(log)) return;
    text->is_bad = 1;
    return say(text, " WITHOUT WORDS");
  }
  text->is_bad = 1;
  if (status == HANGS) return say(text, "; %s HANGS: %s", what, contents(log));
  if (status == 2) return say(text, "; %s read WRONG DATA: %s", what, contents(log));
  say(text, "; %s CRASHED with %d: %s", what, status, contents(log));
}

static int is_serving(int fd, const struct region *region, int side, pid_t pid) {
  struct baton_controller_record record;
  off_t at = (off_t)(region->header.controllers_offset + (size_t)side * sizeof record);
  return pread(fd, &record, sizeof record, at) == (ssize_t)sizeof record && record.pid == (uint64_t)pid &&
         (record.phase & 0xff) == 1;  // ControllerRecord.Phase.serving
}

static off_t size_of(const char *path) {
  struct stat facts;
  return stat(path, &facts) == 0 ? facts.st_size : -1;
}

static void look(const char *work, int kind, uint64_t number, pid_t victim, struct text *text) {
  char name[4100], path[4200], log[2][4200], output[4200], file[4200], file_unit[4200], memory[4200];
  snprintf(name, sizeof name, "%s/s", work);
  snprintf(path, sizeof path, "%s/region", name);
  snprintf(memory, sizeof memory, "%s/memory.0", name);
  snprintf(file, sizeof file, "%s/file", work);
  snprintf(file_unit, sizeof file_unit, "%s", file);
  snprintf(output, sizeof output, "%s/output", work);
  int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, FILE_SIZE) != 0) die(file);
  close(fd);
  const char *create[] = {"baton", "create", name, "--unit", "mem:64k", "--unit", "null:1M", "--unit", file, NULL};
  if (await(start(output, create), patience) != 0) {
    text->is_bad = 1;
    return say(text, "; cannot be made: %s", contents(output));
  }

  // What is planted, and that it was: all of it is read back.
  struct region region = {.size = (size_t)size_of(path), .victim = victim, .victim_start = start_of(victim)};
  uint8_t *pristine = malloc(region.size), *again = malloc(region.size);
  region.bytes = malloc(region.size);
  fd = open(path, O_RDWR);
  if (!pristine || !again || !region.bytes || fd < 0) die(path);
  if (pread(fd, pristine, region.size, 0) != (ssize_t)region.size) die(path);
  memcpy(region.bytes, pristine, region.size);
  memcpy(&region.header, pristine, sizeof region.header);
  if (checksum_of(pristine, region.size) != region.header.checksum || region.header.unit_count != UNITS) {
    text->is_bad = 1;
    say(text, "; a sound region's checksum is another than this program knows");
  }
  // A value may happen to be the old one.
  do classes[kind].damage(&region);
  while (memcmp(region.bytes, pristine, region.size) == 0);
  if (pwrite(fd, region.bytes, region.size, 0) != (ssize_t)region.size) die(path);
  if (pread(fd, again, region.size, 0) != (ssize_t)region.size) die(path);
  size_t changed = 0;
  for (size_t index = 0; index < region.size; index++) changed += again[index] != pristine[index];
  int is_planted = changed > 0 && memcmp(again, region.bytes, region.size) == 0;
  uint64_t checksum = checksum_of(again, region.size), written;
  memcpy(&written, again + offsetof(struct baton_region_header, checksum), sizeof written);
  say(text, "%s %zu bytes, checksum %s", is_planted ? "planted" : "NOTHING PLANTED:", changed,
      !checksum ? "not to be had (beyond the region, or over itself)" : checksum == written ? "right" : "wrong");
  if (!is_planted || (classes[kind].is_repaired && checksum && checksum != written)) text->is_bad = 1;

  const char *status[] = {"baton", "status", name, NULL};
  judge(text, "status", await(start(output, status), patience), output);

  pid_t pids[2];
  int ended[2] = {0, 0}, serving[2] = {0, 0}, results[2] = {0, 0};
  for (int side = 0; side < 2; side++) {
    snprintf(log[side], sizeof log[side], "%s/%c.log", work, 'a' + side);
    const char *controller[] = {"baton", "controller", name, side ? "b" : "a", NULL};
    pids[side] = start(log[side], controller);
  }
  for (double end = now() + 3; now() < end && !((ended[0] || serving[0]) && (ended[1] || serving[1])); usleep(2000))
    for (int side = 0; side < 2; side++) {
      int result;
      if (!ended[side] && waitpid(pids[side], &result, WNOHANG) == pids[side]) {
        ended[side] = 1;
        results[side] = WIFEXITED(result) ? WEXITSTATUS(result) : -WTERMSIG(result);
      }
      serving[side] = !ended[side] && is_serving(fd, &region, side, pids[side]);
    }
  if (serving[0] || serving[1]) {
    const char *run[] = {"baton",  "run",        name, "--unit",    "0", "--rw", "randrw", "--bs", "4k", "--verify",
                         "--path", "both", "--iodepth", "8", "--runtime", "0.05", NULL};
    if (!serving[0] || !serving[1]) run[11] = serving[0] ? "a" : "b";
    judge(text, "run", await(start(output, run), patience_with_units), output);
  }
  // Nothing that stands in a region may stop SIGTERM.
  for (int side = 0; side < 2; side++)
    if (!ended[side]) kill(pids[side], SIGTERM);
  for (int side = 0; side < 2; side++) {
    const char *what = side ? "b" : "a";
    if (!ended[side]) results[side] = await(pids[side], patience_with_units);
    if (serving[side]) say(text, "; %s serves", what);
    // A peer that is silent, or that left no life to look at, may be killed by the controller that displaces it.
    if (results[side] == -SIGKILL)
      say(text, "; %s killed by its peer", what);
    else if (!(results[side] == -SIGTERM && !serving[side]))
      judge(text, what, results[side], log[side]);
  }
  close(fd);
  if (kill(victim, 0) != 0 || waitpid(victim, NULL, WNOHANG) != 0) {
    text->is_bad = 1;
    say(text, "; A STRANGER WAS KILLED");
  }
  if (size_of(file_unit) != FILE_SIZE || (size_of(memory) != UNIT_SIZE && size_of(memory) != -1)) {
    text->is_bad = 1;
    say(text, "; A UNIT CHANGED ITS SIZE: %ld and %ld", (long)size_of(file_unit), (long)size_of(memory));
  }
  const char *destroy[] = {"baton", "destroy", name, NULL};
  judge(text, "destroy", await(start(output, destroy), patience), output);
  free(pristine), free(again), free(region.bytes);
  (void)number;
}

static void clear(const char *work) {
  char command[4200];
  snprintf(command, sizeof command, "rm -rf '%s'/s", work);
  if (system(command) != 0) die(work);
}

static void work_through(int job, int jobs, int kind, uint64_t seed, uint64_t first, uint64_t count) {
  char work[4096];
  snprintf(work, sizeof work, "%s/%s-%d", folder, classes[kind].name, job);
  if (mkdir(work, 0700) != 0) die(work);
  for (uint64_t number = first; number < first + count; number++) {
    if (number % (uint64_t)jobs != (uint64_t)job) continue;
    // One that nobody has a reason to touch.
    pid_t victim = fork();
    if (victim < 0) die("fork");
    if (victim == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
    state = (seed * 0x100000001b3ull ^ number) * 0x100000001b3ull ^ (uint64_t)(kind + 1);
    struct text text = {.count = 0};
    double began = now();
    say(&text, "%s %lu: ", classes[kind].name, number);
    look(work, kind, number, victim, &text);
    say(&text, "; %.1f s\n", now() - began);
    if (text.is_bad) ++*failures;
    const char *verdict = text.is_bad ? "FAILED  " : "ok      ";
    char line[4000];
    int length = snprintf(line, sizeof line, "%s%s", verdict, text.bytes);
    if (write(1, line, (size_t)length) != length) die("standard output");
    kill(victim, SIGKILL);
    while (waitpid(victim, NULL, 0) < 0 && errno == EINTR) continue;
    clear(work);
  }
}

int main(int count, char **arguments) {
  int kind = 0;
  while (kind < CLASSES && count == 8 && strcmp(classes[kind].name, arguments[3]) != 0) kind++;
  int jobs = count == 8 ? atoi(arguments[7]) : 0;
  if (count != 8 || kind == CLASSES || jobs < 1 || jobs > 64) {
    fprintf(stderr, "usage: regions BATON FOLDER CLASS SEED FIRST COUNT JOBS; classes:");
    for (int index = 0; index < CLASSES; index++) fprintf(stderr, " %s", classes[index].name);
    fprintf(stderr, "\n");
    return 64;
  }
  baton = arguments[1];
  folder = arguments[2];
  uint64_t seed = strtoull(arguments[4], NULL, 10), first = strtoull(arguments[5], NULL, 10),
           cases = strtoull(arguments[6], NULL, 10);
  setenv("SWIFT_BACKTRACE", "enable=no", 1);  // a crash is to be one at once
  failures = mmap(NULL, sizeof *failures, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (failures == MAP_FAILED) die("mmap");
  for (int job = 0; job < jobs; job++) {
    pid_t worker = fork();
    if (worker < 0) die("fork");
    if (worker == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      work_through(job, jobs, kind, seed, first, cases);
      _exit(0);
    }
  }
  int status, is_broken = 0;
  for (;;) {
    pid_t ended = wait(&status);
    if (ended < 0 && errno == EINTR) continue;
    if (ended < 0) break;
    is_broken |= status != 0;
  }
  return is_broken ? 1 : *failures > 0 ? 2 : 0;
}

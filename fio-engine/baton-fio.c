/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An external ioengine of fio: a host of Baton, so that fio's jobs run on a subsystem's units over shared memory.
 *
 *     fio --name=x --ioengine=external:.../baton-fio.so --filename=NAME/unit0 --rw=randrw --iodepth=32 --verify=crc32c
 *
 * - This file is licensed under the GPL, version 2 only, because it is compiled with fio's headers. The rest of Baton
 *   is not, and does not contain it: see README.md in this folder.
 * - Each thread and each process of a job is a host of its own. `setup` runs before fio forks, and holds nothing.
 * - fio's buffers lie in the host's arena (iomem_alloc), so no data is copied. A worker of io_submit_mode=offload gets
 *   the buffers of its parent, which is another host: there each transfer is copied through a place in the arena.
 * - Answers are taken as many at once as there are, and handed to fio as it asks for them.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton.h>

#include "fio.h"
#include "optgroup.h"

/* Bytes that one read or write moves at most, and one discard or zeroing: the README's table of limits. */
#define TRANSFER_MAX (4ULL << 20)
/* Request lines of a channel at most; one is always promised. */
#define LINES_MAX 4096U
/* Bytes of the arena that all sizes are rounded up to. */
#define PAGE 4096ULL
/* How long a wait for a controller lasts before the job fails: supervised controllers come back within a second. */
#define PATIENCE_NS 60000000000ULL
/* How long it waits for controllers or room at a time. */
#define WAIT_NS 10000000LL

enum { PATH_A = BATON_A, PATH_B = BATON_B, PATH_EITHER = BATON_EITHER, PATH_BOTH = 0x100 };

/* fio wants no option at offset 0, and clears the pointer there. */
struct options {
  void *pad;
  unsigned int path;
  unsigned int wait;
  unsigned int trim;
};

static struct fio_option options[] = {
  {
    .name = "baton_path",
    .lname = "Baton: path",
    .type = FIO_OPT_STR,
    .off1 = offsetof(struct options, path),
    .help = "Controllers that requests are sent to",
    .def = "either",
    .posval = {
      { .ival = "either", .oval = PATH_EITHER, .help = "the host chooses" },
      { .ival = "a", .oval = PATH_A, .help = "controller a" },
      { .ival = "b", .oval = PATH_B, .help = "controller b" },
      { .ival = "both", .oval = PATH_BOTH, .help = "in turns, so ownership moves" },
    },
    .category = FIO_OPT_C_ENGINE,
    .group = FIO_OPT_G_INVALID,
  },
  {
    .name = "baton_wait",
    .lname = "Baton: wait",
    .type = FIO_OPT_STR,
    .off1 = offsetof(struct options, wait),
    .help = "How the host waits for answers",
    .def = "adaptive",
    .posval = {
      { .ival = "adaptive", .oval = BATON_WAIT_ADAPTIVE, .help = "spin for a while, then sleep" },
      { .ival = "spin", .oval = BATON_WAIT_SPIN, .help = "never sleep" },
      { .ival = "park", .oval = BATON_WAIT_PARK, .help = "sleep at once" },
    },
    .category = FIO_OPT_C_ENGINE,
    .group = FIO_OPT_G_INVALID,
  },
  {
    .name = "baton_trim",
    .lname = "Baton: trim",
    .type = FIO_OPT_STR,
    .off1 = offsetof(struct options, trim),
    .help = "What a trim asks for",
    .def = "discard",
    .posval = {
      { .ival = "discard", .oval = BATON_DISCARD, .help = "the contents are no longer needed" },
      { .ival = "zeroes", .oval = BATON_WRITE_ZEROES, .help = "the blocks read as zeroes" },
    },
    .category = FIO_OPT_C_ENGINE,
    .group = FIO_OPT_G_INVALID,
  },
  { .name = NULL },
};

/* What is known of a request until fio has taken its answer. */
struct slot {
  struct io_u *io_u;
  int is_copied; /* through the slot's place in the arena */
};

struct engine {
  struct baton_host *host;
  unsigned char *arena;
  size_t arena_size;
  int gives_memory; /* fio's buffers lie in the arena, all of it */
  unsigned int depth;
  size_t slot_size; /* bytes of a slot's place in the arena */
  struct slot *slots;
  unsigned int *free_slots;
  unsigned int free_count;
  struct baton_request *requests; /* queued and not submitted */
  unsigned int queued;
  struct baton_completion *answers; /* taken, and not handed to fio: those from next_answer on */
  unsigned int answers_end;
  unsigned int next_answer;
  unsigned int first_event; /* of those that getevents has handed out */
  unsigned int turn;
  unsigned int path;
  unsigned int trim;
  int is_durable;
};

extern struct ioengine_ops ioengine;

static int failed(struct thread_data *td, int result, const char *what)
{
  log_err("fio: baton: %s: %s\n", what, baton_last_error_text());
  td_verror(td, -result, what);
  return 1;
}

/* The parts of NAME/unitN. Returns the length of NAME, or 0. */
static size_t split(const char *file, uint32_t *unit)
{
  const char *slash = strrchr(file, '/');
  char *end;
  unsigned long number;

  if (!slash || slash == file || strncmp(slash, "/unit", 5) || slash[5] < '0' || slash[5] > '9')
    return 0;
  errno = 0;
  number = strtoul(slash + 5, &end, 10);
  if (*end || errno || number > UINT32_MAX)
    return 0;
  *unit = (uint32_t)number;
  return (size_t)(slash - file);
}

/* The subsystem of a job, in memory of the caller's. A worker has files, and a count of 0. */
static char *subsystem(struct thread_data *td)
{
  uint32_t unit;
  size_t length;

  if (!td->files || !td->files[0] || !(length = split(td->files[0]->file_name, &unit)))
    return NULL;
  return strndup(td->files[0]->file_name, length);
}

/* Before fio forks: what the units are. */
static int fio_baton_setup(struct thread_data *td)
{
  struct baton_view *view = NULL;
  struct fio_file *f;
  char *name;
  unsigned int i;
  int result;

  /* Near the end of the structure: its place differs if fio was configured otherwise. */
  if (td->io_ops != &ioengine) {
    log_err("fio: baton: this engine was built for another fio; run tools/fio-engine again\n");
    return 1;
  }
  name = subsystem(td);
  if (!name) {
    log_err("fio: baton: '%s' is no unit; use --filename=NAME/unit0\n",
      td->files_index ? td->files[0]->file_name : "");
    td_verror(td, EINVAL, "filename");
    return 1;
  }
  result = baton_view_open(&view, name);
  if (result < 0) {
    free(name);
    return failed(td, result, "view");
  }
  for_each_file(td, f, i) {
    struct baton_unit_info info;
    uint32_t unit;
    size_t length = split(f->file_name, &unit);

    if (length != strlen(name) || strncmp(f->file_name, name, length)) {
      log_err("fio: baton: '%s' is no unit of subsystem '%s'; a job has units of one subsystem\n",
        f->file_name, name);
      td_verror(td, EINVAL, "filename");
      result = -EINVAL;
      break;
    }
    result = baton_view_unit(view, unit, &info);
    if (result < 0) {
      failed(td, result, f->file_name);
      break;
    }
    f->real_file_size = info.bytes;
    f->filetype = FIO_TYPE_BLOCK;
    /* Read by threads and processes of the job, and by workers, which have files of their own. */
    f->engine_data = (void *)(uintptr_t)unit;
    fio_file_set_size_known(f);
  }
  baton_view_close(&view);
  free(name);
  return result < 0;
}

static void release(struct engine *engine)
{
  baton_host_close(&engine->host);
  free(engine->slots);
  free(engine->free_slots);
  free(engine->requests);
  free(engine->answers);
  free(engine);
}

static void fio_baton_cleanup(struct thread_data *td)
{
  if (!td->io_ops_data)
    return;
  release(td->io_ops_data);
  td->io_ops_data = NULL;
}

/* In each thread and process of a job, and in each worker: a host. */
static int fio_baton_init(struct thread_data *td)
{
  struct options *o = td->eo;
  struct baton_host_options host_options;
  struct engine *engine;
  char *name;
  unsigned int depth = td->o.iodepth, lines = 256, i;
  unsigned long long block = td_max_bs(td);
  int result;

  if (td->o.max_bs[DDIR_READ] > TRANSFER_MAX || td->o.max_bs[DDIR_WRITE] > TRANSFER_MAX) {
    log_err("fio: baton: bs is %llu, and one request moves %llu at most\n", block, TRANSFER_MAX);
    td_verror(td, EINVAL, "bs");
    return 1;
  }
  if (depth >= LINES_MAX) {
    log_err("fio: baton: iodepth is %u, and a host has %u requests at most\n", depth, LINES_MAX - 1);
    td_verror(td, EINVAL, "iodepth");
    return 1;
  }
  /* A trim's blocks need no memory. */
  if (block > TRANSFER_MAX)
    block = TRANSFER_MAX;
  while (lines <= depth)
    lines *= 2;

  engine = calloc(1, sizeof(*engine));
  name = subsystem(td);
  if (!engine || !name)
    goto no_memory;
  engine->depth = depth;
  engine->path = o->path;
  engine->trim = o->trim;
  engine->is_durable = td->o.sync_io != 0;
  engine->slot_size = (block + PAGE - 1) & ~(PAGE - 1);
  engine->slots = calloc(depth, sizeof(*engine->slots));
  engine->free_slots = calloc(depth, sizeof(*engine->free_slots));
  engine->requests = calloc(depth, sizeof(*engine->requests));
  engine->answers = calloc(depth, sizeof(*engine->answers));
  if (!engine->slots || !engine->free_slots || !engine->requests || !engine->answers)
    goto no_memory;
  for (i = 0; i < depth; i++)
    engine->free_slots[engine->free_count++] = depth - 1 - i;

  baton_host_options_init(&host_options, sizeof(host_options));
  host_options.lines = lines;
  host_options.wait = o->wait;
  if (o->path == PATH_A || o->path == PATH_B)
    host_options.controller = o->path;
  /* All buffers, with what fio adds to align them; as much is enough for a place for each request. */
  engine->arena_size = engine->slot_size * depth + 2 * PAGE + td->o.mem_align;
  engine->arena_size = (engine->arena_size + PAGE - 1) & ~(PAGE - 1);
  host_options.arena_size = engine->arena_size;
  result = baton_host_open(&engine->host, name, &host_options);
  if (result < 0) {
    failed(td, result, "host");
    goto out;
  }
  /* To both if both run; one alone serves as well. */
  if (host_options.controller == BATON_EITHER)
    result = baton_host_attach(engine->host, BATON_MASK_BOTH, 2000000000);
  else
    result = baton_host_attach(engine->host, 1U << host_options.controller, 10000000000);
  if (result < 0 && !baton_host_attached(engine->host)) {
    failed(td, result, "attach");
    goto out;
  }
  engine->arena = baton_host_arena(engine->host, &engine->arena_size);
  td->io_ops_data = engine;
  free(name);
  return 0;

no_memory:
  log_err("fio: baton: no memory for %u requests\n", depth);
  td_verror(td, ENOMEM, "memory");
out:
  free(name);
  if (engine)
    release(engine);
  return 1;
}

static int fio_baton_iomem_alloc(struct thread_data *td, size_t size)
{
  struct engine *engine = td->io_ops_data;

  if (size > engine->arena_size) {
    log_err("fio: baton: the buffers need %zu bytes, and the arena has %zu\n", size, engine->arena_size);
    return 1;
  }
  engine->gives_memory = 1;
  td->orig_buffer = (char *)engine->arena;
  return 0;
}

static void fio_baton_iomem_free(struct thread_data *td)
{
  td->orig_buffer = NULL;
}

static enum fio_q_status fio_baton_queue(struct thread_data *td, struct io_u *io_u)
{
  struct engine *engine = td->io_ops_data;
  struct baton_request *request = &engine->requests[engine->queued];
  struct slot *slot;
  unsigned int index;
  uintptr_t place;

  fio_ro_check(td, io_u);
  if (!engine->free_count)
    return FIO_Q_BUSY;
  index = engine->free_slots[engine->free_count - 1];
  slot = &engine->slots[index];
  slot->io_u = io_u;
  slot->is_copied = 0;
  request->flags = 0;
  request->unit = (uint32_t)(uintptr_t)io_u->file->engine_data;
  request->offset = io_u->offset;
  request->length = io_u->xfer_buflen;
  request->buffer = 0;
  request->cookie = index;
  request->controller = engine->path == PATH_BOTH ? engine->turn++ & 1 : engine->path;

  switch (io_u->ddir) {
  case DDIR_READ:
  case DDIR_WRITE:
    request->operation = io_u->ddir == DDIR_READ ? BATON_READ : BATON_WRITE;
    if (io_u->ddir == DDIR_WRITE && engine->is_durable)
      request->flags = BATON_REQUEST_DURABLE;
    place = (uintptr_t)io_u->xfer_buf - (uintptr_t)engine->arena;
    if (place < engine->arena_size && io_u->xfer_buflen <= engine->arena_size - place) {
      request->buffer = place;
    } else if (engine->gives_memory || io_u->xfer_buflen > engine->slot_size) {
      /* fio has a buffer of its own for this one, and every byte of the arena is another's. */
      io_u->error = EFAULT;
      return FIO_Q_COMPLETED;
    } else {
      request->buffer = index * engine->slot_size;
      slot->is_copied = 1;
      if (io_u->ddir == DDIR_WRITE)
        memcpy(engine->arena + request->buffer, io_u->xfer_buf, io_u->xfer_buflen);
    }
    break;
  case DDIR_TRIM:
    request->operation = engine->trim;
    break;
  case DDIR_SYNC:
  case DDIR_DATASYNC:
  case DDIR_SYNC_FILE_RANGE:
    request->operation = BATON_FLUSH;
    request->offset = 0;
    request->length = 0;
    break;
  default:
    io_u->error = EINVAL;
    return FIO_Q_COMPLETED;
  }
  engine->free_count--;
  engine->queued++;
  return FIO_Q_QUEUED;
}

/* Takes what answers there are, after those that fio has not asked for yet. */
static int reap(struct engine *engine, unsigned int min, int64_t timeout)
{
  unsigned int kept = engine->answers_end - engine->next_answer;
  int result;

  if (engine->next_answer) {
    memmove(engine->answers, engine->answers + engine->next_answer, kept * sizeof(*engine->answers));
    engine->next_answer = 0;
    engine->answers_end = kept;
  }
  result = baton_host_reap(engine->host, engine->answers + kept, min, engine->depth - kept, timeout);
  if (result > 0)
    engine->answers_end += result;
  return result;
}

static uint64_t now(void)
{
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int fio_baton_commit(struct thread_data *td)
{
  struct engine *engine = td->io_ops_data;
  unsigned int first = 0;
  uint64_t end = 0;

  while (first < engine->queued) {
    int result = baton_host_submit(engine->host, engine->requests + first, engine->queued - first);

    if (result > 0) {
      first += result;
      end = 0;
      continue;
    }
    /* No room, or no controller at present. */
    if (result == 0) {
      if (!end)
        end = now() + PATIENCE_NS;
      if (baton_host_outstanding(engine->host))
        result = reap(engine, 1, WAIT_NS);
      else
        result = baton_host_attach(engine->host, BATON_MASK_BOTH, WAIT_NS);
      if ((result >= 0 || result == -ETIMEDOUT) && now() < end)
        continue;
    }
    log_err("fio: baton: a request cannot be submitted: %s\n", baton_last_error_text());
    engine->queued = 0;
    return result < 0 ? result : -ENODEV;
  }
  engine->queued = 0;
  return 0;
}

static int fio_baton_getevents(struct thread_data *td, unsigned int min, unsigned int max, const struct timespec *t)
{
  struct engine *engine = td->io_ops_data;
  int64_t timeout = t ? (int64_t)t->tv_sec * 1000000000 + t->tv_nsec : -1;
  unsigned int ready = engine->answers_end - engine->next_answer;

  if (ready < min || !ready) {
    int result = reap(engine, min > ready ? min - ready : 0, timeout);

    if (result < 0) {
      log_err("fio: baton: %s\n", baton_last_error_text());
      return result;
    }
    ready = engine->answers_end - engine->next_answer;
  }
  if (ready > max)
    ready = max;
  engine->first_event = engine->next_answer;
  engine->next_answer += ready;
  return (int)ready;
}

static struct io_u *fio_baton_event(struct thread_data *td, int event)
{
  struct engine *engine = td->io_ops_data;
  const struct baton_completion *answer = &engine->answers[engine->first_event + event];
  unsigned int index = (unsigned int)answer->cookie;
  struct slot *slot = &engine->slots[index];
  struct io_u *io_u = slot->io_u;

  if (slot->is_copied && io_u->ddir == DDIR_READ && answer->status == BATON_STATUS_SUCCESS)
    memcpy(io_u->xfer_buf, engine->arena + index * engine->slot_size, io_u->xfer_buflen);
  engine->free_slots[engine->free_count++] = index;
  io_u->error = answer->status ? (unsigned int)baton_status_errno(answer->status) : 0;
  /* Nothing is transferred in part: it is done, or it has failed. */
  io_u->resid = io_u->error ? io_u->xfer_buflen : 0;
  return io_u;
}

/* There is nothing to open: `setup` has found the units, and `init` has a host. */
static int fio_baton_file(struct thread_data *td, struct fio_file *f)
{
  return 0;
}

struct ioengine_ops ioengine = {
  .name = "baton",
  .version = FIO_IOOPS_VERSION,
  .flags = FIO_DISKLESSIO | FIO_NOEXTEND | FIO_NODISKUTIL | FIO_RAWIO | FIO_MEMALIGN,
  .setup = fio_baton_setup,
  .init = fio_baton_init,
  .queue = fio_baton_queue,
  .commit = fio_baton_commit,
  .getevents = fio_baton_getevents,
  .event = fio_baton_event,
  .cleanup = fio_baton_cleanup,
  .open_file = fio_baton_file,
  .close_file = fio_baton_file,
  .invalidate = fio_baton_file,
  .iomem_alloc = fio_baton_iomem_alloc,
  .iomem_free = fio_baton_iomem_free,
  .option_struct_size = sizeof(struct options),
  .options = options,
};

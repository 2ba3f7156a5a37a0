// Everything that lies in memory shared between processes, or crosses a control socket. In C, because C says where
// a field lies and Swift does not promise it; the assertions below pin it. Fields marked "word" are atomic 64-bit
// words, reached from Swift by their offset through the atomics facade and never through these structs.
#ifndef BATON_LAYOUT_H
#define BATON_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

// A change of anything here is a new version: a region or host memory of another version is refused. What was unused is
// 0, and may come into use with 0 as "not used" without one.
enum { BATON_LAYOUT_VERSION = 9 };

// ---- The controllers' region ----

struct baton_region_header {
  uint64_t magic;           // BATON_REGION_MAGIC
  uint32_t layout_version;  // BATON_LAYOUT_VERSION
  uint32_t unit_count;      // units; functions are one more
  uint64_t size;            // of the whole region, bytes
  uint64_t generation;      // of this subsystem: two of one name are not the same
  uint64_t membership_offset;
  uint64_t controllers_offset;
  uint64_t journals_offset;
  uint64_t links_offset;
  uint64_t functions_offset;
  uint64_t units_offset;
  uint64_t strings_offset;
  uint64_t strings_count;
  uint64_t boot;      // in which boot of the machine it was made: device numbers mean nothing in another; 0: unknown
  uint64_t checksum;  // FNV-1a over this header up to here, the fixed half of every unit record, and the strings
};
#define BATON_REGION_MAGIC 0x4e4f49474552424aull
static const uint64_t baton_region_magic = BATON_REGION_MAGIC;

// The membership word: which controllers take part. It is alone on its page next to the records.
struct baton_membership_record {
  uint64_t membership;  // word
  uint64_t unused[511];
};

enum { BATON_WAITING_SPIN = 1, BATON_WAITING_ADAPTIVE = 2, BATON_WAITING_PARK = 3 };

enum {
  BATON_COUNTERS = 64,  // room for counters in a controller's record, used or not
};

// One a controller, a page each so that no line of one is written by the other.
struct baton_controller_record {
  uint64_t phase;        // word: incarnation << 8 | phase
  uint64_t pid;          // word
  uint64_t start_time;   // word: of the process, clock ticks since boot (/proc/PID/stat field 22): a pid can return
  uint64_t takeover;     // word: this controller's progress in standing in for its peer
  uint64_t journal_top;  // word: entries of its journal from here on were never used in this life or an earlier one
  uint64_t waiting;      // word: how its loop waits: nanoseconds of a spin << 8 | BATON_WAITING_...; 0: unknown
  uint64_t unused_0[2];
  uint64_t parked;       // word, a line of its own: whether the controller sleeps, see SleepWord
  uint64_t unused_1[7];
  uint64_t link_sent;    // word: the position of this controller as writer of its link ring
  uint64_t unused_2[7];
  uint64_t link_received;  // word: its position as reader of its peer's
  uint64_t unused_3[7];
  uint64_t beat;         // word, a line of its own: grows with the turns of the loop, and within long ones
  uint64_t turned_at;    // word: when the loop last read the clock, monotonic nanoseconds; at least once a second
  uint64_t unused_4[6];
  uint64_t counters[BATON_COUNTERS];  // words, only this controller writes
  uint64_t life[8];        // a lock that the thread of the loop holds while it runs, see shim_life_begin
  uint64_t trace;          // word: the number of the trace that is being recorded, 0: none. The recorder writes it
  uint64_t unused_5[399];
};

// One per host of a controller, next to its journal: it tells a survivor which host the entries belong to.
struct baton_host_record {
  uint64_t identity;    // of the host's memory; 0: no host in this place
  uint64_t pid;         // of the host
  uint64_t start_time;  // of that process
  uint64_t unused[5];
};

// One request that a controller has accepted and not answered: one line of its journal. All but the state is the
// controller's own until the state says that the request is in flight; from then on it is what a survivor reads.
struct baton_accepted_request {
  uint64_t state;      // word: 1 from before the request is given to the storage until it has been answered, else 0
  int32_t next;        // in whichever list of the controller the entry is; -1: none. Nothing to a survivor
  uint32_t channel;    // the host's place in the controller's table, twice, plus 1 for a line of b's channel
  uint8_t operation;   // Operation; from here to `unit` in the order of a request line, so that one store copies it
  uint8_t flags;       // bit 0: durable; 1: waited for a change of owner; 2 to 6: baton_accepted_request.Flag; 7: fast
  uint16_t slot;       // the line
  uint32_t unit;       // which unit
  uint64_t sequence;   // of the request in its channel
  uint64_t offset;     // bytes in the unit; for management what it needs
  uint64_t length;     // bytes
  uint64_t buffer;     // bytes in the host's arena
  int32_t later;       // among the writes of its unit that are on the storage, -1: none. Nothing to a survivor
  int32_t earlier;     // the same, the other way
};

// One a function: the ownership word alone on two lines, because processors fetch lines in pairs.
struct baton_function_record {
  uint64_t ownership;   // word
  uint64_t granted_at;  // word: monotonic nanoseconds of the last grant, if both controllers wanted the function; or 0
  uint64_t unused[14];
};

struct baton_unit_record {
  // The fixed half: written at creation, covered by the checksum.
  uint64_t size;  // bytes
  uint32_t block_size;
  uint8_t kind;  // UnitGeometry.Kind
  uint8_t is_direct;
  uint16_t unused_0;
  uint32_t path_offset;  // within the strings
  uint32_t path_count;
  uint64_t delay_nanoseconds;  // the fault plan
  uint64_t error_after;
  uint64_t error_every;
  uint32_t short_transfer_bytes;
  uint32_t name_count;   // of the name that it was given; 0: none
  uint32_t name_offset;  // within the strings
  uint32_t unused_1;
  uint64_t device;  // of a file: where it lies; of a block device: its number; 0 for a null unit
  uint64_t inode;   // of a file; 0 for anything else
  // The changing half.
  uint64_t state;  // word: how often it was set << 8 | UnitState
  // Which request set it, in the pair that the lowest bit of the count names, so that one store changes both: the
  // identity of its host's memory, and sequence << 1 | 1 for b's channel.
  uint64_t set_by[4];
  uint64_t unused_2;
};

enum {
  BATON_LINK_CAPACITY = 1024,      // hints each way
  BATON_HOST_PLACES = 256,         // host records with each journal
  BATON_JOURNAL_CAPACITY = 16384,  // requests that a controller has accepted and not answered
};

// ---- Host memory ----

struct baton_host_header {
  uint64_t magic;  // BATON_HOST_MAGIC
  uint32_t layout_version;
  uint32_t lines_per_channel;  // a power of two
  uint64_t size;               // of the whole memory
  uint64_t arena_offset;
  uint64_t arena_size;
  uint64_t identity;  // random: says which host this is when it comes back
  uint64_t trace;     // word: as in a controller's record, for the host. Controllers write it
  uint64_t unused_0[1];
  uint64_t host_parked;  // word, a line of its own: whether the host sleeps, see SleepWord
  uint64_t unused_1[7];
  uint64_t controller_parked_a;  // word, a line of its own: whether controller a sleeps
  uint64_t unused_2[7];
  uint64_t controller_parked_b;
  uint64_t unused_3[7];
};
#define BATON_HOST_MAGIC 0x54534f484e4f5442ull
static const uint64_t baton_host_magic = BATON_HOST_MAGIC;

enum {
  BATON_HOST_HEADER_SIZE = 4096,
  BATON_LINES_MIN = 2,
  BATON_LINES_MAX = 4096,
};

// One request, one cache line: the flag of the request, the request, and its response.
struct baton_request_line {
  uint64_t flag;      // word: sequence << 16 | status << 8 | state
  uint8_t operation;  // the request: written by the host before it submits
  uint8_t flags;      // bit 0: durable (FUA); 1: the next request may be in this line again, once answered; 7: fast
  uint16_t next;      // the line where this host's next request on this channel will be, if not in this one
  uint32_t unit;
  uint64_t offset;
  uint64_t length;
  uint64_t buffer;   // offset in the arena
  uint64_t cookie;   // the host's own; controllers do not read it
  uint64_t value;    // the response: written by the controller before it answers
  uint64_t service;  // the response: term << 16 | transferred << 8 | controller
};

// ---- Control socket messages, one record each ----

struct baton_attach_request {
  uint64_t magic;  // BATON_HOST_MAGIC
  uint32_t layout_version;
  uint32_t kind;  // 1: a host, with its memory's descriptor; 2: the peer controller; 4: asks for listening sockets
  uint64_t generation;  // of the subsystem that the host has been attached to before; 0: it has not
};

// A socket that the peer controller listens on, with its descriptor; without one where there are none, and at the end
// of the answer to one that asks.
struct baton_listener_message {
  uint64_t magic;  // BATON_HOST_MAGIC
  uint32_t layout_version;
  uint32_t kind;    // 3
  uint32_t number;  // from 0 on
  uint32_t count;   // of all of them
};

struct baton_attach_reply {
  uint64_t magic;
  uint32_t layout_version;
  uint32_t refusal;  // BATON_ATTACHED, or why not
  uint64_t controller;
  uint64_t incarnation;
  uint64_t generation;
  uint64_t unit_count;
  char reason[200];  // of the refusal, for people; ends in a zero
};

enum { BATON_ATTACH_HOST = 1, BATON_ATTACH_PEER = 2, BATON_ATTACH_LISTENER = 3, BATON_ATTACH_ASK = 4 };
enum { BATON_ATTACHED = 0, BATON_REFUSED = 1, BATON_REFUSED_OTHER_SUBSYSTEM = 2 };
enum { BATON_LISTENERS_MAX = 8 };  // sockets that one controller listens on for NBD
// The one-byte message: a doorbell.
enum { BATON_MESSAGE_DOORBELL = 'd' };

// ---- The trace ----

// A file in the subsystem's folder while a trace is recorded: this header, then the rings' records, then from
// `events_offset` on the rings themselves, one after the other.
struct baton_trace_header {
  uint64_t magic;  // BATON_TRACE_MAGIC
  uint32_t layout_version;
  uint32_t ring_count;
  uint64_t ring_capacity;  // events of a ring, a power of two
  uint64_t events_offset;
  uint64_t number;         // of this trace, as it stands in the controllers' records
  uint64_t generation;     // of the subsystem
  uint64_t claimed;        // word: writers so far. Each takes the next ring; those after the last one have none
  uint64_t unused;
};
#define BATON_TRACE_MAGIC 0x454341525442ull
static const uint64_t baton_trace_magic = BATON_TRACE_MAGIC;

enum {
  BATON_TRACE_HEADER_SIZE = 4096,
  BATON_TRACE_CONTROLLER_A = 1,
  BATON_TRACE_CONTROLLER_B = 2,
  BATON_TRACE_HOST = 3,
};

// One writer's ring: a life of a controller, or a host.
struct baton_trace_ring {
  uint64_t written;   // word, a line of its own: events since the beginning; only the writer writes
  uint64_t unused_0[7];
  uint64_t writer;    // word: 0, or what writes here, once the rest of this line is written
  uint64_t life;      // a controller's incarnation; a host's identity
  uint64_t pid;
  uint64_t unused_1[5];
};

// One step of the protocol, as its writer saw it.
struct baton_trace_event {
  uint64_t time;      // word: monotonic nanoseconds
  uint64_t step;      // word: step | operation or status << 8 | channel << 16 | function << 32
  uint64_t request;   // word: line | its number in its channel << 16
  uint64_t value;     // word: what the step says
};

// ---- Management data, in the arena ----

struct baton_identity {
  uint64_t generation;
  uint64_t controller;
  uint64_t incarnation;
  uint64_t pid;
  uint64_t unit_count;
  uint64_t layout_version;
};

struct baton_unit_description {
  uint64_t unit;
  uint64_t size;
  uint64_t block_size;
  uint64_t state;
  uint64_t kind;
  uint64_t is_direct;
};

#define BATON_PIN(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type " has moved")
#define BATON_PIN_FIELD(type, field, at) _Static_assert(offsetof(struct type, field) == (at), #type "." #field)
BATON_PIN(baton_region_header, 112);
BATON_PIN(baton_membership_record, 4096);
BATON_PIN(baton_controller_record, 4096);
BATON_PIN_FIELD(baton_controller_record, parked, 64);
BATON_PIN_FIELD(baton_controller_record, link_sent, 128);
BATON_PIN_FIELD(baton_controller_record, link_received, 192);
BATON_PIN_FIELD(baton_controller_record, beat, 256);
BATON_PIN_FIELD(baton_controller_record, counters, 320);
BATON_PIN_FIELD(baton_controller_record, life, 832);
BATON_PIN_FIELD(baton_controller_record, trace, 896);
BATON_PIN(baton_trace_header, 64);
BATON_PIN(baton_trace_ring, 128);
BATON_PIN_FIELD(baton_trace_ring, writer, 64);
BATON_PIN(baton_trace_event, 32);
BATON_PIN(baton_host_record, 64);
BATON_PIN(baton_accepted_request, 64);
BATON_PIN_FIELD(baton_accepted_request, operation, 16);
BATON_PIN_FIELD(baton_accepted_request, slot, 18);
BATON_PIN_FIELD(baton_accepted_request, sequence, 24);
BATON_PIN(baton_function_record, 128);
BATON_PIN_FIELD(baton_function_record, granted_at, 8);
BATON_PIN(baton_unit_record, 128);
BATON_PIN_FIELD(baton_unit_record, device, 64);
BATON_PIN_FIELD(baton_unit_record, state, 80);
BATON_PIN_FIELD(baton_unit_record, set_by, 88);
BATON_PIN(baton_host_header, 256);
BATON_PIN_FIELD(baton_host_header, host_parked, 64);
BATON_PIN_FIELD(baton_host_header, controller_parked_a, 128);
BATON_PIN_FIELD(baton_host_header, controller_parked_b, 192);
BATON_PIN(baton_request_line, 64);
BATON_PIN(baton_attach_request, 24);
BATON_PIN_FIELD(baton_attach_request, generation, 16);
BATON_PIN(baton_listener_message, 24);
BATON_PIN(baton_attach_reply, 248);
BATON_PIN(baton_identity, 48);
BATON_PIN(baton_unit_description, 48);

#endif

/* A channel: a host submits and reuses its lines; a controller takes requests, answers and dies; and a new controller
 * finds from the lines alone where the channel stands, while the host goes on (Channel/ChannelPosition.swift,
 * Channel/RequestLine.swift, Host/RequestQueue.swift, Controller+Channels.swift, `takePosition`).
 *
 * Each look at a line and each store to a line is a step. Memory is sequentially consistent: the fences of `find` and
 * `submit` have no part in this model.
 */
#ifndef REQUESTS
#define REQUESTS 5
#endif
#define LINES 4 /* a power of two: three can be outstanding */
#ifndef DEATHS
#define DEATHS 1
#endif

#define FREE 0
#define SUBMITTED 1
#define ANSWERED 2

/* The lines. State and number are one word, and so are `next` and `mayStay`. */
byte state[LINES];
byte number[LINES];
byte next_line[LINES];
bool may_stay[LINES];

byte answered; /* ghost: masks of requests, by their number less 1 */
byte deaths = DEATHS;
/* Something may be found: a poll that finds nothing is made again only after this has become true. */
bool changed = true;
#define BIT(n) (1 << ((n) - 1))

hidden byte taken_twice;
hidden byte taken_out_of_order;
hidden byte taken_from_a_wrong_line;
hidden byte contradiction_found;
hidden byte host_evicted;
hidden byte never_answered;
#define INVARIANT(condition, name) if :: (condition) :: else -> assert(name) fi

/* ---- The host: RequestQueue ---- */
byte order[LINES] = { 0, 1, 2, 3 };
byte head, tail;
bool stays; /* `mayStay`: of the last request */

inline exchange(i, j) {
  swapped = order[(i) % LINES]; order[(i) % LINES] = order[(j) % LINES]; order[(j) % LINES] = swapped; swapped = 0
}
/* `stay`: the line that may be used again is promised instead of the one that it has named. */
inline stay() {
  if
  :: stays && tail - head == 1 -> exchange(head, tail)
  :: else
  fi
}

#define RETIRE(ahead) \
  :: atomic { head + ahead < tail && state[order[(head + ahead) % LINES]] == ANSWERED -> \
      exchange(head + ahead, head); \
      stay(); \
      head++ }

proctype Host() {
  byte swapped;
end:
  do
  /* `submit`: the fields, then the flag. Three of four lines can be outstanding. */
  :: atomic { tail < REQUESTS && tail - head < LINES - 1 ->
      stays = (tail == head);
      next_line[order[tail % LINES]] = order[(tail + 1) % LINES];
      may_stay[order[tail % LINES]] = stays }
    atomic {
      number[order[tail % LINES]] = tail + 1;
      state[order[tail % LINES]] = SUBMITTED;
      changed = true;
      tail++ }
  /* `nextInTurn`, and `retire` for one that is answered out of turn. */
  RETIRE(0)
  RETIRE(1)
  RETIRE(2)
  od
}

/* ---- The controllers: one life after another ---- */
#define ANSWER(line) \
  :: atomic { state[line] == SUBMITTED && ((taken | known) & BIT(number[line])) -> \
      taken = taken & ~BIT(number[line]); \
      known = known & ~BIT(number[line]); \
      answered = answered | BIT(number[line]); \
      state[line] = ANSWERED }

inline receive(slot, n) {
  INVARIANT(!((taken | known) & BIT(n)), taken_twice);
  INVARIANT(number[slot] == (n) && state[slot] == SUBMITTED, taken_from_a_wrong_line);
#ifndef UNSORTED
  INVARIANT((n) > last, taken_out_of_order);
#endif
  last = n;
  taken = taken | BIT(n)
}

/* `ChannelPosition` and `lookForOffences` as they are, or broken. */
#ifdef IGNORE_STAYING
#define STAYS false
#else
#define STAYS true
#endif
#define LOOKS_AGAIN(slot) (state[slot] == seen_state && number[slot] == seen_number)
#ifdef NO_SECOND_SCAN
#define SCANS_AGAIN false
#else
#define SCANS_AGAIN true
#endif
#ifdef FORGET_WHAT_WAITS
#define FOUND(n) 0
#else
#define FOUND(n) BIT(n)
#endif
#ifdef IGNORE_JOURNAL
#define KNOWN 0
#else
#define KNOWN known
#endif
#ifdef SCAN_ONCE
#define SCANS_MAX 1
#else
#define SCANS_MAX 3 /* `scansMax` */
#endif
#ifdef POLL_WITHOUT_NUMBER
#define IS_DUE(slot) true
#else
#define IS_DUE(slot) (number[slot] == due)
#endif
#ifdef EVICT_AT_ONCE
#define SECOND_LOOK false
#else
#define SECOND_LOOK (state[staying] == SUBMITTED && number[staying] == n)
#endif

proctype Controller() {
  byte next, staying, due = 1;   /* ChannelState */
  byte taken;                    /* by this life, not answered: pending, or in flight */
  byte known;                    /* found in a journal, not answered */
  byte last;                     /* ghost: the number that this life has taken last */
  byte slot, n, scans, newest, found, in_slot[REQUESTS];
  byte seen_state, seen_number, copied_next;
  bool copied_stay, is_stable, has_one, has_newer;
end:
  do
  /* `pollChannel`: in the line that may be used again, else in the next one. */
  :: atomic { state[staying] == SUBMITTED && IS_DUE(staying) -> slot = staying; n = due }
    take: atomic {
      receive(slot, n);
      next = next_line[slot];
      staying = (may_stay[slot] && STAYS -> slot : next_line[slot]);
      due++; slot = 0; n = 0; changed = true }
  :: atomic { changed && !(state[staying] == SUBMITTED && IS_DUE(staying)) -> changed = false; slot = next; n = due }
    if
    :: atomic { state[slot] == SUBMITTED && number[slot] == n -> goto take }
    :: atomic { state[slot] == SUBMITTED && number[slot] != n ->
        /* `lookForOffences`: after this line it looks at the staying line again. */
        skip }
      INVARIANT(SECOND_LOOK, host_evicted);
      slot = 0; n = 0
    :: atomic { state[slot] != SUBMITTED -> slot = 0; n = 0 }
    fi
  /* Answers what it has taken, or recovered, in any order. */
  ANSWER(0)
  ANSWER(1)
  ANSWER(2)
  ANSWER(3)
  /* Dies. Of what it has taken, some stands in its journal. The next life finds where the channel stands. */
  :: atomic { deaths > 0 ->
      deaths--;
      n = 1;
      do
      :: n <= REQUESTS && (taken & BIT(n)) -> known = known | BIT(n); n++
      :: n <= REQUESTS -> n++
      :: n > REQUESTS -> break
      od;
      taken = 0; last = 0; next = 0; staying = 0; due = 0; n = 0; scans = 0 }
    scan: atomic { newest = 0; next = 0; staying = 0; has_one = false; is_stable = true; slot = 0 }
    /* `newest(in:count:)`. */
    do
    :: slot < LINES ->
      atomic { seen_state = state[slot]; seen_number = number[slot] };
      do
      :: seen_state == FREE || (has_one && seen_number <= newest) -> break
      :: else ->
        atomic { copied_next = next_line[slot]; copied_stay = may_stay[slot] };
        if
        :: atomic { LOOKS_AGAIN(slot) ->
            has_one = true; newest = seen_number; next = copied_next;
            staying = (copied_stay && STAYS -> slot : copied_next);
            is_stable = (seen_state == SUBMITTED) }
          break
        :: atomic { else -> seen_state = state[slot]; seen_number = number[slot] }
        fi
      od;
      atomic { seen_state = 0; seen_number = 0; copied_next = 0; copied_stay = false; slot++ }
    :: slot == LINES -> slot = 0; break
    od;
    /* The second pass of `find`. */
    atomic { found = 0; has_newer = false }
    do
    :: atomic { slot < LINES ->
        if
        :: state[slot] == FREE
        :: state[slot] != FREE && number[slot] > newest -> has_newer = true
        :: state[slot] == SUBMITTED && number[slot] <= newest && !(KNOWN & BIT(number[slot])) ->
          INVARIANT(!(found & BIT(number[slot])), contradiction_found);
          found = found | FOUND(number[slot]);
          in_slot[number[slot] - 1] = slot
        :: else
        fi;
        slot++ }
    :: slot == LINES -> slot = 0; break
    od;
    if
    :: atomic { has_newer && !is_stable && SCANS_AGAIN ->
        has_newer = false; scans++;
        INVARIANT(scans < SCANS_MAX, contradiction_found) }
      goto scan
    :: atomic { else ->
        has_newer = false; is_stable = false; has_one = false; scans = 0;
        due = newest + 1; newest = 0; changed = true;
        /* In the order of their submission. */
#ifdef UNSORTED
        slot = 0;
        do
        :: slot < LINES ->
          n = 1;
          do
          :: n <= REQUESTS && (found & BIT(n)) && in_slot[n - 1] == slot ->
            INVARIANT(n > last, taken_out_of_order);
            receive(in_slot[n - 1], n); n++
          :: n <= REQUESTS && !((found & BIT(n)) && in_slot[n - 1] == slot) -> n++
          :: n > REQUESTS -> break
          od;
          slot++
        :: else -> break
        od;
        slot = 0;
#else
        n = 1;
        do
        :: n <= REQUESTS && (found & BIT(n)) -> receive(in_slot[n - 1], n); n++
        :: n <= REQUESTS && !(found & BIT(n)) -> n++
        :: n > REQUESTS -> break
        od;
#endif
        n = 0; found = 0;
        for (n : 1 .. REQUESTS) { in_slot[n - 1] = 0 }
        n = 0 }
    fi
  od
}

proctype AtTheEnd() {
end:
  timeout -> INVARIANT(answered == BIT(REQUESTS + 1) - 1, never_answered)
}

init { atomic { run Host(); run Controller(); run AtTheEnd() } }

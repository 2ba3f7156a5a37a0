/* Takeover: requests from their lines to their answers, through two controllers that die, freeze, leave and start
 * again. Membership, ownership of two functions, journals, channels, adoption, recovery and late I/O.
 *
 * A controller is the set of steps that it may take next, not a loop that takes them in some order. So every order of a
 * turn is covered, and a controller stands still wherever the scheduler picks another process. What no other process
 * can tell apart is one step. Sets of requests are masks with a bit for each.
 *
 * Comments name the Swift functions that steps stand for: those of Sources/Controller, unless another folder is given.
 */
#include "scenarios.h"

#define A 0
#define B 1
#define BIT(n) (1 << (n))
#define PEER(c) (1 - (c))

/* The requests of the scenario: constants, so that they take no room in a state. */
#define CH(r) ((CHANNELS >> (r)) & 1)           /* the channel it comes by: 0 to a, 1 to b */
#define HOST(r) ((HOSTS >> (r)) & 1)            /* whose it is */
#define FN(r) ((FUNCTIONS >> (r)) & 1)          /* its function */
#define IS_WRITE(r) ((WRITES >> (r)) & 1)       /* changes blocks */
#define IS_STATE(r) ((STATES >> (r)) & 1)       /* sets the state of a unit: management, function 1 */
#define EXTENT(r) ((EXTENTS >> (4 * (r))) & 15) /* its blocks, a mask: 0 to 2 */
#define AFTER(r) ((ORDERS >> (4 * (r))) & 15) /* the requests that its host has seen answered before */
#define ELDER(r) ((ELDERS >> (4 * (r))) & 15) /* the requests that stood in its line before */
#define ALL_REQUESTS (BIT(REQUESTS) - 1)
#define OVERLAP(r, q) (FN(r) == FN(q) && (EXTENT(r) & EXTENT(q)) != 0)
#define TO_A (ALL_REQUESTS & ~CHANNELS)
#define TO_B (ALL_REQUESTS & CHANNELS)
#define TO(c) ((c) == A -> TO_A : TO_B)
#define OF_FUNCTION(f) ((f) == 0 -> ALL_REQUESTS & ~FUNCTIONS : ALL_REQUESTS & FUNCTIONS)
#define OF_HOST(h) ((h) == 0 -> ALL_REQUESTS & ~HOSTS : ALL_REQUESTS & HOSTS)

/* ---- What is shared ---- */

/* The membership word (Ownership/MembershipWord.swift). */
#define VACANT 0
#define MEMBER 1
#define FENCED 2
#define LEFT 3
byte standing[2];
byte life_in_word[2]; /* incarnation */

/* Ownership words (Ownership/OwnershipWord.swift) without terms: 0 no owner, 1 a, 2 b. */
byte owner[2];
byte requested; /* a mask of functions: requested by the controller that does not own it */

/* Journals (Subsystem/Journal.swift): entries whose state is 1, and those of them that are marked as given up. */
byte journal[2];
byte journal_orphan[2];

/* The lines (Channel/RequestLine.swift): submitted at least once, answered. */
byte submitted;
byte answered; /* with any status: a request that ended as "lost" or "leaving" must take no effect either */

/* Phases of the controllers' records, and their seats (Subsystem/ControllerRecord.swift). RESUMING is `starting`, too:
 * the word speaks of this life already, and it waits for the peer's exit (`resume`). */
#define ABSENT 0
#define STARTING 1
#define RESUMING 2
#define SERVING 3
byte phase[2];
byte life[2]; /* the newest one; it has the seat while the phase is not ABSENT */

/* The request that set the unit's state last, plus 1: one store changes both (Subsystem/UnitState.swift). */
byte set_by;

/* ---- The kernel ---- */
byte on_storage[2]; /* given to the kernel by the present life, not completed */
byte late[2];       /* of lives that have ended: may land, in part or not at all, until the kernel lets go of it */
byte block[3];      /* which request wrote it last, plus 1 */
byte landed[3];     /* ghost: which requests have landed there at least once */
byte effects;       /* ghost: which requests have changed a unit's state */

/* ---- What a life of a controller knows ---- */
byte pending[2];    /* taken from its line, not begun: the pending queue and the held list */
byte prepared[2];   /* in the journal and in the ring, not given to the kernel yet */
byte completed[2];  /* the kernel has done it, and it is not answered */
byte recovering[2]; /* found in a journal, not over; given up where `journal_orphan` says so */
byte attached[2];   /* a mask of hosts */
byte polled[2];     /* a mask of channels, host * 2 + side: known where they stand, and taken from */
byte served[2];     /* a mask of functions: begun something since it got them */
byte drained[2];    /* a mask of functions: `isDrained` */
byte clearing[2];   /* answered, in the journal still: the request plus 1. The loop does nothing else meanwhile */
byte moving[2];     /* its entry is in both journals: the request plus 1. The same */
byte handing[2];    /* 1: in `handOrphansOver`; 2 + r: the orphan stands in both journals */
bool gone[2];       /* `standsIn` */
bool reading[2];    /* not `isAtEnd` */
bool releasing[2];  /* `isReleasing` */
bool must_move[2];  /* `keptAtBeat`: the joiner was kept, and must go on before it is let go again */
bool stopping[2];   /* `isEnding` */
#ifdef BIND_AT_ATTACH_ONLY
byte found_attached[2];
#endif

/* ---- Hosts, and what may go wrong ---- */
byte here = HERE; /* hosts that run */
byte dead;        /* hosts whose process has ended */
byte frozen;      /* a mask of controllers that are stopped */
byte deaths = DEATHS, freezes = FREEZES, leavings = LEAVINGS, absences = ABSENCES, losses = LOSSES;
#ifdef STAY_DOWN
byte down; /* controllers that are never started again */
#endif

#define UNDER_WAY(c) (prepared[c] | on_storage[c] | completed[c])
#define KNOWN(c) (pending[c] | UNDER_WAY(c) | recovering[c])
#define RUNS(c) (!(frozen & BIT(c)))
/* Between two steps of its loop: not in the middle of something that goes on without a look at anything else. */
#define IDLE(c) (phase[c] == SERVING && RUNS(c) && clearing[c] == 0 && moving[c] == 0 && handing[c] == 0 \
  NO_STATE_BEING_SET(c))
/* `serveManagement` goes from the journal to the answer in one go. */
#if STATES
#define NO_STATE_BEING_SET(c) && ((prepared[c] | completed[c]) & STATES) == 0
#else
#define NO_STATE_BEING_SET(c)
#endif
#define IS_MEMBER(c) (standing[c] == MEMBER && life_in_word[c] == life[c])
/* `hasPeerEnded`: the life that the word speaks of. */
#define HAS_ENDED(c) (phase[c] == ABSENT || life[c] != life_in_word[c])
/* `isPeerStarting`. */
#define IS_STARTING(c) (phase[c] == STARTING && life[c] > life_in_word[c])
#define OWNS(c, f) (owner[f] == (c) + 1)
#define STANDING_ENTRIES(c) (recovering[c] & ~journal_orphan[c])

#ifdef SWEEP_BEFORE_JOURNAL
#define MAY_TAKE_OVER(c) (gone[c])
#else
#define MAY_TAKE_OVER(c) (gone[c] && !reading[c])
#endif
#ifdef SCAN_BEFORE_JOURNAL
#define MAY_SCAN(c) true
#else
#define MAY_SCAN(c) (!(gone[c] && reading[c]))
#endif

/* `collides`: with something that is being recovered and not given up. Held until that is over. */
#ifdef NO_COLLISION_CHECK
#define COLLIDES(c, r) false
#else
#define COLLIDES_WITH(c, r, q) ((STANDING_ENTRIES(c) & BIT(q)) && (r) != (q) && \
  ((IS_STATE(r) && IS_STATE(q)) || (IS_WRITE(q) && OVERLAP(r, q))))
#define COLLIDES(c, r) (COLLIDES_WITH(c, r, 0) || COLLIDES_WITH(c, r, 1) || COLLIDES_WITH(c, r, 2) || \
  COLLIDES_WITH(c, r, 3))
#endif

/* `overlapsWrite`: with a write of its own that is on the storage. */
#ifdef NO_OVERLAP_CHECK
#define OVERLAPS_WRITE(c, r) false
#else
#define OVERLAPS_WITH(c, r, q) ((r) != (q) && (UNDER_WAY(c) & BIT(q)) && IS_WRITE(q) && OVERLAP(r, q))
#define OVERLAPS_WRITE(c, r) (IS_WRITE(r) && (OVERLAPS_WITH(c, r, 0) || OVERLAPS_WITH(c, r, 1) || \
  OVERLAPS_WITH(c, r, 2) || OVERLAPS_WITH(c, r, 3)))
#endif

/* `setMarks`: of several entries of one line the newest is the one that counts. */
#ifdef OLDEST_MARK_COUNTS
#define IS_MARKED(c, r) ((recovering[c] & BIT(r)) && !(recovering[c] & ELDER(r)))
#else
#define IS_MARKED(c, r) ((recovering[c] & BIT(r)) != 0)
#endif

/* ---- Invariants ----
 * Each has a name, which the checker prints when it is violated. No step writes these variables. */
hidden byte lands_after_its_answer;
hidden byte lands_after_it_was_given_up;
hidden byte takes_effect_twice;
hidden byte answered_twice;
hidden byte answered_without_effect;
hidden byte begun_by_two;
hidden byte begun_by_no_owner;
hidden byte run_twice_at_once;
hidden byte overlaps_at_once;
hidden byte begun_while_fenced;
hidden byte acts_after_its_end_was_seen;
hidden byte taken_over_before_the_journal_is_read;
hidden byte joins_over_its_earlier_life;
hidden byte kills_a_member;
hidden byte never_answered;
#define INVARIANT(condition, name) if :: (condition) :: else -> assert(name) fi

/* One block of a request lands, in the name of a life or of a dead one. */
inline land(r, b) {
  if
  :: (EXTENT(r) & BIT(b)) ->
    /* Nothing lands after its answer: no late write undoes an answered one, and no late read overwrites a buffer that
     * its host uses for something else by now. A request that was given up takes no effect afterwards. */
    INVARIANT(!(answered & BIT(r)), lands_after_its_answer);
    INVARIANT(!((journal_orphan[A] | journal_orphan[B]) & BIT(r)), lands_after_it_was_given_up);
    if
    :: IS_WRITE(r) ->
      /* As if executed once: what it writes again is still there, because nothing has been written over it since. */
      INVARIANT(!(landed[b] & BIT(r)) || block[b] == (r) + 1, takes_effect_twice);
      landed[b] = landed[b] | BIT(r);
      block[b] = (r) + 1
    :: else
    fi
  :: else
  fi
}

/* A request is given to the kernel. */
#define IN_KERNEL (on_storage[A] | on_storage[B] | late[A] | late[B])
#define CLASHES(r, q) ((r) != (q) && (IN_KERNEL & BIT(q)) && OVERLAP(r, q) && IS_WRITE(q) && \
  (IS_WRITE(r) || ((late[A] | late[B]) & BIT(q))))
inline assert_may_begin(c, r) {
  /* At most one owner serves, and nothing twice at a time. */
  INVARIANT(OWNS(c, FN(r)), begun_by_no_owner);
  INVARIANT((UNDER_WAY(PEER(c)) & OF_FUNCTION(FN(r))) == 0, begun_by_two);
  INVARIANT(!(IN_KERNEL & BIT(r)), run_twice_at_once);
  /* Overlapping writes are not run at once, and no request reads what a dead life may be writing. */
  INVARIANT(!CLASHES(r, 0) && !CLASHES(r, 1) && !CLASHES(r, 2) && !CLASHES(r, 3), overlaps_at_once)
}

/* Nothing is done in a life's name once its peer has seen the end of it: a fenced controller does nothing. */
#define assert_not_replaced(c) \
  INVARIANT(!(gone[PEER(c)] && phase[PEER(c)] == SERVING && life[c] == life_in_word[c]), acts_after_its_end_was_seen)

/* The end of a life, by itself, killed or by accident. What it had given to the kernel is late from now on. */
inline end_life(c) {
  late[c] = late[c] | on_storage[c];
  on_storage[c] = 0; pending[c] = 0; prepared[c] = 0; completed[c] = 0; recovering[c] = 0;
  attached[c] = 0; polled[c] = 0; served[c] = 0; drained[c] = 0;
  clearing[c] = 0; moving[c] = 0; handing[c] = 0;
  gone[c] = false; reading[c] = false; releasing[c] = false; must_move[c] = false; stopping[c] = false;
#ifdef BIND_AT_ATTACH_ONLY
  found_attached[c] = 0;
#endif
  frozen = frozen & ~BIT(c);
  phase[c] = ABSENT
}

/* An answer in the line. */
inline answer(c, r) {
  assert_not_replaced(c);
  INVARIANT(!(answered & BIT(r)), answered_twice);
  answered = answered | BIT(r)
}

/* `answer`: the line, then the journal. A host that has gone is answered, too, in memory that is kept for that. */
inline respond(c, r) {
#ifdef DROP_WITH_CONNECTION
  if
  :: attached[c] & BIT(HOST(r)) -> answer(c, r)
  :: else
  fi;
#else
  answer(c, r);
#endif
#ifdef CLEAR_BEFORE_ANSWER
  skip
#else
  clearing[c] = (r) + 1
#endif
}

/* `standIn`: the peer is gone for certain. */
inline stand_in(c) {
  gone[c] = true;
  releasing[c] = false;
#ifdef READ_AFTER_FENCE_ONLY
  reading[c] = (standing[PEER(c)] == FENCED && journal[PEER(c)] != 0)
#else
  reading[c] = (journal[PEER(c)] != 0)
#endif
}

/* `becomeMember`: what stands in its own journal is recovered (`recoverEarlierLife`), what its earlier life asked for
 * is withdrawn. */
inline become_member(c) {
  phase[c] = SERVING;
#ifndef IGNORE_OWN_JOURNAL
  recovering[c] = journal[c];
#endif
  if :: owner[0] == PEER(c) + 1 -> requested = requested & ~BIT(0) :: else fi;
  if :: owner[1] == PEER(c) + 1 -> requested = requested & ~BIT(1) :: else fi
}

/* Everything of the peer is done (`isTakingOver` is false): journal read, entries over or given up, orphans of attached
 * hosts told, words swept, channels of attached hosts taken. */
#define HOST_DONE(c, h) (!(attached[c] & BIT(h)) || ( \
  (releasing[c] || stopping[c] || (polled[c] & BIT((h) * 2 + PEER(c)))) && \
  !(recovering[c] & journal_orphan[c] & OF_HOST(h))))
#define SWEPT(c, f) (!OWNS(PEER(c), f) && !(OWNS(c, f) && (requested & BIT(f))))
#ifdef RELEASE_UNSWEPT
#define IS_SETTLED(c) (!reading[c] && STANDING_ENTRIES(c) == 0 && HOST_DONE(c, 0) && HOST_DONE(c, 1))
#else
#define IS_SETTLED(c) (!reading[c] && STANDING_ENTRIES(c) == 0 && HOST_DONE(c, 0) && HOST_DONE(c, 1) && \
  SWEPT(c, 0) && SWEPT(c, 1))
#endif
/* `isReleased`: everything taken in the peer's place has been answered. */
#ifdef RELEASE_EARLY
#define IS_RELEASED(c) true
#else
#define IS_RELEASED(c) (((pending[c] | UNDER_WAY(c)) & TO(PEER(c))) == 0)
#endif

/* `isStillMember`, before anything is begun. */
#ifdef NO_LOOK_AT_MEMBERSHIP
#define LOOKS_MEMBER(c) true
#else
#define LOOKS_MEMBER(c) IS_MEMBER(c)
#endif

/* `isOwned`: the determination of the owner. */
#ifdef SERVE_WITHOUT_LOOKING
#define SEES_ITSELF(c, f) true
#else
#define SEES_ITSELF(c, f) OWNS(c, f)
#endif

/* A write has landed on each of its blocks, the state of a unit is set. */
#define HAS_LANDED(r, b) (!(EXTENT(r) & BIT(b)) || (landed[b] & BIT(r)))
#define HAS_EFFECT(r) (IS_STATE(r) && (effects & BIT(r)) || \
  !IS_STATE(r) && (!IS_WRITE(r) || (HAS_LANDED(r, 0) && HAS_LANDED(r, 1) && HAS_LANDED(r, 2))))

/* ---- Steps on one request ---- */

#define REQUEST_STEPS(r) \
  /* `pollChannel`, `takePosition`: submitted, not answered, and not known from a journal. */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && (polled[c] & BIT(HOST(r) * 2 + CH(r))) && (submitted & ~answered & BIT(r)) \
      && !((pending[c] | UNDER_WAY(c)) & BIT(r)) && !IS_MARKED(c, r) -> \
    printf("%d takes request %d\n", c, r); \
    if \
    :: stopping[c] -> answer(c, r) /* `receive`: leaving */ \
    :: else -> pending[c] = pending[c] | BIT(r) \
    fi } \
  /* `servePending`, `receive`, `serve`: the owner begins, and enters it in the journal. */ \
  :: d_step { IDLE(c) && LOOKS_MEMBER(c) && (pending[c] & BIT(r)) && SEES_ITSELF(c, FN(r)) \
      && (attached[c] & BIT(HOST(r))) && !COLLIDES(c, r) && !OVERLAPS_WRITE(c, r) -> \
    printf("%d begins request %d\n", c, r); \
    INVARIANT(IS_MEMBER(c), begun_while_fenced); \
    pending[c] = pending[c] & ~BIT(r); \
    prepared[c] = prepared[c] | BIT(r); \
    served[c] = served[c] | BIT(FN(r)); \
    ENTER_JOURNAL(c, r) } \
  /* `drop`: its host is not attached any more. */ \
  :: d_step { IDLE(c) && (pending[c] & BIT(r)) && !(attached[c] & BIT(HOST(r))) -> \
    printf("%d drops request %d\n", c, r); \
    pending[c] = pending[c] & ~BIT(r) } \
  /* `submit`. The look at the membership word before it may be older than a fence: so no look here at all. */ \
  :: d_step { IDLE(c) && (prepared[c] & BIT(r)) && !IS_STATE(r) -> \
    printf("%d submits request %d\n", c, r); \
    assert_not_replaced(c); assert_may_begin(c, r); \
    prepared[c] = prepared[c] & ~BIT(r); \
    on_storage[c] = on_storage[c] | BIT(r) } \
  /* `setUnitState`: one store for the effect and for the request that had it. */ \
  :: d_step { phase[c] == SERVING && RUNS(c) && (prepared[c] & BIT(r)) && IS_STATE(r) -> \
    printf("%d sets the state for request %d\n", c, r); \
    assert_not_replaced(c); INVARIANT(OWNS(c, 1), begun_by_no_owner); \
    prepared[c] = prepared[c] & ~BIT(r); \
    completed[c] = completed[c] | BIT(r); \
    if \
    :: HAS_TAKEN_EFFECT(r) \
    :: else -> \
      INVARIANT(!(effects & BIT(r)), takes_effect_twice); \
      INVARIANT(!(answered & BIT(r)), lands_after_its_answer); \
      effects = effects | BIT(r); set_by = (r) + 1 \
    fi } \
  /* `finish`, `complete`, `respond`. */ \
  :: d_step { (IDLE(c) || IS_STATE(r)) && phase[c] == SERVING && RUNS(c) && (completed[c] & BIT(r)) \
      CLEARS_FIRST(c, r) -> \
    printf("%d answers request %d\n", c, r); \
    /* With the effect of an execution. */ \
    INVARIANT(HAS_EFFECT(r), answered_without_effect); \
    completed[c] = completed[c] & ~BIT(r); \
    respond(c, r) } \
  /* `readJournal`: first in both journals. */ \
  :: d_step { IDLE(c) && gone[c] && reading[c] && (journal[PEER(c)] & BIT(r)) -> \
    if \
    :: recovering[c] & BIT(r) -> /* its own earlier life has died between the two stores */ \
      printf("%d finds request %d in both journals\n", c, r); \
      moving[c] = (r) + 1 \
    :: else -> \
      printf("%d copies the entry of request %d\n", c, r); \
      COPY_ENTRY(c, r) \
    fi } \
  /* `recover`, `executeAgain`: drained, unanswered, its host attached, its function owned, nothing in the way. */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && !reading[c] && (STANDING_ENTRIES(c) & ~UNDER_WAY(c) & BIT(r)) \
      && (drained[c] & BIT(FN(r))) && (attached[c] & BIT(HOST(r))) && !OVERLAPS_WRITE(c, r) \
      && IS_UNANSWERED(r) && OWNS(c, FN(r)) -> \
    printf("%d executes request %d again\n", c, r); \
    served[c] = served[c] | BIT(FN(r)); \
    prepared[c] = prepared[c] | BIT(r) } \
  /* The same for one that was answered: over. And for a host whose process has ended (`tendExpected`). */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && !reading[c] && (STANDING_ENTRIES(c) & ~UNDER_WAY(c) & BIT(r)) \
      && (drained[c] & BIT(FN(r))) && ((attached[c] & BIT(HOST(r))) && !OVERLAPS_WRITE(c, r) && !IS_UNANSWERED(r) \
        || !(attached[c] & BIT(HOST(r))) && (dead & BIT(HOST(r)))) -> \
    printf("%d has done with request %d\n", c, r); \
    clearing[c] = (r) + 1 } \
  /* `giveUp`: its host did not come back in time. */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && !reading[c] && (STANDING_ENTRIES(c) & ~UNDER_WAY(c) & BIT(r)) \
      && (drained[c] & BIT(FN(r))) && !(attached[c] & BIT(HOST(r))) -> \
    printf("%d gives request %d up\n", c, r); \
    journal_orphan[c] = journal_orphan[c] | BIT(r) } \
  /* `bindRecovered`: its host is here, and is told. */ \
  :: d_step { IDLE(c) && MAY_BIND(c, r) && (recovering[c] & journal_orphan[c] & BIT(r)) \
      && ((attached[c] & BIT(HOST(r))) || (dead & BIT(HOST(r)))) -> \
    printf("%d ends the orphan %d\n", c, r); \
    if \
    :: (attached[c] & BIT(HOST(r))) && IS_TO_BE_TOLD(r) -> answer(c, r) \
    :: else \
    fi; \
    clearing[c] = (r) + 1 } \
  /* `handOrphansOver`: of the joiner's channels, first in both journals. */ \
  :: d_step { phase[c] == SERVING && RUNS(c) && handing[c] == 1 && (recovering[c] & journal_orphan[c] & BIT(r)) \
      && CH(r) == PEER(c) -> \
    printf("%d hands the orphan %d over\n", c, r); \
    assert_not_replaced(c); \
    journal_orphan[PEER(c)] = journal_orphan[PEER(c)] | BIT(r); \
    journal[PEER(c)] = journal[PEER(c)] | BIT(r); \
    handing[c] = 2 + (r) } \
  /* `refusePending`: a controller that leaves hands back what waits for a function that it does not own. */ \
  :: d_step { IDLE(c) && stopping[c] && (pending[c] & BIT(r)) && !OWNS(c, FN(r)) -> \
    printf("%d hands request %d back\n", c, r); \
    answer(c, r); \
    pending[c] = pending[c] & ~BIT(r) } \
  BROKEN_REQUEST_STEPS(r)

#define IS_UNANSWERED(r) ((submitted & ~answered & BIT(r)) IS_NOT_LOOKED_AT)
#ifdef NO_LOOK_AT_LINE
#define IS_NOT_LOOKED_AT || true
#else
#define IS_NOT_LOOKED_AT
#endif

#ifdef NO_EFFECT_RECORD
#define HAS_TAKEN_EFFECT(r) false
#else
#define HAS_TAKEN_EFFECT(r) (set_by == (r) + 1)
#endif

#ifdef NO_JOURNAL_ENTRY
#define ENTER_JOURNAL(c, r) skip
#else
#define ENTER_JOURNAL(c, r) \
  assert_not_replaced(c); \
  journal_orphan[c] = journal_orphan[c] & ~BIT(r); journal[c] = journal[c] | BIT(r)
#endif

#ifdef MOVE_BEFORE_COPY
/* The entry leaves the peer's journal first. */
#define COPY_ENTRY(c, r) \
  journal[PEER(c)] = journal[PEER(c)] & ~BIT(r); moving[c] = (r) + 1
#else
#define COPY_ENTRY(c, r) enlist(c, r); moving[c] = (r) + 1
#endif

#ifdef ORPHAN_EXECUTED_AGAIN
#define KEEP_ORPHAN(c, r) skip
#else
#define KEEP_ORPHAN(c, r) journal_orphan[c] = journal_orphan[c] | BIT(r)
#endif

/* `enter`, `enlist`. What was proved of other requests does not count for this one. */
inline enlist(c, r) {
  if
  :: journal_orphan[PEER(c)] & BIT(r) -> KEEP_ORPHAN(c, r)
  :: else ->
    journal_orphan[c] = journal_orphan[c] & ~BIT(r);
#ifndef DRAIN_PROOF_STAYS
    drained[c] = drained[c] & ~BIT(FN(r))
#endif
  fi;
  journal[c] = journal[c] | BIT(r);
#ifdef BIND_AT_ATTACH_ONLY
  if :: attached[c] & BIT(HOST(r)) -> found_attached[c] = found_attached[c] | BIT(r) :: else fi;
#endif
  recovering[c] = recovering[c] | BIT(r)
}
#ifdef ANSWER_ORPHANS_BLINDLY
#define IS_TO_BE_TOLD(r) true
#else
#define IS_TO_BE_TOLD(r) ((submitted & ~answered & BIT(r)) != 0)
#endif
#ifdef BIND_AT_ATTACH_ONLY
#define MAY_BIND(c, r) !(found_attached[c] & BIT(r))
#else
#define MAY_BIND(c, r) true
#endif

#ifdef CLEAR_BEFORE_ANSWER
#define CLEARS_FIRST(c, r) && !(journal[c] & BIT(r))
#define BROKEN_REQUEST_STEPS(r) \
  :: d_step { (IDLE(c) || IS_STATE(r)) && phase[c] == SERVING && RUNS(c) && (completed[c] & BIT(r)) \
      && (journal[c] & BIT(r)) -> \
    journal[c] = journal[c] & ~BIT(r); recovering[c] = recovering[c] & ~BIT(r) }
#else
#ifdef EXECUTE_TWICE
#define CLEARS_FIRST(c, r)
/* The planted defect replayTwice: what was recovered is executed again after its answer. */
#define BROKEN_REQUEST_STEPS(r) \
  :: d_step { phase[c] == SERVING && clearing[c] == (r) + 1 && (recovering[c] & BIT(r)) && IS_WRITE(r) -> \
    on_storage[c] = on_storage[c] | BIT(r) }
#else
#define CLEARS_FIRST(c, r)
#define BROKEN_REQUEST_STEPS(r)
#endif
#endif

/* ---- Steps on one function ---- */

/* `continueStop`: everything but orphans. */
#define NOTHING_LEFT(c) ((KNOWN(c) & ~(recovering[c] & journal_orphan[c])) == 0)

#define WANTS(c, f) (((pending[c] | (STANDING_ENTRIES(c) & ~UNDER_WAY(c))) & OF_FUNCTION(f)) != 0)
#ifdef GRANT_WHILE_BUSY
#define IS_QUIET(c, f) true
#else
#define IS_QUIET(c, f) (((UNDER_WAY(c) | STANDING_ENTRIES(c)) & OF_FUNCTION(f)) == 0)
#endif
#ifdef NO_DRAIN_PROOF
#define LATE_OF(c) 0
#else
#ifdef OWN_DRAIN_PROOF_ONLY
#define LATE_OF(c) late[c]
#else
#define LATE_OF(c) (late[A] | late[B])
#endif
#endif

#define FUNCTION_STEPS(f) \
  /* `askArbiter`: claim or request. */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && WANTS(c, f) && owner[f] == 0 -> \
    printf("%d claims function %d\n", c, f); \
    owner[f] = (c) + 1; served[c] = served[c] & ~BIT(f) } \
  :: d_step { IDLE(c) && IS_MEMBER(c) && WANTS(c, f) && OWNS(PEER(c), f) && !(requested & BIT(f)) && !gone[c] \
      && !stopping[c] -> \
    printf("%d requests function %d\n", c, f); \
    requested = requested | BIT(f) } \
  /* `relinquish`: nothing in flight, nothing being recovered, and something served if there was anything to serve. */ \
  :: d_step { IDLE(c) && OWNS(c, f) && (requested & BIT(f)) && !gone[c] && IS_QUIET(c, f) \
      && ((served[c] & BIT(f)) || (pending[c] & OF_FUNCTION(f)) == 0) -> \
    printf("%d grants function %d\n", c, f); \
    assert_not_replaced(c); \
    owner[f] = PEER(c) + 1; \
    if :: (pending[c] & OF_FUNCTION(f)) != 0 && !stopping[c] :: else -> requested = requested & ~BIT(f) fi; \
    served[c] = served[c] & ~BIT(f); served[PEER(c)] = served[PEER(c)] & ~BIT(f) } \
  /* `attend`, `sweepForTakeover`: no request of a fenced controller waits for a grant. */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && OWNS(c, f) && (requested & BIT(f)) \
      && (gone[c] || standing[PEER(c)] == FENCED) -> \
    printf("%d dismisses the request for function %d\n", c, f); \
    requested = requested & ~BIT(f) } \
  /* `takeOver`, on demand or by `sweepForTakeover`. */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && MAY_TAKE_OVER(c) && OWNS(PEER(c), f) -> \
    printf("%d takes function %d over\n", c, f); \
    /* Nothing is taken over before the journal has been read. */ \
    INVARIANT(gone[c] && !reading[c] && journal[PEER(c)] == 0, taken_over_before_the_journal_is_read); \
    owner[f] = (c) + 1; requested = requested & ~BIT(f); served[c] = served[c] & ~BIT(f) } \
  /* `isDrained`: the kernel has let go of everything that dead lives had given to it for the unit. */ \
  :: d_step { IDLE(c) && !reading[c] && (STANDING_ENTRIES(c) & OF_FUNCTION(f)) != 0 && !(drained[c] & BIT(f)) \
      && (LATE_OF(c) & OF_FUNCTION(f)) == 0 -> \
    printf("%d has the drain proof of function %d\n", c, f); \
    drained[c] = drained[c] | BIT(f) } \
  /* `continueStop`: withdraws what it requests; grants what it owns to the peer that requests it, or vacates it. */ \
  :: d_step { IDLE(c) && stopping[c] && OWNS(PEER(c), f) && (requested & BIT(f)) -> \
    printf("%d withdraws its request for function %d\n", c, f); \
    requested = requested & ~BIT(f) } \
  :: d_step { IDLE(c) && IS_MEMBER(c) && stopping[c] && OWNS(c, f) && !(requested & BIT(f)) && NOTHING_LEFT(c) -> \
    printf("%d vacates function %d\n", c, f); \
    owner[f] = 0 }

/* ---- Steps on one host ---- */

#define HOST_STEPS(h) \
  /* `position`: the peer's channel, while this controller stands in for it. */ \
  :: d_step { IDLE(c) && IS_MEMBER(c) && gone[c] && MAY_SCAN(c) && !releasing[c] && !stopping[c] && MAY_ADOPT \
      && (attached[c] & BIT(h)) && !(polled[c] & BIT((h) * 2 + PEER(c))) -> \
    printf("%d looks through the channel of host %d to its peer\n", c, h); \
    polled[c] = polled[c] | BIT((h) * 2 + PEER(c)) }

#ifdef SERVE_BEFORE_EXIT
#define HAS_SEEN_EXIT(c) true
#else
#define HAS_SEEN_EXIT(c) HAS_ENDED(PEER(c))
#endif
/* By pidfd, never by number: that life and no later one. */
#ifdef KILL_BY_NUMBER
#define IS_TO_BE_KILLED(c) (phase[c] != ABSENT)
#else
#ifdef NEVER_KILL
#define IS_TO_BE_KILLED(c) false
#else
#define IS_TO_BE_KILLED(c) (!HAS_ENDED(c))
#endif
#endif
#ifdef IGNORE_BEAT
#define MINDS_BEAT false
#else
#define MINDS_BEAT true
#endif
#ifdef NEVER_KEEP
#define MAY_KEEP false
#else
#define MAY_KEEP true
#endif
#ifdef NO_ADOPTION
#define MAY_ADOPT false
#else
#define MAY_ADOPT true
#endif
#ifdef FORGET_ORPHANS
#define HAS_HANDED_OVER(c) true
#else
#define HAS_HANDED_OVER(c) ((recovering[c] & journal_orphan[c] & TO(PEER(c))) == 0)
#endif
#define CAN_LEAVE(c) (!(owner[0] == PEER(c) + 1 && (requested & 1)) && !(owner[1] == PEER(c) + 1 && (requested & 2)))

#define PEER_CHANNELS(c) (BIT(PEER(c)) | BIT(2 + PEER(c)))

proctype Controller(byte c) {
end:
  do
  REQUEST_STEPS(0)
  REQUEST_STEPS(1)
#if REQUESTS > 2
  REQUEST_STEPS(2)
#endif
#if REQUESTS > 3
  REQUEST_STEPS(3)
#endif
  FUNCTION_STEPS(0)
  FUNCTION_STEPS(1)
  HOST_STEPS(0)
  HOST_STEPS(1)

  /* `leaveJournal`, `end`: the answered request leaves the journal. */
  :: d_step { phase[c] == SERVING && RUNS(c) && clearing[c] > 0 ->
    printf("%d clears the entry of request %d\n", c, clearing[c] - 1);
    assert_not_replaced(c);
    journal[c] = journal[c] & ~BIT(clearing[c] - 1);
    journal_orphan[c] = journal_orphan[c] & ~BIT(clearing[c] - 1);
    recovering[c] = recovering[c] & ~BIT(clearing[c] - 1);
    clearing[c] = 0 }

  /* `readJournal`: then here alone. */
  :: d_step { phase[c] == SERVING && RUNS(c) && moving[c] > 0 ->
    printf("%d has moved the entry of request %d\n", c, moving[c] - 1);
#ifdef MOVE_BEFORE_COPY
    enlist(c, moving[c] - 1);
#endif
    journal[PEER(c)] = journal[PEER(c)] & ~BIT(moving[c] - 1);
    journal_orphan[PEER(c)] = journal_orphan[PEER(c)] & ~BIT(moving[c] - 1);
    moving[c] = 0;
    if :: journal[PEER(c)] == 0 -> reading[c] = false :: else fi }

  /* ---- Membership ---- */

  /* `nextStep`, `fenced`: the peer has ended, or is silent. */
  :: d_step { IDLE(c) && IS_MEMBER(c) && standing[PEER(c)] == MEMBER && (HAS_ENDED(PEER(c)) || !RUNS(PEER(c))) ->
    printf("%d fences %d\n", c, PEER(c));
    standing[PEER(c)] = FENCED }

  /* `killPeer`. */
  :: d_step { (phase[c] == SERVING || phase[c] == RESUMING) && RUNS(c) && IS_MEMBER(c) && standing[PEER(c)] == FENCED &&
      !gone[c] && IS_TO_BE_KILLED(PEER(c)) ->
    printf("%d kills %d\n", c, PEER(c));
    INVARIANT(standing[PEER(c)] == FENCED && life[PEER(c)] == life_in_word[PEER(c)], kills_a_member);
    end_life(PEER(c)) }

  /* `seePeersExit`, `standIn`; and a peer that has left. */
  :: d_step { IDLE(c) && IS_MEMBER(c) && !gone[c] &&
      (standing[PEER(c)] == FENCED && HAS_SEEN_EXIT(c) || standing[PEER(c)] == LEFT) ->
    printf("%d stands in for %d\n", c, PEER(c));
    stand_in(c) }

  /* `join`: into the vacant half. */
  :: d_step { phase[c] == STARTING && RUNS(c) && standing[c] == VACANT && standing[PEER(c)] == MEMBER &&
      !HAS_ENDED(PEER(c)) ->
    printf("%d joins\n", c);
    /* Nothing speaks of its earlier life, but for the orphans that it was handed. */
    INVARIANT(!OWNS(c, 0) && !OWNS(c, 1) && !(OWNS(PEER(c), 0) && (requested & 1)) &&
      !(OWNS(PEER(c), 1) && (requested & 2)) && (journal[c] & ~journal_orphan[c]) == 0, joins_over_its_earlier_life);
    standing[c] = MEMBER; life_in_word[c] = life[c];
    become_member(c) }

  /* `join`: resumes where the peer is no living member. */
  :: d_step { phase[c] == STARTING && RUNS(c) && (standing[PEER(c)] != MEMBER || HAS_ENDED(PEER(c))) ->
    printf("%d resumes\n", c);
    standing[PEER(c)] = (standing[PEER(c)] == MEMBER || standing[PEER(c)] == FENCED -> FENCED : LEFT);
    standing[c] = MEMBER; life_in_word[c] = life[c];
    phase[c] = RESUMING }

  /* `join`: displaces a silent peer that has not let it join. */
  :: d_step { phase[c] == STARTING && RUNS(c) && standing[c] != VACANT && standing[PEER(c)] == MEMBER &&
      !HAS_ENDED(PEER(c)) && !RUNS(PEER(c)) ->
    printf("%d displaces %d\n", c, PEER(c));
    standing[PEER(c)] = FENCED;
    standing[c] = MEMBER; life_in_word[c] = life[c];
    phase[c] = RESUMING }

  /* `resume`: nothing before the exit of the life that was fenced. */
  :: d_step { phase[c] == RESUMING && RUNS(c) && IS_MEMBER(c) &&
      (standing[PEER(c)] != FENCED || HAS_SEEN_EXIT(c)) ->
    printf("%d is a member\n", c);
    become_member(c);
    stand_in(c) }

  /* `releaseIfAsked`, `beginReleasing`: takes nothing more in the joiner's place. */
  :: d_step { IDLE(c) && IS_MEMBER(c) && gone[c] && !releasing[c] && IS_STARTING(PEER(c)) &&
      !must_move[c] && IS_SETTLED(c) ->
    printf("%d begins to release %d\n", c, PEER(c));
    releasing[c] = true;
    polled[c] = polled[c] & ~PEER_CHANNELS(c) }
  /* `stopReleasing`. */
  :: d_step { IDLE(c) && IS_MEMBER(c) && gone[c] && releasing[c] && !IS_STARTING(PEER(c)) ->
    printf("%d stops releasing %d\n", c, PEER(c));
    releasing[c] = false }
  /* `handOrphansOver`, then the step of the word, whatever becomes of the joiner meanwhile. */
  :: d_step { IDLE(c) && IS_MEMBER(c) && gone[c] && releasing[c] && IS_STARTING(PEER(c)) && IS_SETTLED(c) &&
      IS_RELEASED(c) ->
    printf("%d has nothing left to do for %d\n", c, PEER(c));
    handing[c] = 1 }
  :: d_step { phase[c] == SERVING && RUNS(c) && handing[c] > 1 ->
    printf("%d has handed the orphan %d over\n", c, handing[c] - 2);
    journal[c] = journal[c] & ~BIT(handing[c] - 2);
    journal_orphan[c] = journal_orphan[c] & ~BIT(handing[c] - 2);
    recovering[c] = recovering[c] & ~BIT(handing[c] - 2);
    handing[c] = 1 }
  :: d_step { phase[c] == SERVING && RUNS(c) && handing[c] == 1 && HAS_HANDED_OVER(c) ->
    handing[c] = 0;
    if
    :: IS_MEMBER(c) ->
      printf("%d releases %d\n", c, PEER(c));
        standing[PEER(c)] = VACANT;
      gone[c] = false; releasing[c] = false; must_move[c] = false
    :: else
    fi }

  /* `lookAtPeer`: the joiner has ended, or stands still: `kept`. */
  :: d_step { IDLE(c) && IS_MEMBER(c) && standing[PEER(c)] == VACANT &&
      (!IS_STARTING(PEER(c)) || !RUNS(PEER(c))) && MAY_KEEP ->
    printf("%d keeps %d\n", c, PEER(c));
    must_move[c] = IS_STARTING(PEER(c)) && MINDS_BEAT;
    standing[PEER(c)] = LEFT }

  /* A joiner's loop turns: its beat grows. */
  :: d_step { phase[c] == STARTING && RUNS(c) && must_move[PEER(c)] -> must_move[PEER(c)] = false }

  /* `stopFenced`. */
  :: d_step { IDLE(c) && !IS_MEMBER(c) || phase[c] == RESUMING && RUNS(c) && !IS_MEMBER(c) ->
    printf("%d finds itself fenced\n", c);
    end_life(c) }

  /* ---- Leaving ---- */

  /* `beginStop`. */
  :: d_step { IDLE(c) && leavings > 0 && !stopping[c] && IS_MEMBER(c) ->
    printf("%d begins to leave\n", c);
    leavings--; stopping[c] = true }
  /* `continueStop`: with orphans it goes as one whose life has ended, else by `leaving`. */
  :: d_step { IDLE(c) && IS_MEMBER(c) && stopping[c] && NOTHING_LEFT(c) &&
      !OWNS(c, 0) && !OWNS(c, 1) && CAN_LEAVE(c) ->
    printf("%d leaves\n", c);
    if
    :: recovering[c] != 0
    :: else ->
      if
      :: standing[PEER(c)] == MEMBER || standing[PEER(c)] == FENCED && !(gone[c] && IS_SETTLED(c))
      :: else -> standing[PEER(c)] = LEFT
      fi;
      standing[c] = LEFT
    fi;
    end_life(c) }
  od
}

#ifdef SHORT_IS_SUCCESS
#define LAND_THE_REST(r) skip
#else
#define LAND_THE_REST(r) land(r, 1); land(r, 2)
#endif

/* ---- The kernel: what it was given is done whether or not its process runs ---- */
#define KERNEL_STEPS(c, r) \
  :: d_step { (on_storage[c] & BIT(r)) -> \
    printf("the kernel completes request %d of %d\n", r, c); \
    land(r, 0); LAND_THE_REST(r); \
    on_storage[c] = on_storage[c] & ~BIT(r); \
    completed[c] = completed[c] | BIT(r) } \
  :: d_step { (late[c] & BIT(r)) && IS_WRITE(r) && (EXTENT(r) & 1) && !LANDED(r, 0) -> \
    printf("block 0 of request %d of a dead %d lands\n", r, c); land(r, 0) } \
  :: d_step { (late[c] & BIT(r)) && IS_WRITE(r) && (EXTENT(r) & 2) && !LANDED(r, 1) -> \
    printf("block 1 of request %d of a dead %d lands\n", r, c); land(r, 1) } \
  :: d_step { (late[c] & BIT(r)) && IS_WRITE(r) && (EXTENT(r) & 4) && !LANDED(r, 2) -> \
    printf("block 2 of request %d of a dead %d lands\n", r, c); land(r, 2) } \
  :: d_step { (late[c] & BIT(r)) -> \
    printf("the kernel lets go of request %d of a dead %d\n", r, c); \
    if :: !IS_WRITE(r) -> land(r, 0); land(r, 1); land(r, 2) :: else fi; \
    late[c] = late[c] & ~BIT(r) }
/* Landing where it stands already, before anything else happened, changes nothing. */
#define LANDED(r, b) (block[b] == (r) + 1 && !(answered & BIT(r)) && \
  !((journal_orphan[A] | journal_orphan[B]) & BIT(r)))

proctype Kernel() {
end:
  do
  KERNEL_STEPS(A, 0) KERNEL_STEPS(A, 1) KERNEL_STEPS(B, 0) KERNEL_STEPS(B, 1)
#if REQUESTS > 2
  KERNEL_STEPS(A, 2) KERNEL_STEPS(B, 2)
#endif
#if REQUESTS > 3
  KERNEL_STEPS(A, 3) KERNEL_STEPS(B, 3)
#endif
  od
}

/* ---- Hosts ---- */
#define SUBMIT(r) \
  :: d_step { (here & BIT(HOST(r))) && !(submitted & BIT(r)) && ((AFTER(r) | ELDER(r)) & ~answered) == 0 -> \
    printf("host %d submits request %d\n", HOST(r), r); \
    submitted = submitted | BIT(r) }
/* `attach`: where its channels stand is looked for at once, so not before the journal has been read. */
#define ATTACH(h, c) \
  :: d_step { (here & BIT(h)) && (REACHES & BIT((h) * 2 + (c))) && IDLE(c) && IS_MEMBER(c) && !(attached[c] & BIT(h)) \
      && MAY_SCAN(c) && ((pending[c] | UNDER_WAY(c)) & OF_HOST(h)) == 0 \
      && !(stopping[c] && STANDING_ENTRIES(c) == 0) -> \
    printf("host %d attaches to %d\n", h, c); \
    attached[c] = attached[c] | BIT(h); \
    polled[c] = polled[c] | BIT((h) * 2 + (c)) } \
  /* Its connection is lost, or its process has ended. */ \
  :: d_step { phase[c] == SERVING && (attached[c] & BIT(h)) && ((dead & BIT(h)) || losses > 0) -> \
    printf("host %d is disconnected from %d\n", h, c); \
    if :: dead & BIT(h) :: else -> losses-- fi; \
    attached[c] = attached[c] & ~BIT(h); \
    polled[c] = polled[c] & ~(3 << ((h) * 2)) }
#define PRESENCE(h) \
  :: d_step { absences > 0 && (here & BIT(h)) -> \
    printf("host %d stands still\n", h); absences--; here = here & ~BIT(h) } \
  :: d_step { !(here & BIT(h)) && !(dead & BIT(h)) && (MAY_COME & BIT(h)) -> \
    printf("host %d goes on\n", h); here = here | BIT(h) } \
  :: d_step { !(here & BIT(h)) && !(dead & BIT(h)) && (MAY_DIE & BIT(h)) -> \
    printf("host %d has ended\n", h); dead = dead | BIT(h) }

proctype Hosts() {
end:
  do
  SUBMIT(0) SUBMIT(1)
#if REQUESTS > 2
  SUBMIT(2)
#endif
#if REQUESTS > 3
  SUBMIT(3)
#endif
  ATTACH(0, A) ATTACH(0, B) PRESENCE(0)
#if HOSTS
  ATTACH(1, A) ATTACH(1, B) PRESENCE(1)
#endif
  od
}

/* ---- What goes wrong, and the restarts ---- */
/* A frozen controller may stay frozen for ever, as long as its peer runs. */
#ifdef STAY_FROZEN
#define MAY_THAW(c) ((frozen & BIT(PEER(c))) || PEER_IS_DOWN(c))
#else
#define MAY_THAW(c) true
#endif
#ifdef STAY_DOWN
#define PEER_IS_DOWN(c) (down & BIT(PEER(c)))
#else
#define PEER_IS_DOWN(c) false
#endif
#ifdef STAY_DOWN
#define MAY_START(c) !(down & BIT(c))
#define STAYS_DOWN(c) \
  :: d_step { phase[c] == ABSENT && down == 0 && life[c] > 0 -> \
    printf("%d is never started again\n", c); down = BIT(c) }
#else
#define MAY_START(c) true
#define STAYS_DOWN(c)
#endif
#define FAULTS(c) \
  :: d_step { phase[c] != ABSENT && deaths > 0 -> \
    printf("%d dies\n", c); deaths--; end_life(c) } \
  :: d_step { phase[c] != ABSENT && freezes > 0 && RUNS(c) -> \
    printf("%d freezes\n", c); freezes--; frozen = frozen | BIT(c) } \
  :: d_step { !RUNS(c) && MAY_THAW(c) -> \
    printf("%d goes on\n", c); frozen = frozen & ~BIT(c) } \
  /* `init`: takes the seat, and says that it is starting. Its number is one more than any that stands anywhere. */ \
  :: d_step { phase[c] == ABSENT && life[c] < LIVES && MAY_START(c) -> \
    printf("%d starts\n", c); \
    life[c] = life[c] + 1; phase[c] = STARTING } \
  STAYS_DOWN(c)

proctype World() {
end:
  do
  FAULTS(A) FAULTS(B)
  od
}

/* Everything that a running host has asked is answered, and no controller that runs has anything left to do. */
#define OWED(r) ((here & BIT(HOST(r))) && !(answered & BIT(r)))
#define ALL_ANSWERED (!OWED(0) && !OWED(1) && (REQUESTS < 3 || !OWED(2)) && (REQUESTS < 4 || !OWED(3)))

#ifdef FAIRNESS
/* In the end, and from then on. */
ltl all_answered { <>[] ALL_ANSWERED }

/* Spin looks for fair executions among those that go on for ever. This process makes all of them do so. */
proctype Time() { do :: standing[A] <= LEFT od }
#else
/* Where nothing more can happen nothing is owed. */
proctype AtTheEnd() {
end:
  timeout -> INVARIANT(ALL_ANSWERED, never_answered)
}
#endif

init {
  atomic {
#ifndef COLD_START
    standing[A] = MEMBER; standing[B] = MEMBER;
    life_in_word[A] = 1; life_in_word[B] = 1; life[A] = 1; life[B] = 1;
    phase[A] = SERVING; phase[B] = SERVING;
#endif
    owner[0] = OWNER_0; owner[1] = OWNER_1;
    attached[A] = ATTACHED_A; attached[B] = ATTACHED_B;
    polled[A] = (ATTACHED_A & 1) | ((ATTACHED_A & 2) << 1);
    polled[B] = ((ATTACHED_B & 1) << 1) | ((ATTACHED_B & 2) << 2);
    run Controller(A); run Controller(B); run Kernel(); run Hosts(); run World();
#ifdef FAIRNESS
    run Time()
#else
    run AtTheEnd()
#endif
  }
}

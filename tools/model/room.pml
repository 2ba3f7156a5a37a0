/* Room: the table of accepted requests, which is the journal, is bounded. A survivor must find room in its own for
 * what stands in the dead peer's journal, however many requests of its hosts wait for the peer's functions meanwhile
 * (`takeable`, `takePosition`, `readJournal`, `requestsReserved`). A request that was given up stays in a journal, and
 * takes the place of an operation there (`hasRoom`). A new life of the peer joins only if there is room for what it may
 * have in flight (`isReleased`).
 *
 * A controller gives up no more than ORPHANS_MAX requests. With more of them it would take nothing until their hosts
 * come back or end.
 */
#ifndef STORAGE
#define STORAGE 3 /* operations that the storage can have under way: `Storage.operationsMax` */
#endif
#define PLACES (2 * (STORAGE + 1)) /* `requestsMax` */
#define ORPHANS_MAX 1 /* `orphansMax` */
#ifndef SUBMITTED_MAX
#define SUBMITTED_MAX 8 /* by hosts, altogether */
#endif
#ifndef LIVES
#define LIVES 2 /* of the peer */
#endif

#ifdef TAKE_WITHOUT_ROOM
#define HAS_ROOM true
#else
#define HAS_ROOM (FREE > RESERVED)
#endif
#ifdef NO_RESERVE
#define RESERVED 0
#else
#ifdef RESERVE_OPERATIONS_ONLY
#define RESERVED STORAGE
#else
#define RESERVED (STORAGE + 1)
#endif
#endif
#ifdef ORPHANS_TAKE_NO_PLACES
#define PEERS_OPERATIONS peers_running
#else
#define PEERS_OPERATIONS (peers_running + peers_orphans)
#endif
#ifdef GIVE_UP_WITHOUT_END
#define MAY_GIVE_UP true
#else
#define MAY_GIVE_UP (kept_orphans < ORPHANS_MAX)
#endif
#ifdef RELEASE_WITHOUT_ROOM
#define MAY_RELEASE true
#else
#define MAY_RELEASE (FREE >= RESERVED)
#endif

byte submitted;     /* by hosts, in lines of this controller's channels, not taken */
byte more = SUBMITTED_MAX;
byte found;         /* in the lines of a host that is about to attach */
byte waits;         /* taken, for functions of the peer */
byte running;       /* taken, for its own functions */
byte recovering;    /* moved here, not over */
byte kept_orphans;  /* moved here, given up: their host does not come back */
bool has_position;  /* that host is attached */

bool is_dead;       /* the peer */
byte lives = 1;
byte peers_running; /* in the peer's journal, which lives */
byte peers_orphans; /* the same, given up */
byte entries;       /* in the journal of the dead peer, not read */
byte orphans;       /* of these, given up */
bool has_read;      /* `isAtEnd` */
bool has_taken_over;

hidden byte more_than_there_is_room_for;
hidden byte stuck_for_want_of_room;
#define INVARIANT(condition, name) if :: (condition) :: else -> assert(name) fi
#define FREE (PLACES - waits - running - recovering - kept_orphans)

active proctype Survivor() {
end:
  do
  /* `takeable`: the reserve stays free. */
  :: d_step { submitted > 0 && HAS_ROOM ->
      submitted--; waits++;
      INVARIANT(FREE >= 0, more_than_there_is_room_for) }
  :: d_step { submitted > 0 && HAS_ROOM ->
      submitted--; running++;
      INVARIANT(FREE >= 0, more_than_there_is_room_for) }
  :: d_step { running > 0 -> running-- }
  /* `readJournal`. */
  :: d_step { is_dead && !has_read && entries > orphans && FREE > 0 -> entries--; recovering++ }
  :: d_step { is_dead && !has_read && orphans > 0 && FREE > 0 -> entries--; orphans--; kept_orphans++ }
  :: d_step { is_dead && !has_read && entries == 0 -> has_read = true }
  /* `executeAgain`, which needs its function, and so do those that wait. */
  :: d_step { has_read && !has_taken_over -> has_taken_over = true }
  :: d_step { has_taken_over && recovering > 0 -> recovering-- }
  :: d_step { has_taken_over && waits > 0 -> waits-- }
  /* `giveUp`. */
  :: d_step { has_taken_over && recovering > 0 && MAY_GIVE_UP -> recovering--; kept_orphans++ }
  /* `releaseIfAsked`: the new life gets the orphans of its channels (`handOrphansOver`), here all or none. */
  :: d_step { has_taken_over && recovering == 0 && lives < LIVES && MAY_RELEASE ->
      lives++; is_dead = false; has_read = false; has_taken_over = false }
  :: d_step { has_taken_over && recovering == 0 && lives < LIVES && MAY_RELEASE ->
      lives++; is_dead = false; has_read = false; has_taken_over = false;
      peers_orphans = kept_orphans; kept_orphans = 0 }
  /* `takePosition`, of a host that attaches: all that its channel holds, or nothing of it for now. Not while the
   * journal is being read. */
#ifdef SCAN_TAKES_RESERVE
  :: d_step { (!is_dead || has_read) && !has_position && found <= FREE ->
#else
  :: d_step { (!is_dead || has_read) && !has_position && (found == 0 || FREE >= RESERVED + found) ->
#endif
      waits = waits + found; found = 0; has_position = true }
  od
}

active proctype World() {
  /* What stands in the journals at first: this controller is a new life, and the peer has ended as well. Or the peer
   * lives, and has orphans. */
  if
  :: atomic { is_dead = true;
      do
      :: recovering < STORAGE + 1 -> recovering++
      :: entries < STORAGE + 1 -> entries++
      :: entries < STORAGE + 1 && orphans < ORPHANS_MAX -> entries++; orphans++
      :: break
      od }
  :: atomic {
      do
      :: peers_orphans < ORPHANS_MAX -> peers_orphans++
      :: break
      od }
  fi;
end:
  do
  :: d_step { more > 0 -> more--; submitted++ }
  :: d_step { more > 0 && !has_position && found < 2 -> more--; found++ }
  /* `serve`, in the peer. What ends there only makes less of what must be moved. */
  :: d_step { !is_dead && PEERS_OPERATIONS < STORAGE -> peers_running++ }
  /* It dies, and it may have been about to answer one request at once. */
  :: d_step { !is_dead ->
      entries = peers_running + peers_orphans; orphans = peers_orphans; peers_running = 0; peers_orphans = 0;
      is_dead = true }
  :: d_step { !is_dead ->
      entries = peers_running + peers_orphans + 1; orphans = peers_orphans; peers_running = 0; peers_orphans = 0;
      is_dead = true }
  od
}

active proctype AtTheEnd() {
end:
  timeout -> INVARIANT(!is_dead || has_read && has_position && waits + running + recovering + submitted + found == 0,
    stuck_for_want_of_room)
}

/* Room: the table of accepted requests, which is the journal, is bounded. A survivor must find room in its own for
 * what stands in the dead peer's journal, however many requests of its hosts wait for the peer's functions meanwhile
 * (`takeable`, `takePosition`, `readJournal`, `requestsReserved`).
 */
#ifndef PLACES
#define PLACES 6 /* `requestsMax` */
#endif
#ifndef STORAGE
#define STORAGE 2 /* operations that the storage can have under way: `Storage.operationsMax` */
#endif
#ifndef ORPHANS
#define ORPHANS 0 /* entries that were given up, in the journal of the peer as well */
#endif
#define SUBMITTED_MAX 10 /* by hosts, altogether */

#ifdef TAKE_WITHOUT_ROOM
#define HAS_ROOM true
#else
#define HAS_ROOM (FREE > RESERVED)
#endif
#ifdef NO_RESERVE
#define RESERVED 0
#else
#define RESERVED STORAGE
#endif

byte submitted;     /* by hosts, in lines of this controller's channels, not taken */
byte more = SUBMITTED_MAX;
byte found;         /* in the lines of a host that is about to attach */
byte waits;         /* taken, for functions of the peer */
byte running;       /* taken, for its own functions */
byte entries;       /* in the peer's journal */
byte orphans;       /* of these, given up */
byte recovering;    /* moved here, not over */
byte kept_orphans;  /* moved here, given up: their host does not come back */
bool is_dead;       /* the peer */
bool has_read;      /* `hasReadJournal` */
bool has_position;  /* that host is attached */
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
end:
  do
  :: d_step { more > 0 -> more--; submitted++ }
  :: d_step { more > 0 && !has_position && found < 2 -> more--; found++ }
  :: d_step { !is_dead -> entries = ORPHANS; orphans = ORPHANS; is_dead = true }
  :: d_step { !is_dead && STORAGE > 0 -> entries = ORPHANS + 1; orphans = ORPHANS; is_dead = true }
  :: d_step { !is_dead && STORAGE > 1 -> entries = ORPHANS + 2; orphans = ORPHANS; is_dead = true }
  od
}

active proctype AtTheEnd() {
end:
  timeout -> INVARIANT(has_read && has_position && waits + running + recovering + submitted + found == 0,
    stuck_for_want_of_room)
}

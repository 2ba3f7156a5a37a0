/* Sleep: a controller parks, and a host and the peer may have to wake it (SharedMemory/SleepWord.swift,
 * Controller+Parking.swift, `Host.ring`, `ringPeer`). A host that sleeps until it is answered follows the same protocol
 * in the sleeper's part.
 *
 * Memory is that of x86: each store waits in its processor's buffer, in order, until it becomes visible, and loads do
 * not wait for it. membarrier(2) (SharedMemory/AsymmetricFence.swift) empties the buffers of all.
 */
#define CALLERS 2

#define AWAKE 0
#define DROWSY 1
#define LISTENING 2
byte word = AWAKE; /* as everybody sees it */
chan said = [3] of { byte }; /* the sleeper's stores to the word that are not visible yet */

bool published[CALLERS]; /* changes with each call, as everybody sees it */
bool buffered[CALLERS];  /* the caller's store to it is not visible yet */
bool taken[CALLERS];     /* the last call that the sleeper has found */
bool on_queue;           /* of the futex: asleep */

#define SOMETHING_TO_FIND (published[0] != taken[0] || published[1] != taken[1])

/* `park`, `lieDown`, `getUp`: says that it sleeps, looks once more, sleeps. */
inline lie_down() {
  if
  :: !is_heeded ->
    said!DROWSY;
#ifndef NO_HEAVY_FENCE
    /* `AsymmetricFence.heavy`: each processor's buffer is empty at some time before it returns. */
    empty(said);
    !buffered[0];
    !buffered[1];
#endif
    is_heeded = true
  :: else
  fi;
  said!LISTENING;
#ifndef NO_SLEEPERS_FENCE
  empty(said); /* `SleepWord.fence` */
#endif
  if
#ifndef NO_LOOK_BEFORE_SLEEP
  :: SOMETHING_TO_FIND /* `findsNothing` */
  :: !SOMETHING_TO_FIND ->
#else
  :: true ->
#endif
    /* The call that sleeps: the kernel compares the word under the lock of its queue. It is no fence for what the
     * sleeper has stored before. */
    if
#ifndef NO_COMPARE
    :: atomic { (nempty(said) || word == LISTENING) -> on_queue = true }; !on_queue
    :: atomic { empty(said) && word != LISTENING -> skip }
#else
    :: on_queue = true; !on_queue
#endif
    fi
  fi;
  said!DROWSY
}

active proctype Sleeper() {
  bool is_heeded = false, has_found = false;
  do
  :: atomic { /* `poll` looks at one caller, then at the next */
      has_found = (published[0] != taken[0]);
      taken[0] = published[0] };
    atomic {
      has_found = has_found || published[1] != taken[1];
      taken[1] = published[1] };
    if
    :: has_found -> said!AWAKE; is_heeded = false /* `rouse`: busy for a while */
    :: true
    fi;
    if
    :: true /* turns again */
    :: !has_found -> lie_down()
    fi;
    has_found = false
  od
}

/* `ring`, `takeSleep`: publishes, looks, and looks again behind a fence. */
proctype Caller(byte me) {
  byte seen;
  do
  :: published[me] == taken[me] && !buffered[me] ->
    buffered[me] = true;
    if
    :: word == AWAKE /* `isAwake`, behind `AsymmetricFence.light` */
    :: word != AWAKE ->
#ifndef NO_CALLERS_FENCE
      !buffered[me];
#endif
      seen = word;
      if
      :: seen == LISTENING ->
        if
        :: atomic { word == LISTENING -> word = DROWSY };
          on_queue = false /* futex(2), FUTEX_WAKE */
        :: word != LISTENING
        fi
      :: else
      fi;
      seen = 0
    fi
  od
}

/* Stores become visible, in the end. */
active proctype Visible0() { do :: atomic { buffered[0] -> buffered[0] = false; published[0] = !published[0] } od }
active proctype Visible1() { do :: atomic { buffered[1] -> buffered[1] = false; published[1] = !published[1] } od }
active proctype VisibleWord() { do :: atomic { said?word } od }

/* Spin looks for fair executions among those that go on for ever. This process makes all of them do so. */
active proctype Time() { do :: word <= LISTENING od }

init {
  atomic {
    run Caller(0);
#ifndef ONE_CALLER
    run Caller(1)
#endif
  }
}

/* No call is lost. */
ltl found_in_the_end { [] ((published[0] != taken[0]) -> <> (published[0] == taken[0])) }
ltl found_in_the_end_too { [] ((published[1] != taken[1]) -> <> (published[1] == taken[1])) }

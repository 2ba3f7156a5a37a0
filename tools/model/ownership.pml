/* Ownership: two functions, and two living controllers that want them, now and then or all the time. One may leave.
 * The words (Ownership/OwnershipWord.swift), the arbiter (Ownership/Arbiter.swift) and what a controller does with
 * them in a turn (Controller+Ownership.swift). A controller is a loop here, as in the code: so the only fairness that
 * is needed is that both loops turn. No controller dies here; takeover.pml is about death.
 *
 * Each access to a word, together with private steps before and after it, is one step.
 */
#define A 0
#define B 1
#define PEER(c) (1 - (c))
#ifndef WAITING_MAX
#define WAITING_MAX 2 /* requests that wait in a controller for function 0; for function 1 it is one */
#endif
#ifndef LEAVINGS
#define LEAVINGS 0
#endif
#define ROOM(f) ((f) == 0 -> WAITING_MAX : 1)
#define AT(c, f) (2 * (c) + (f))

/* The words: the owner (0 none, 1 a, 2 b), and whether the controller that is not the owner requests the function. */
byte owner[2];
bool requested[2];

/* FunctionState, by AT(c, f). */
byte pending[4];
byte owed[4];
byte in_flight[4];      /* turns until the storage has done it; 0: nothing is in flight */
bool asks[4];           /* isRequesting */
bool relinquishing[4];
bool attention[4];      /* on the list of those to look at */
byte residency[4];      /* turns that a contended term goes on, at least */
bool leaving[2];
bool left[2];
byte leavings = LEAVINGS;

bool begun[4];          /* ghost: something that waited has been begun in this turn */
byte due[4];            /* ghost: of what waited when the function was got, how many have not been begun */

/* ---- Invariants. The checker prints the name of one that is violated. No step writes these variables. ---- */
hidden byte served_by_two;
hidden byte served_by_no_owner;
hidden byte granted_before_its_turn;
#define INVARIANT(condition, name) if :: (condition) :: else -> assert(name) fi

#define OWNS(c, f) (owner[f] == (c) + 1)

#ifdef ADMIT_WHILE_RELINQUISHING
#define ADMITS(c, f) true
#else
#define ADMITS(c, f) (!relinquishing[AT(c, f)])
#endif
#ifdef GRANT_WHILE_BUSY
#define IS_BUSY(c, f) false
#else
#define IS_BUSY(c, f) (in_flight[AT(c, f)] > 0)
#endif
#ifdef GRANT_AT_ONCE
#define OWES(c, f) false
#else
#define OWES(c, f) (owed[AT(c, f)] > 0)
#endif
#ifdef SERVE_WITHOUT_LOOKING
#define SEES_ITSELF(c, f) true
#else
#define SEES_ITSELF(c, f) OWNS(c, f)
#endif

/* `serve`. The storage takes one turn, or two for function 0. */
inline serve(c, f) {
  INVARIANT(OWNS(c, f), served_by_no_owner);
  INVARIANT(in_flight[AT(PEER(c), f)] == 0, served_by_two);
  if
  :: in_flight[AT(c, f)] = in_flight[AT(c, f)] + 1
  :: f == 0 && in_flight[AT(c, f)] == 0 -> in_flight[AT(c, f)] = 2
  fi
}
#define HAS_ROOM(c, f) (in_flight[AT(c, f)] < 1)

/* `sendHint`, and `readLink` at the other end. A hint may be lost. */
inline send_hint(c, f) {
  if
  :: attention[AT(PEER(c), f)] = true
  :: true /* lost */
  fi
}

/* `askArbiter`, `Arbiter.request`: claims or requests, by what the word says at the swap. */
inline ask(c, f) {
  asks[AT(c, f)] = true;
  if
  :: owner[f] == 0 -> owner[f] = (c) + 1
  :: OWNS(PEER(c), f) && !requested[f] -> requested[f] = true; send_hint(c, f)
  :: else
  fi
}

/* `refusePending`: back to their hosts. */
inline refuse(c, f) {
  pending[AT(c, f)] = 0; owed[AT(c, f)] = 0; due[AT(c, f)] = 0
}

/* `takeRequests`, `receive`: some host may have submitted something. */
inline take(c, f) {
  if
  :: true
  :: pending[AT(c, f)] < ROOM(f) && !leaving[c] ->
    if
    :: SEES_ITSELF(c, f) && pending[AT(c, f)] == 0 && ADMITS(c, f) && HAS_ROOM(c, f) -> serve(c, f)
    :: else ->
      pending[AT(c, f)]++;
      attention[AT(c, f)] = true; /* `requestOwnership` */
      if
      :: !OWNS(c, f) && !asks[AT(c, f)] -> ask(c, f)
      :: else
      fi
    fi
  fi
}

/* `sweep`: requests that no hint announced. */
inline sweep(c, f) {
#ifndef NO_SWEEP
  if
  :: OWNS(c, f) && requested[f] -> attention[AT(c, f)] = true
  :: else
  fi
#else
  skip
#endif
}

proctype Controller(byte c) {
  byte f;
  bool is_mine, is_requested, may_grant;
turn:
  do
  :: left[c] -> break
  :: atomic { !left[c] ->
      /* `takeCompletions`; and the clock goes on. */
      for (f : 0 .. 1) {
        begun[AT(c, f)] = false;
        if :: in_flight[AT(c, f)] > 0 -> in_flight[AT(c, f)]-- :: else fi;
        if :: residency[AT(c, f)] > 0 -> residency[AT(c, f)]-- :: else fi
      }
      f = 0;
      /* `keepHouse`. In the code it comes every so many turns, which is the same as if the others had taken so many
       * steps meanwhile. */
      sweep(c, 0);
      sweep(c, 1);
      take(c, 0) }
    atomic { take(c, 1) }
    /* `attend(to:)`, one function after the other. */
    do
    :: f < 2 && !attention[AT(c, f)] -> f++
    :: atomic { f < 2 && attention[AT(c, f)] -> is_mine = OWNS(c, f); is_requested = requested[f] };
      if
      :: !is_mine && pending[AT(c, f)] == 0 && !asks[AT(c, f)] -> attention[AT(c, f)] = false
      :: !is_mine && (pending[AT(c, f)] > 0 || asks[AT(c, f)]) && (owner[f] == 0 || !is_requested) -> atomic {
          /* It has no owner, or the request does not stand: asks, or asks again. */
          asks[AT(c, f)] = false;
          if
          :: pending[AT(c, f)] == 0 -> attention[AT(c, f)] = false
          :: else -> ask(c, f); is_mine = OWNS(c, f); is_requested = requested[f]
          fi }
      :: else
      fi;
      if
      :: is_mine -> atomic {
          if
          :: asks[AT(c, f)] ->
            /* Granted, or claimed: a term begins here. */
            asks[AT(c, f)] = false;
            owed[AT(c, f)] = pending[AT(c, f)];
            due[AT(c, f)] = pending[AT(c, f)];
            if
            :: is_requested && f == 0 -> if :: residency[AT(c, f)] = 0 :: residency[AT(c, f)] = 1 fi
            :: else
            fi
          :: else
          fi;
          if :: !is_requested -> relinquishing[AT(c, f)] = false :: else fi;
          /* `servePending`. */
          do
          :: pending[AT(c, f)] > 0 && ADMITS(c, f) && HAS_ROOM(c, f) ->
            pending[AT(c, f)]--;
            begun[AT(c, f)] = true;
            if :: owed[AT(c, f)] > 0 -> owed[AT(c, f)]-- :: else fi;
            if :: due[AT(c, f)] > 0 -> due[AT(c, f)]-- :: else fi;
            serve(c, f)
          :: else -> break
          od;
          /* `relinquish`: what waited at the grant comes first, then the residency; then nothing is admitted. */
          if
          :: is_requested && !OWES(c, f) && (residency[AT(c, f)] == 0 || leaving[c]) -> relinquishing[AT(c, f)] = true
          :: else
          fi;
          may_grant = is_requested && relinquishing[AT(c, f)] && !IS_BUSY(c, f);
          if
          :: may_grant && leaving[c] -> refuse(c, f)
          :: else
          fi;
          attention[AT(c, f)] = is_requested || pending[AT(c, f)] > 0 };
        if
        :: may_grant -> atomic {
            /* `Arbiter.grant`: acknowledgement and grant, and a request for the way back, in one swap. */
            may_grant = false;
            relinquishing[AT(c, f)] = false;
            if
            :: OWNS(c, f) && requested[f] ->
              INVARIANT(due[AT(c, f)] == 0, granted_before_its_turn);
              owner[f] = PEER(c) + 1;
#ifdef FORGET_WHO_WAITS
              requested[f] = false; attention[AT(c, f)] = false;
#else
              requested[f] = pending[AT(c, f)] > 0;
              asks[AT(c, f)] = pending[AT(c, f)] > 0;
              attention[AT(c, f)] = pending[AT(c, f)] > 0;
#endif
              if :: !requested[f] -> send_hint(c, f) :: else fi
            :: else /* withdrawn meanwhile */
            fi }
        :: else
        fi
      :: else
      fi;
      atomic { is_mine = false; is_requested = false; f++ }
    :: f == 2 -> break
    od;
    f = 0;
#if LEAVINGS
    /* `beginStop`. */
    if
    :: atomic { leavings > 0 -> leavings--; leaving[c] = true }
    :: true
    fi;
    /* `continueStop`. */
    if
    :: leaving[c] ->
      for (f : 0 .. 1) {
        atomic {
          if
          :: asks[AT(c, f)] && OWNS(PEER(c), f) && requested[f] -> /* `Arbiter.withdraw` */
            requested[f] = false; asks[AT(c, f)] = false;
            refuse(c, f)
          :: else
          fi }
      }
      f = 0;
      if
      :: pending[AT(c, 0)] + pending[AT(c, 1)] + in_flight[AT(c, 0)] + in_flight[AT(c, 1)] == 0 &&
        !asks[AT(c, 0)] && !asks[AT(c, 1)] ->
        for (f : 0 .. 1) {
          do
          :: atomic { OWNS(c, f) && requested[f] -> /* `Arbiter.grant` */
              INVARIANT(due[AT(c, f)] == 0, granted_before_its_turn);
              owner[f] = PEER(c) + 1; requested[f] = false; relinquishing[AT(c, f)] = false; send_hint(c, f) }
          :: atomic { OWNS(c, f) && !requested[f] -> owner[f] = 0 } /* `Arbiter.vacate` */
          :: else -> break
          od
        }
        f = 0;
        left[c] = true
      :: else
      fi
    :: else
    fi
#endif
  od
}

init { atomic { run Controller(A); run Controller(B) } }

/* What waits in a is begun in the end, unless it goes back because a leaves. What a controller requests is granted. The
 * claims are about one controller each: a and b differ in their names only. */
ltl begun_in_the_end { []<> (pending[0] == 0 || begun[0] || left[0]) }
ltl granted_in_the_end { [] ((requested[0] && owner[0] == 2 && !leaving[0]) -> <> (owner[0] != 2 || leaving[0])) }
ltl granted_in_the_end_too { [] ((requested[1] && owner[1] == 1 && !leaving[1]) -> <> (owner[1] != 1 || leaving[1])) }

/* The scenarios of takeover.pml: what hosts ask for, and what may go wrong. */
#define MASKS(p, q, r, s) ((p) + 16 * (q) + 256 * (r) + 4096 * (s)) /* one of four bits for each request */

#if defined(OVERLAPPING)
/* Three writes that overlap in part, by both channels. */
#define REQUESTS 3
#define CHANNELS 2
#define WRITES 7
#define EXTENTS MASKS(3, 1, 2, 0)

#elif defined(READING)
/* A write of two blocks, a read of both, and a read of what the first read has seen. */
#define REQUESTS 3
#define CHANNELS 2
#define WRITES 1
#define EXTENTS MASKS(3, 3, 2, 0)
#define ORDERS MASKS(0, 0, 2, 0)

#elif defined(REUSING)
/* Two writes in one line, one after another, and a third write by the channel to b. */
#define REQUESTS 3
#define CHANNELS 4
#define WRITES 7
#define EXTENTS MASKS(1, 2, 3, 0)
#define ELDERS MASKS(0, 1, 0, 0)

#elif defined(UNITS)
/* Two units: a owns unit 0, which both channels write to, and b owns unit 1, which the channel to a writes to. */
#define REQUESTS 3
#define CHANNELS 2
#define FUNCTIONS 4
#define WRITES 7
#define EXTENTS MASKS(1, 1, 4, 0)
#define OWNER_1 2

#elif defined(STATE)
/* Two changes of the state of a unit, and a write. */
#define REQUESTS 3
#define CHANNELS 2
#define FUNCTIONS 3
#define STATES 3
#define WRITES 4
#define EXTENTS MASKS(0, 0, 1, 0)
#define OWNER_1 1

#elif defined(ORPHANS)
/* Host 1 is attached to a alone, and may stand still. Host 0 writes what host 1 writes, by both channels. */
#define REQUESTS 3
#define CHANNELS 2
#define HOSTS 4
#define WRITES 7
#define EXTENTS MASKS(1, 1, 1, 0)
#define HERE 3
#define ATTACHED_A 3
#define ATTACHED_B 1

#elif defined(ORPHAN)
/* The same with one write each. */
#define REQUESTS 2
#define CHANNELS 2
#define HOSTS 1
#define WRITES 3
#define EXTENTS MASKS(1, 1, 0, 0)
#define HERE 3
#define ATTACHED_A 3
#define ATTACHED_B 1

#elif defined(PAIR)
/* Two writes of the same block, by both channels. */
#define REQUESTS 2
#define CHANNELS 2
#define WRITES 3
#define EXTENTS MASKS(1, 1, 0, 0)
#endif

#ifdef COLD_START
#define OWNER_0 0
#define OWNER_1 0
#define ATTACHED_A 0
#define ATTACHED_B 0
#endif
#ifndef HOSTS
#define HOSTS 0
#endif
#ifndef FUNCTIONS
#define FUNCTIONS 0
#endif
#ifndef STATES
#define STATES 0
#endif
#ifndef ORDERS
#define ORDERS 0
#endif
#ifndef ELDERS
#define ELDERS 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef FREEZES
#define FREEZES 0
#endif
#ifndef LEAVINGS
#define LEAVINGS 0
#endif
#ifndef ABSENCES
#define ABSENCES 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef LIVES
#define LIVES 2
#endif
#ifndef HERE
#define HERE 1
#endif
#ifndef REACHES
#define REACHES 15
#endif
#ifndef MAY_COME
#define MAY_COME 3
#endif
#ifndef MAY_DIE
#define MAY_DIE 0
#endif
#ifndef OWNER_0
#define OWNER_0 1
#endif
#ifndef OWNER_1
#define OWNER_1 0
#endif
#ifndef ATTACHED_A
#define ATTACHED_A 1
#endif
#ifndef ATTACHED_B
#define ATTACHED_B 1
#endif

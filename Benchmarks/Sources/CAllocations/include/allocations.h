// Counts every allocation of the process that this is linked into, or preloaded to.
#ifndef BATON_ALLOCATIONS_H
#define BATON_ALLOCATIONS_H

/// Allocations of the process so far, by all of its threads; those given back count too.
unsigned long baton_allocations(void);

#endif

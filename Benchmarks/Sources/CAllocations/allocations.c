// The allocator's entry points, counted and handed on to glibc's own under their internal names: no look-up by dlsym,
// which would itself allocate. Preloaded, or linked into a program, they come before the C library's.
#include "allocations.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static atomic_ulong count;

static void another(void) { atomic_fetch_add_explicit(&count, 1, memory_order_relaxed); }

unsigned long baton_allocations(void) { return atomic_load_explicit(&count, memory_order_relaxed); }

void *malloc(size_t size) {
  another();
  return __libc_malloc(size);
}

void *calloc(size_t items, size_t size) {
  another();
  return __libc_calloc(items, size);
}

void *realloc(void *old, size_t size) {
  another();
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  another();
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  another();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  another();
  void *memory = __libc_memalign(alignment, size);
  if (memory == NULL) return ENOMEM;
  *result = memory;
  return 0;
}

// For a program that was not made to ask: says at its end how many there were.
__attribute__((destructor)) static void report(void) {
  if (getenv("BATON_COUNT_ALLOCATIONS") != NULL) dprintf(STDERR_FILENO, "allocations %lu\n", baton_allocations());
}

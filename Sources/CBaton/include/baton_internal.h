/* Between the Swift and the C half of the C interface. Not installed; nothing here is exported. */
#ifndef BATON_INTERNAL_H
#define BATON_INTERNAL_H

#include <stdint.h>

/* Keeps an error for baton_last_error. In C, because Swift has no thread-local variables. */
void shim_error_set(uint32_t code, const char *subject, const char *problem, const char *fix);

#endif

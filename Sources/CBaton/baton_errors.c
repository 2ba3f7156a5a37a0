// The last error of each thread, in memory of its own: no allocation, and nothing to free when a thread ends.
#include "baton.h"
#include "baton_internal.h"

#include <stdio.h>
#include <string.h>

enum { SUBJECT_MAX = 512, PROBLEM_MAX = 1024, FIX_MAX = 512 };

static _Thread_local struct {
  struct baton_error error;
  char subject[SUBJECT_MAX];
  char problem[PROBLEM_MAX];
  char fix[FIX_MAX];
  char text[SUBJECT_MAX + PROBLEM_MAX + FIX_MAX + 8];
} last;

// Longer texts are cut at the end of their buffers.
static void copy(char *to, size_t size, const char *from) {
  const char *end = memchr(from, 0, size - 1);
  size_t count = end ? (size_t)(end - from) : size - 1;
  memcpy(to, from, count);
  to[count] = 0;
}

void shim_error_set(uint32_t code, const char *subject, const char *problem, const char *fix) {
  copy(last.subject, sizeof last.subject, subject);
  copy(last.problem, sizeof last.problem, problem);
  copy(last.fix, sizeof last.fix, fix);
  last.error.code = code;
  snprintf(last.text, sizeof last.text, "%s: %s%s%s", last.subject, last.problem, *fix ? "; " : "", last.fix);
}

const struct baton_error *baton_last_error(void) {
  last.error.size = sizeof last.error;
  last.error.subject = last.subject;
  last.error.problem = last.problem;
  last.error.fix = last.fix;
  return &last.error;
}

const char *baton_last_error_text(void) { return last.text; }

// Statically defined probes (USDT): one for each step of the protocol, provider `baton`. A tracer finds them in the
// executable's notes and puts a breakpoint where the instruction `nop` stands; until then they do nothing. The format
// is that of SystemTap's sys/sdt.h (sourceware.org/systemtap/wiki/UserSpaceProbeImplementation), written here so that
// building needs no package for it.
#include "baton_shims.h"

// The tracers that have asked for a probe: the kernel counts them here (uprobes' reference counters, Linux 4.20), and a
// loop looks here now and then. One counter for all probes.
__attribute__((section(".probes"), used, visibility("hidden"))) volatile unsigned short baton_probes_semaphore;

bool shim_is_probed(void) { return baton_probes_semaphore != 0; }

// In the order of TraceStep, from 1 on.
#define STEPS(STEP)                                                                                                \
  STEP(1, submitted)                                                                                               \
  STEP(2, taken)                                                                                                   \
  STEP(3, served)                                                                                                  \
  STEP(4, given)                                                                                                   \
  STEP(5, completed)                                                                                               \
  STEP(6, answered)                                                                                                \
  STEP(7, reaped)                                                                                                  \
  STEP(8, requested)                                                                                               \
  STEP(9, hinted)                                                                                                  \
  STEP(10, seen)                                                                                                   \
  STEP(11, relinquishing)                                                                                          \
  STEP(12, drained)                                                                                                \
  STEP(13, granted)                                                                                                \
  STEP(14, begun)                                                                                                  \
  STEP(15, takenOver)                                                                                              \
  STEP(16, joined)                                                                                                 \
  STEP(17, fenced)                                                                                                 \
  STEP(18, killed)                                                                                                 \
  STEP(19, exitSeen)                                                                                               \
  STEP(20, journalRead)                                                                                            \
  STEP(21, drainProved)                                                                                            \
  STEP(22, replayed)                                                                                               \
  STEP(23, released)                                                                                               \
  STEP(24, left)                                                                                                   \
  STEP(25, host)

#define PROBE(name)                                                                                                \
  __asm__ volatile(                                                                                                \
      "990: nop\n"                                                                                                 \
      ".pushsection .note.stapsdt,\"\",\"note\"\n"                                                                   \
      ".balign 4\n"                                                                                                \
      ".4byte 992f-991f, 994f-993f, 3\n"                                                                           \
      "991: .asciz \"stapsdt\"\n"                                                                                   \
      "992: .balign 4\n"                                                                                           \
      "993: .8byte 990b\n"                                                                                         \
      ".8byte _.stapsdt.base\n"                                                                                    \
      ".8byte baton_probes_semaphore\n"                                                                            \
      ".asciz \"baton\"\n"                                                                                         \
      ".asciz \"" #name "\"\n"                                                                                     \
      ".asciz \"8@%0 8@%1 8@%2 8@%3\"\n"                                                                           \
      "994: .balign 4\n"                                                                                           \
      ".popsection\n"                                                                                              \
      ".ifndef _.stapsdt.base\n"                                                                                   \
      ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                                      \
      ".weak _.stapsdt.base\n"                                                                                     \
      ".hidden _.stapsdt.base\n"                                                                                   \
      "_.stapsdt.base: .space 1\n"                                                                                 \
      ".size _.stapsdt.base, 1\n"                                                                                  \
      ".popsection\n"                                                                                              \
      ".endif\n" ::"r"(function),                                                                                  \
      "r"(channel), "r"(sequence), "r"(value))

void shim_probe(unsigned step, uint64_t function, uint64_t channel, uint64_t sequence, uint64_t value) {
  switch (step) {
#define STEP(number, name) \
  case number: PROBE(name); break;
    STEPS(STEP)
#undef STEP
    default: break;
  }
}

const char *shim_probe_name(unsigned step) {
  static const char *const names[] = {
#define STEP(number, name) [number] = #name,
      STEPS(STEP)
#undef STEP
  };
  return step < sizeof names / sizeof *names ? names[step] : 0;
}

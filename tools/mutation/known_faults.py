#!/usr/bin/env python3
"""tools/mutation/known_faults.py [--build NAME]: faults that the protocol once had, and how to put them back.

Each is a list of edits of the code as it is now: a file, a text that stands in it once, and what stands there instead.
`PUT_BACK` in the new text is true when the fault is chosen at run time; with `PUT_BACK` false the code is as before. An
edit whose text does not stand there any more is an error: then the code has changed, and so must the edit.

Without options, prints their names and what each did. With --build, builds the simulation with all of them in it, in
.build-simulation-faults, and prints the program and the number that chooses the fault (see tools/simulate --fault)."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "mutation"))
import tree  # noqa: E402

FAULTS = {
    "orphans-forgotten": (
        "A life that had received orphans ended before it joined. The survivor did not read its journal, because "
        "nobody had fenced it, and executed the orphans as new requests when their host came back.",
        [("Sources/Controller/Takeover/Controller+Takeover.swift",
          "    _ = readJournal()\n    takeover.setStage(.recovers)\n",
          "    if PUT_BACK, standing != .fenced { takeover.journal.skipAll() }\n"
          "    _ = readJournal()\n    takeover.setStage(.recovers)\n"),
         ("Sources/Controller/Takeover/JournalReader.swift",
          "  /// The planted defect: forgets what the journal holds.\n",
          "  mutating func skipAll() { top = 0 }\n  /// The planted defect: forgets what the journal holds.\n")]),
    "stale-entry-hides-newer": (
        "Of two recovered requests of one line, the one that was found last counted. A request that had been answered "
        "hid the one after it, which was executed and answered twice.",
        [("Sources/Controller/Takeover/Recovery.swift",
          "      marked == Self.noMark ||", "      PUT_BACK || marked == Self.noMark ||")]),
    "host-gone-before-welcome": (
        "A host with orphans attached and was gone before the reply. The controller went on to read its memory, which "
        "had been unmapped.",
        [("Sources/Controller/Hosts/Controller+Control.swift",
          "if welcome(connection) { takePositions(place) }",
          "if welcome(connection) || PUT_BACK { takePositions(place) }")]),
    "orphans-of-attached-hosts": (
        "The peer's journal held orphans of a host that was attached to the survivor. They were bound to hosts that "
        "attach, and never answered.",
        [("Sources/Controller/Takeover/Recovery.swift",
          "    if hostIsAttached { mustAnswerOrphans = true }\n",
          "    if !PUT_BACK, hostIsAttached { mustAnswerOrphans = true }\n")]),
    "sweep-before-journal": (
        "The survivor took all functions over before it had read the peer's journal to its end, and served requests "
        "that collided with what it had not read.",
        [("Sources/Controller/Takeover/Controller+Takeover.swift",
          "    if takeover.standsIn, takeover.stage == .recovers, !isTakingOver { settle() }\n",
          "    if PUT_BACK, takeover.standsIn { work += sweepForTakeover() }\n"
          "    if takeover.standsIn, takeover.stage == .recovers, !isTakingOver { settle() }\n")]),
    "attaching-gives-up": (
        "A host that waited to be attached gave up at once when the only controller that it had reached died.",
        [("Sources/Host/Host+Waiting.swift",
          "    while true {\n      maintain()\n      if !isAttaching {\n",
          "    var hasReached = false\n    while true {\n      maintain()\n"
          "      hasReached = hasReached || isAttaching\n"
          "      if !isAttaching {\n        if PUT_BACK, hasReached { break }\n")]),
}


def fail(message):
    print(f"tools/mutation/known_faults.py: {message}", file=sys.stderr)
    sys.exit(1)


def edited():
    """The sources with every fault in them, off until it is chosen."""
    sources = {}
    for number, (name, (_, edits)) in enumerate(FAULTS.items(), 1):
        for path, old, new in edits:
            if path not in sources:
                try:
                    with open(os.path.join(ROOT, path)) as file:
                        sources[path] = file.read()
                except OSError as error:
                    fail(f"{name}: {path}: {error.strerror}: say in FAULTS where this code lies now")
            count = sources[path].count(old)
            if count != 1:
                fail(f"{name}: {path} has this text {count} times, not once; fit the edit to the code as it is now:"
                     f"\n{old}")
            sources[path] = sources[path].replace(old, new.replace("PUT_BACK", f"shim_mutant({number})"))
    return sources


def build(name):
    if name not in FAULTS:
        fail(f"no fault '{name}'; there are: {', '.join(FAULTS)}")
    sources = edited()
    copy = tree.Tree(ROOT, os.path.join(ROOT, ".build-simulation-faults", "copy"))
    copy.prepare(sources)
    for path, text in sources.items():
        copy.write_source(path, text)
    scratch = os.path.join(ROOT, ".build-simulation-faults", "build")
    done = subprocess.run(
        ["swift", "build", "--quiet", "-c", "release", "--traits", "default,Simulation", "--package-path", copy.folder,
         "--scratch-path", scratch, "--product", "BatonSimulation"], stdout=sys.stderr)
    if done.returncode != 0:
        fail("the build with the faults in it fails")
    print(os.path.join(scratch, "release", "BatonSimulation"), list(FAULTS).index(name) + 1)


def main():
    if sys.argv[1:2] == ["--build"] and len(sys.argv) == 3:
        return build(sys.argv[2])
    if len(sys.argv) > 1:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    edited()
    for name, (what, _) in FAULTS.items():
        print(f"{name}: {what}")


if __name__ == "__main__":
    main()

#if Simulation
  import BatonChannel
  import BatonController
  import BatonSubsystem

  /// How often each thing happened that a run of many seeds must have seen. What nothing has exercised, nothing has
  /// shown to be right.
  struct Coverage {
    private(set) var counts: [String: UInt64] = [:]

    mutating func add(_ what: String, _ amount: UInt64) { counts[what, default: 0] += amount }

    /// Parts of messages.
    static let logged = ["did not come back", "may join", "serves in place", "displaces it"]

    private static let places = ["step", "journal store", "answer"]
    /// The groups, and what belongs to each: all of it must have happened.
    static let required: [(title: String, names: [String])] = [
      ("A life was ended or frozen at this protocol point", ProtocolPoint.allCases.map { "point \($0)" }),
      (
        "Faults",
        ["death", "freeze", "SIGTERM"].flatMap { fault in places.map { "fault \(fault) at \($0)" } }
          + [
            "host dies", "host freezes", "host cut off", "host is away", "host comes back as a life ends",
            "host dies as it attaches", "host is cut off as it attaches", "both die", "the peer dies soon after",
            "a controller stays away",
            "a controller dies as a host comes back", "a controller freezes as a host comes back", "pause",
          ].map { "fault \($0)" }
          + [
            "controller left", "host attached",
            "host tried again to attach",
          ]
      ),
      (
        "Branches of recovery and of a change of owner, by the controllers' counters",
        [
          Counter.requests, .direct, .transferred, .answered, .errors, .terms, .grants, .ownershipRequests, .hintsSent,
          .requestsSwept, .parks, .peerDoorbells, .hostWakes, .hostsAttached, .fences, .kills, .takeovers,
          .functionsTakenOver, .adopted, .recovered, .replayed, .held, .drainProofs, .doorbells, .storageOperations,
        ].map { "counter \($0.name)" }
      ),
      ("The same, by what controllers log", logged.map { "log \($0)" }),
      ("Requests", RequestKind.allCases.map { "request \($0)" }),
      (
        "Answers",
        [
          Status.success, .noSuchUnit, .outOfRange, .misaligned, .zeroLength, .badBuffer, .invalidValue, .readOnly,
          .offline, .inputOutputError, .unsupported, .controllerLost,
        ].map { "status \($0)" }
      ),
      (
        "The machine",
        [
          "steps", "switches", "reads", "writes", "durable writes", "syncs", "holes and zeroes", "torn transfers",
          "late writes of the dead", "transfers that never landed", "I/O errors", "retries", "short transfers",
          "kills by pidfd", "futex waits", "futex wakes", "futex waits in a ring", "stores kept back", "membarriers",
          "process numbers used again",
        ].map { "machine \($0)" }
      ),
    ]

    /// The table, for people.
    var table: String {
      var text = ""
      for group in Self.required {
        text += "\(group.title):\n"
        for name in group.names {
          let short = name.split(separator: " ").dropFirst().joined(separator: " ")
          let count = counts[name] ?? 0
          let number = String(count)
          text += "  " + String(repeating: " ", count: max(0, 14 - number.count)) + number
          text += "  \(name.hasPrefix("controller") || name.hasPrefix("host") ? name : short)"
          text += count == 0 ? "  <- never\n" : "\n"
        }
      }
      return text
    }

    /// What has never happened.
    var missing: [String] { Self.required.flatMap(\.names).filter { (counts[$0] ?? 0) == 0 } }
  }
#endif

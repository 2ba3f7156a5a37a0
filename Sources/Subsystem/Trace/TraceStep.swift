import CBatonShims

/// The steps of the protocol that a trace can record, in the order in which a request, a change of owner and a takeover
/// pass them. The numbers are those of the trace's file.
///
/// A step that publishes something is timed right before it does, so that nobody who saw it can have an earlier time;
/// one that notices something, right after.
///
/// baton_probes.c has a probe of the same name and number for each.
package enum TraceStep: UInt8, CaseIterable, Sendable {
  // Of a request.

  /// A host submits a request.
  case submitted = 1
  /// A controller has taken it from its line.
  case taken
  /// The owner of its function begins to serve it: it is in the in-flight journal.
  case served
  /// Prepared operations are given to the kernel. `value`: how many.
  case given
  /// The storage has done what it asked for.
  case completed
  /// A controller answers it. `value`: the term.
  case answered
  /// The host has taken the answer.
  case reaped

  // Of a change of owner.

  /// A controller requests a function of its peer.
  case requested
  /// It hints to the peer which word to check.
  case hinted
  /// The owner has read the hint, or found the request by itself.
  case seen
  /// The owner admits nothing more: the residency is over, and what is in flight ends.
  case relinquishing
  /// Nothing of the function is in flight there any more.
  case drained
  /// The owner grants the function. `value`: 1 if it asks for it back in the same step, else 0.
  case granted
  /// The new owner has noticed the grant: its term begins. `value`: the term.
  case begun
  /// A function without an owner, or of a dead one, is taken over.
  case takenOver

  // Of lives. `value`: the incarnation.

  /// A controller becomes a member.
  case joined
  /// A controller fences its peer.
  case fenced
  /// It kills its peer.
  case killed
  /// It has seen the peer's exit.
  case exitSeen
  /// It has read the dead peer's journal to its end. `value`: how many requests are under recovery.
  case journalRead
  /// The kernel has let go of what dead controllers had given to it for a unit.
  case drainProved
  /// A recovered request is executed again.
  case replayed
  /// A controller lets its peer's new life join.
  case released
  /// A controller leaves.
  case left

  // What the others refer to.

  /// A host is attached: `channel` is the first one of its place, `value` its identity.
  case host

  // `description` is the case's own name, as of any enumeration without associated values.
}

/// What a step is about. What does not apply is 0, but for the function and the channel, of which 0 is one.
package struct TraceDetail: Sendable, Equatable {
  /// The function.
  package var function: UInt32
  /// The channel, with a controller's number of it; for a host 0 or 1, its channel to a or to b.
  package var channel: UInt16
  /// The line of the request.
  package var line: UInt16
  /// The operation of a request that is submitted or taken; the status of one that is answered or reaped.
  package var code: UInt8
  /// The request's number in its channel.
  package var sequence: UInt64
  /// What the step says of it.
  package var value: UInt64

  /// A function, and a channel, that is none.
  package static let noFunction = UInt32.max
  package static let noChannel = UInt16.max

  /// From the parts.
  package init(
    function: Int = Int(noFunction), channel: Int = Int(noChannel), line: Int = 0, code: UInt8 = 0,
    sequence: UInt64 = 0,
    value: UInt64 = 0
  ) {
    self.function = UInt32(truncatingIfNeeded: function)
    self.channel = UInt16(truncatingIfNeeded: channel)
    self.line = UInt16(truncatingIfNeeded: line)
    self.code = code
    self.sequence = sequence
    self.value = value
  }

  /// Passes the step's probe, for a tracer that has asked for it.
  package func passProbe(of step: TraceStep) {
    shim_probe(CUnsignedInt(step.rawValue), UInt64(function), UInt64(channel), sequence, value)
  }

  /// As the second and the third word of an event have it, with its step.
  func words(of step: TraceStep) -> (UInt64, UInt64) {
    (
      UInt64(step.rawValue) | UInt64(code) << 8 | UInt64(channel) << 16 | UInt64(function) << 32,
      UInt64(line) | sequence << 16
    )
  }

  /// From those words and the fourth one.
  init(_ first: UInt64, _ second: UInt64, _ third: UInt64) {
    function = UInt32(truncatingIfNeeded: first >> 32)
    channel = UInt16(truncatingIfNeeded: first >> 16)
    code = UInt8(truncatingIfNeeded: first >> 8)
    line = UInt16(truncatingIfNeeded: second)
    sequence = second >> 16
    value = third
  }
}

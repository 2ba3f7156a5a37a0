import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem

// The trace: the steps of the protocol that this controller takes, for somebody who records them.
extension Controller {
  /// Begins to write a trace, or ends it, as the record asks, and as tracers ask for probes. As long as nobody asks,
  /// this is two loads.
  mutating func lookAtTrace(at now: UInt64) {
    interventions.lookAtProbes()
    if interventions.hasLostRecorder(at: now) {
      // Its recorder was killed. Another trace that has begun meanwhile has another number.
      _ = record.trace.compareExchange(expected: interventions.tracing, desired: 0)
    }
    // Sync point "trace": the file is whole before its number stands in the record.
    let asked = record.trace.loadAcquiring()
    if asked != interventions.tracing { return changeTrace(to: asked) }
    // Again now and then: what a ring said at its beginning may have been written over before anybody read it.
    if asked != 0, interventions.mustNoteHosts(at: now) { noteHosts() }
  }

  /// The trace that hosts are asked to write: a controller that cannot write it, or not yet, must not end it for them.
  var traceForHosts: UInt64 {
    interventions.tracing != 0 ? interventions.tracing : region.controller(identity.peer).trace.loadAcquiring()
  }

  @inline(never)
  private mutating func changeTrace(to number: UInt64) {
    var trace: TraceWriter?
    if number != 0 {
      do throws(BatonError) {
        trace = try TraceWriter(
          of: number, at: region.location, as: .controller(identity, incarnation: incarnation))
      } catch {
        options.logger.warning("controller \(identity): writes no trace: \(error)")
        // It is not asked again: it would only fail again.
        _ = record.trace.compareExchange(expected: number, desired: 0)
      }
    }
    dispose(of: interventions.setTrace(trace))
    for place in HostPlace.all where hosts[place].phase == .attached { hosts.setTrace(traceForHosts, place) }
    noteHosts()
  }

  /// The last one to let go of a trace's file frees all of it, which takes the loop too long.
  private mutating func dispose(of trace: consuming TraceWriter?) {
    guard let (base, count, descriptor) = trace.take()?.release() else { return }
    control.disposal.unmap(base, count)
    control.disposal.close(descriptor)
  }

  /// Says in the trace which hosts have which places.
  private func noteHosts() {
    for place in HostPlace.all where hosts[place].phase == .attached { noteHost(place) }
  }

  /// Takes a step of a function, while somebody watches. Out of line, and with few arguments: its callers are passed
  /// for every change of owner.
  @inline(never)
  func note(_ step: TraceStep, _ function: Function, at time: UInt64 = 0, value: UInt64 = 0) {
    interventions.note(
      step, at: time == 0 ? monotonicNanoseconds() : time, TraceDetail(function: function.index, value: value))
  }

  /// Says in the trace which host has a place.
  func noteHost(_ place: HostPlace) {
    interventions.note(.host, TraceDetail(channel: place.channel(to: .a).number, value: hosts[place].identity))
  }
}

extension TraceDetail {
  /// Of a request that has been accepted.
  init(_ request: UnsafeMutablePointer<AcceptedRequest>) {
    self.init(
      function: request.pointee.function.index, channel: request.pointee.origin.number,
      line: Int(request.pointee.slot), code: request.pointee.operation, sequence: request.pointee.sequence)
  }

  /// Of its answer.
  init(_ request: UnsafeMutablePointer<AcceptedRequest>, status: Status, term: UInt64) {
    self.init(request)
    code = status.rawValue
    value = term
  }

  /// Of a request that is about to be taken from its line; `term`: and answered with success, at once, in that term.
  init(
    _ line: RequestLine, _ state: ChannelState, _ channel: ChannelIndex, _ due: RequestFlag,
    answeredIn term: UInt64? = nil
  ) {
    let copy = line.copy()
    // What the host has written there has not been checked yet.
    let function = Function(unit: copy.unit, isManagement: copy.operation >= Operation.identify.rawValue)
    self.init(
      function: function.index,
      channel: channel.number, line: state.index(of: line).number,
      code: term == nil ? copy.operation : Status.success.rawValue, sequence: due.sequence, value: term ?? 0)
  }
}

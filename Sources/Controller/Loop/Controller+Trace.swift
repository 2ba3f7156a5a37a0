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
    if asked == interventions.tracing { return }
    changeTrace(to: asked)
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
    interventions.setTrace(trace)
    for place in HostPlace.all where hosts[place].phase == .attached {
      hosts.setTrace(interventions.tracing, place)
      noteHost(place)
    }
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

  /// Of a request that is about to be taken from its line; `isAnswered`: with success, at once.
  init(
    _ line: RequestLine, _ state: ChannelState, _ channel: ChannelIndex, _ due: RequestFlag, isAnswered: Bool = false
  ) {
    let copy = line.copy()
    // What the host has written there has not been checked yet.
    let isManagement = copy.operation >= Operation.identify.rawValue
    self.init(
      function: isManagement ? Function.management.index : Function(unit: Int(copy.unit)).index,
      channel: channel.number, line: state.index(of: line).number,
      code: isAnswered ? Status.success.rawValue : copy.operation, sequence: due.sequence)
  }
}

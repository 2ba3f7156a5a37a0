import BatonOwnership
import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// Records a trace: asks the controllers and hosts of a subsystem to write what they do, and reads it. There is at most
/// one of a subsystem.
///
/// When this value goes the trace is over. When its process is killed, the controllers notice that its lock is free.
package struct TraceRecorder: ~Copyable {
  private let region: Region
  private let folder: SubsystemFolder
  private let file: TraceFile
  private var read: [UInt64]
  /// The number of this trace.
  package let number: UInt64

  /// Events that were written over before they were read.
  package private(set) var lost: UInt64 = 0

  /// One writer.
  package struct Writer: Equatable, Sendable {
    /// The kind, and which.
    package let kind: TraceWriter.Kind
    /// Its process.
    package let pid: UInt64

    /// From the parts.
    package init(kind: TraceWriter.Kind, pid: UInt64) {
      self.kind = kind
      self.pid = pid
    }
  }

  /// One step, as it was recorded.
  package struct Event: Sendable, Equatable {
    /// Monotonic nanoseconds.
    package var time: UInt64
    /// The number of the ring whose writer it is.
    package var ring: Int
    /// The step.
    package var step: TraceStep
    /// What it is about.
    package var detail: TraceDetail

    /// From the parts.
    package init(time: UInt64, ring: Int, step: TraceStep, detail: TraceDetail) {
      self.time = time
      self.ring = ring
      self.step = step
      self.detail = detail
    }
  }

  /// Begins a trace with so many rings of so many events each, a power of two.
  ///
  /// - Throws: `.busy` if another one is being recorded; `.missing` if the subsystem does not exist.
  package init(of subsystem: Subsystem, rings: Int, capacity: UInt64) throws(BatonError) {
    let location = subsystem.location
    let region = try Region(opening: location)
    let folder = try SubsystemFolder(opening: location)
    let path = "\(location.directory)/\(SubsystemLocation.traceName)"
    let number = UInt64.random(in: 1...UInt64.max)
    // Of two that begin at the same time the second one finds the first one's file.
    try folder.lock()
    let left = try folder.open(SubsystemLocation.traceName, writable: true)
    if left.number >= 0 {
      guard Self.lock(left) else {
        throw BatonError(
          .busy, "subsystem '\(location.name)'", "is being traced already", fix: "end the other 'baton trace' first")
      }
      // That of a recorder that was killed. It is not cut short: writers may still have it mapped.
      folder.remove(SubsystemLocation.traceName)
    }
    let descriptor = try folder.create(SubsystemLocation.traceName)
    do throws(BatonError) {
      // Of the user that the controllers run as: root records other users' subsystems, too.
      let owner = try FileFacts(of: folder.descriptor, subject: location.directory).owner
      if owner != geteuid(), fchown(descriptor.number, owner, gid_t.max) != 0 {
        throw BatonError(result: -Int(errno), path, doing: "giving it to user \(owner)")
      }
      guard Self.lock(descriptor) else { throw BatonError(result: -Int(errno), path, doing: "locking it") }
      file = try TraceFile(
        making: descriptor, rings: rings, capacity: capacity, number: number,
        generation: region.header.generation, subject: path)
    } catch {
      folder.remove(SubsystemLocation.traceName)
      throw error
    }
    folder.unlock()
    self.number = number
    self.folder = folder
    read = [UInt64](repeating: 0, count: rings)
    // Sync point "trace": the file is whole before a controller finds its number.
    for controller in ControllerIdentity.allCases { region.controller(controller).trace.storeReleasing(number) }
    self.region = region
  }

  /// Locks the file of a trace. A controller that asks whether somebody has it locked holds it for a moment, so it is
  /// tried more than once.
  private static func lock(_ file: borrowing OwnedDescriptor) -> Bool {
    for _ in 0..<20 {
      if flock(file.number, LOCK_EX | LOCK_NB) == 0 { return true }
      if errno != EWOULDBLOCK { return false }
      usleep(1000)
    }
    return false
  }

  deinit {
    for controller in ControllerIdentity.allCases {
      let word = region.controller(controller).trace
      _ = word.compareExchange(expected: number, desired: 0)
    }
    // Unless it is that of a subsystem which was created in this one's place.
    if folder.has(SubsystemLocation.traceName, as: file.descriptor) { folder.remove(SubsystemLocation.traceName) }
  }

  /// The writers so far, by the number of their ring; nil: one that is about to begin.
  package var writers: [Writer?] {
    // As many as were read before, too: this memory is others' to change.
    let claimed = min(file.claimed.loadAcquiring(), UInt64(file.header.ring_count))
    let count = max(Int(claimed), (read.lastIndex { $0 > 0 } ?? -1) + 1)
    return (0..<count).map { number in
      let ring = file.ring(number)
      // Sync point "trace".
      let kind = ring.writer.loadAcquiring()
      let (life, pid) = (ring.life.loadRelaxed(), ring.pid.loadRelaxed())
      return switch kind {
      case UInt64(BATON_TRACE_CONTROLLER_A): Writer(kind: .controller(.a, incarnation: life), pid: pid)
      case UInt64(BATON_TRACE_CONTROLLER_B): Writer(kind: .controller(.b, incarnation: life), pid: pid)
      case UInt64(BATON_TRACE_HOST): Writer(kind: .host(identity: life), pid: pid)
      default: nil
      }
    }
  }

  /// Writers that found no ring.
  package var withoutRing: UInt64 {
    let claimed = file.claimed.loadRelaxed()
    return claimed > UInt64(file.header.ring_count) ? claimed - UInt64(file.header.ring_count) : 0
  }

  /// Whether a controller writes into this trace in its present life.
  package func isWriting(_ controller: ControllerIdentity) -> Bool {
    let life = region.controller(controller).phase.incarnation
    return writers.contains { $0?.kind == .controller(controller, incarnation: life) }
  }

  /// Whether a controller serves.
  package func isServing(_ controller: ControllerIdentity) -> Bool {
    region.controller(controller).phase.phase == .serving && region.isSeatTaken(of: controller)
  }

  /// Hands what has been written since the last call to `body`, ring by ring. What no controller can have written, in
  /// memory that others can write to, is left out.
  package mutating func takeEvents(_ body: (Event) -> Void) {
    let count = min(file.claimed.loadRelaxed(), UInt64(file.header.ring_count))
    for number in 0..<Int(count) { takeEvents(of: number, body) }
  }

  private mutating func takeEvents(of number: Int, _ body: (Event) -> Void) {
    let ring = file.ring(number)
    // Sync point "trace": everything up to this count has been written.
    let written = ring.written.loadAcquiring()
    if written < read[number] { return }
    if written - read[number] > ring.capacity {
      lost += written - read[number] - ring.capacity
      read[number] = written - ring.capacity
    }
    while read[number] < written {
      let position = read[number]
      let time = ring.word(0, at: position).loadRelaxed()
      let word = ring.word(1, at: position).loadRelaxed()
      let request = ring.word(2, at: position).loadRelaxed()
      let value = ring.word(3, at: position).loadRelaxed()
      // Sync point "trace": what was read before is what it was when the count was less than a round ahead. The writer
      // may be in the middle of the event after the counted ones.
      acquireFence()
      let now = ring.written.loadRelaxed()
      if now &- position >= ring.capacity {
        let oldest = now &+ 1 &- ring.capacity
        let next = oldest > position ? min(oldest, written) : written
        lost += next - position
        read[number] = next
        continue
      }
      read[number] += 1
      guard let step = TraceStep(rawValue: UInt8(truncatingIfNeeded: word)) else { continue }
      body(Event(time: time, ring: number, step: step, detail: TraceDetail(word, request, value)))
    }
  }
}

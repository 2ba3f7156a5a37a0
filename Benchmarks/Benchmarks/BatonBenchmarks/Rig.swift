import Baton
import CAllocations
import Glibc

/// Both controllers and one host in one process, turned by one loop: no other process and no waiting disturbs what is
/// counted.
///
/// That loop has a thread of its own, which ends with the rig. Some time after an io_uring has been closed the kernel
/// interrupts the thread that used it (io_ring_exit_work in io_uring/io_uring.c), and the library takes a write
/// that was interrupted half-way, of a result into a pipe, for a broken one.
final class Rig {
  private let subsystem: Subsystem
  private let thread: OwnThread
  private let parts = PartsPlace()

  /// Only the rig's thread touches it.
  private final class PartsPlace { var parts: Parts? }

  /// - Parameters:
  ///   - unit: as `UnitSpecification` has it.
  ///   - hosts: how many hosts are attached; one of them makes the requests.
  init(unit: String, hosts: Int = 1) throws {
    let subsystem = try Subsystem.create("benchmarks-\(getpid())", units: [UnitSpecification(parsing: unit)])
    var options = ControllerOptions()
    options.logger.logLevel = .error
    // A controller that is not turned, because a benchmark needs only its peer, is not to be taken for dead.
    options.deadlineNanoseconds = 3_600_000_000_000
    // A change of owner when it is asked for: how often it happens must not depend on the clock.
    options.residency = .pendingOnly
    self.subsystem = subsystem
    thread = try OwnThread()
    do {
      try thread.perform { [parts] in parts.parts = try Parts(subsystem, options, hosts: hosts) }
    } catch {
      thread.end()
      try subsystem.destroy()
      throw error
    }
  }

  /// The end: a subsystem is destroyed when nobody uses it any more.
  func destroy() throws {
    try thread.perform { [parts] in parts.parts = nil }
    thread.end()
    try subsystem.destroy()
  }

  /// One access for the whole of a piece of work: an access to a field of a class costs more than what is measured.
  func run(_ work: @escaping (inout Parts) throws -> Void) throws {
    try thread.perform { [parts] in
      guard parts.parts != nil else { throw BatonError(.system, "benchmark", "the rig is gone") }
      try work(&parts.parts!)
    }
  }
}

/// What is turned.
struct Parts: ~Copyable {
  private var a: Controller
  private var b: Controller
  /// All that are attached; only the first one asks for anything.
  private let hosts: UnsafeMutablePointer<Host>
  private let hostCount: Int

  init(_ subsystem: Subsystem, _ options: ControllerOptions, hosts hostCount: Int) throws {
    // All of it before any field: half a value that is not copyable cannot be thrown away.
    var a = try Controller(.a, of: subsystem, options: options)
    var b = try Controller(.b, of: subsystem, options: options)
    let hosts = UnsafeMutablePointer<Host>.allocate(capacity: hostCount)
    var attached = 0
    do {
      while attached < hostCount {
        var hostOptions = HostOptions()
        if attached > 0 { hostOptions.arenaSize = 4096 }
        (hosts + attached).initialize(to: try Host(of: subsystem, options: hostOptions))
        attached += 1
        let host = hosts + (attached - 1)
        while !host.pointee.isAttached(to: .a) || !host.pointee.isAttached(to: .b) {
          a.poll()
          b.poll()
          host.pointee.maintain()
        }
      }
    } catch {
      hosts.deinitialize(count: attached)
      hosts.deallocate()
      throw error
    }
    self.a = a
    self.b = b
    self.hosts = hosts
    self.hostCount = hostCount
  }

  deinit {
    hosts.deinitialize(count: hostCount)
    hosts.deallocate()
  }

  /// Has that many requests served by controller a, so many at a time.
  mutating func perform(_ request: Request, count: Int, depth: Int) throws {
    var submitted = 0
    var completed = 0
    while completed < count {
      while submitted < count, submitted - completed < depth, hosts.pointee.submit(request, to: .a) { submitted += 1 }
      a.poll()
      while let completion = hosts.pointee.next() {
        try expectSuccess(completion)
        completed += 1
      }
    }
  }

  /// Has that many requests served one after the other, each by the controller that is not the owner.
  mutating func alternate(_ request: Request, count: Int) throws {
    var controller = ControllerIdentity.b
    for _ in 0..<count {
      guard hosts.pointee.submit(request, to: controller) else { throw BatonError(.system, "benchmark", "no room") }
      var answer: Completion?
      while answer == nil {
        a.poll()
        b.poll()
        answer = hosts.pointee.next()
      }
      if let answer {
        try expectSuccess(answer)
        guard answer.service.controller == controller else {
          throw BatonError(.system, "benchmark", "the request was not served where it was sent")
        }
      }
      controller = controller.peer
    }
  }

  /// Turns the loops with nothing to do.
  mutating func idle(turns: Int) {
    for _ in 0..<turns {
      a.poll()
      _ = hosts.pointee.next()
    }
  }

  private func expectSuccess(_ completion: Completion) throws(BatonError) {
    if completion.status != .success { throw BatonError(.system, "benchmark", "answered: \(completion.status)") }
  }
}

/// What is counted around a piece of work.
struct Counts {
  /// Calls of the allocator.
  var allocations = 0
  /// Times that this thread gave up the CPU because it had to wait. What the scheduler takes from it is not counted:
  /// that depends on what else the machine does.
  var voluntarySwitches = 0

  /// RUSAGE_THREAD (getrusage(2)), which the C library shows only to programs that ask for all of it.
  private static let thisThread: CInt = 1

  /// As they stand now. Does not allocate.
  static var now: Counts {
    var usage = rusage()
    let result = getrusage(thisThread, &usage)
    precondition(result == 0, "getrusage cannot fail with these arguments (getrusage(2))")
    return Counts(allocations: Int(baton_allocations()), voluntarySwitches: usage.ru_nvcsw)
  }

  static func - (after: Counts, before: Counts) -> Counts {
    Counts(
      allocations: after.allocations - before.allocations,
      voluntarySwitches: after.voluntarySwitches - before.voluntarySwitches)
  }
}

import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSubsystem
import CBatonShims
import CLiburing
import Glibc

/// A process whose purpose is to be killed: the floor of a controller's death. It holds a life lock and an idle
/// io_uring, or keeps reads or writes of a file in flight and holds a lock on its open file description, as a
/// controller does, and nothing else.
struct BareProcessCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bench-bare", shouldDisplay: false)

  /// The descriptor that a byte is written to when all is under way, inherited.
  static let readyDescriptor: CInt = 3
  /// The byte that it locks, beyond every byte that can be data.
  static let lockOffset: Int64 = 1 << 61
  /// Transfers that have ended before it counts as under way: the device has been reached, and the pages touched.
  private static let warmUpTransfers = 256

  @OptionGroup var parent: ParentOptions
  @Argument var work: KilledWork
  @Option var file: String?
  /// Where its life lock lies: a file of one page.
  @Option var life: String

  func run() throws {
    try parent.follow()
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    // Mapped until the end, which comes from outside.
    try SharedPage(life).kept().begin()
    try check(io_uring_queue_init(UInt32(KilledWork.depth), ring, 0), "bare process", doing: "setting up a ring")
    if let file, work != .none { try keepInFlight(file, ring) }
    Self.sayReady()
    while true { pause() }
  }

  private static func sayReady() {
    var byte: UInt8 = 1
    _ = write(readyDescriptor, &byte, 1)
  }

  /// Never returns but by an error.
  private func keepInFlight(_ path: String, _ ring: UnsafeMutablePointer<io_uring>) throws(BatonError) {
    let file = OwnedDescriptor(try check(baton_open(path, true, true, false), path, doing: "opening it directly"))
    try check(baton_ofd_try_lock(file.number, Self.lockOffset), path, doing: "locking it")
    let size = try FileFacts(of: file, subject: path).size
    let count = KilledWork.transferSize
    let buffers = UnsafeMutableRawPointer.allocate(byteCount: KilledWork.depth * count, alignment: count)
    memset(buffers, 0, KilledWork.depth * count)
    var random = SplitMix64(seed: UInt64(getpid()))
    func begin(_ entry: Int) {
      guard let sqe = io_uring_get_sqe(ring) else { return }
      let offset = KilledWork.offset(of: entry, size: size, &random)
      if work == .reads {
        io_uring_prep_read(sqe, file.number, buffers + entry * count, UInt32(count), offset)
      } else {
        io_uring_prep_write(sqe, file.number, buffers + entry * count, UInt32(count), offset)
      }
      baton_sqe_set_token(sqe, UInt64(entry))
    }
    for entry in 0..<KilledWork.depth { begin(entry) }
    var ended = 0
    while true {
      try check(io_uring_submit_and_wait(ring, 1), path, doing: "submitting")
      while let cqe = baton_ring_peek(ring) {
        try check(cqe.pointee.res, path, doing: "a transfer")
        let entry = Int(io_uring_cqe_get_data64(cqe))
        io_uring_cq_advance(ring, 1)
        begin(entry)
        ended += 1
        if ended == Self.warmUpTransfers { Self.sayReady() }
      }
    }
  }
}

/// A page that two processes share, with a life lock at its beginning.
struct SharedPage: ~Copyable {
  private let mapping: Mapping

  /// The file at `path`, which is created if it does not exist.
  init(_ path: String) throws(BatonError) {
    let file = OwnedDescriptor(
      try check(baton_open(path, true, false, FileFacts(path: path) == nil), path, doing: "opening it"))
    try file.setSize(4096, subject: path)
    mapping = try Mapping(of: file, count: 4096, subject: path)
  }

  var life: LifeLock { LifeLock(base: mapping.base) }

  /// The lock, in pages that stay mapped for as long as the process lives.
  consuming func kept() -> LifeLock { LifeLock(base: mapping.release()) }
}

/// The work that a process has in flight when it is killed.
enum KilledWork: String, ExpressibleByArgument {
  case none, reads, writes

  /// Transfers in flight, where there are any.
  static let depth = 32
  /// Bytes of each.
  static let transferSize = 4096

  /// Where the next transfer of that number goes: each number has a stretch of its own, so no two of them overlap.
  static func offset(of entry: Int, size: UInt64, _ random: inout SplitMix64) -> UInt64 {
    let stretch = size / UInt64(depth) / UInt64(transferSize)
    return (UInt64(entry) * stretch + random.below(stretch)) * UInt64(transferSize)
  }
}

/// A bare process, from the outside.
struct BareProcess: ~Copyable {
  private let process: ChildProcess
  private let handle: OwnedDescriptor
  private let work: KilledWork
  private let file: OwnedDescriptor
  private let path: String
  private let page: SharedPage

  /// The longest sleep in waiting for a death.
  private static let sleepNanoseconds: Int64 = 100_000_000
  /// Milliseconds until it must have said that it is under way.
  private static let patienceMilliseconds: CInt = 20_000

  /// Starts one on the file at `path`, and waits until it is under way.
  init(_ work: KilledWork, path: String) throws(BatonError) {
    var ends: (CInt, CInt) = (-1, -1)
    let made = withUnsafeMutableBytes(of: &ends) { pipe($0.assumingMemoryBound(to: CInt.self).baseAddress!) }
    try check(made == 0 ? 0 : -errno, "bare process", doing: "pipe")
    let reading = OwnedDescriptor(ends.0)
    let writing = OwnedDescriptor(ends.1)
    // Not inherited in addition to the one that is handed: the end of the pipe reports a process that could not begin.
    _ = fcntl(reading.number, F_SETFD, FD_CLOEXEC)
    _ = fcntl(writing.number, F_SETFD, FD_CLOEXEC)
    let file = OwnedDescriptor(try check(baton_open(path, true, false, false), path, doing: "opening it"))
    let lifePath = "\(path).life"
    let page = try SharedPage(lifePath)
    page.life.clear()
    let process = try BatonProgram.running.start(
      "bench-bare", [work.rawValue, "--file", path, "--life", lifePath],
      handing: (writing.number, BareProcessCommand.readyDescriptor))
    _ = consume writing
    let handle = try process.handle()
    var waited = pollfd(fd: reading.number, events: Int16(POLLIN), revents: 0)
    var byte: UInt8 = 0
    guard poll(&waited, 1, Self.patienceMilliseconds) == 1, read(reading.number, &byte, 1) == 1 else {
      throw BatonError(.system, "bare process", "has not begun its work")
    }
    self.process = process
    self.handle = handle
    self.work = work
    self.file = file
    self.path = path
    self.page = page
  }

  /// Kills it. Microseconds until its death is seen by its life lock, until its exit is seen by pidfd, and, with work,
  /// until the kernel has let go of the last transfer: then nobody holds its lock any more.
  borrowing func killed() throws(BatonError) -> (death: Double, exit: Double, drain: Double) {
    // Asleep, as a survivor with nothing to do is, and as the host is that waits for the survivor's answer: on a
    // machine with few cores a process that looks all the time keeps the dying and the woken off them.
    let expected = page.life.announceWaiter()
    let lookout = Lookout("a bare process's death")
    process.send(SIGKILL)
    while !page.life.isMarkedDead {
      if let expected { page.life.word.wait(while: expected, nanoseconds: Self.sleepNanoseconds) }
      try lookout.check()
    }
    let death = lookout.microseconds
    while !Lookout.hasEnded(handle) { try lookout.pause() }
    let exit = lookout.microseconds
    guard work != .none else { return (death, exit, exit) }
    while true {
      let locked = baton_ofd_is_locked_by_other(file.number, BareProcessCommand.lockOffset, 1)
      if try check(locked, path, doing: "looking at its lock") == 0 { break }
      try lookout.pause()
    }
    return (death, exit, lookout.microseconds)
  }
}

/// Looks for something that comes within microseconds or within milliseconds, on a machine with few cores: others run
/// between two looks.
struct Lookout {
  private let what: String
  private let start = monotonicNanoseconds()

  /// How long it looks without sleeping: a death without work is over by then, and a sleep would be most of it.
  private static let wakefulNanoseconds: UInt64 = 3_000_000
  /// Microseconds of a sleep: little compared with the milliseconds that it has looked by then.
  private static let sleepMicroseconds: useconds_t = 20
  /// What has not come by then does not come.
  private static let patienceNanoseconds: UInt64 = 20_000_000_000

  /// The time runs from here.
  init(_ what: String) { self.what = what }

  /// Since the beginning.
  var microseconds: Double { Double(monotonicNanoseconds() - start) / 1e3 }

  /// Fails when it should have come.
  func check() throws(BatonError) {
    let waited = monotonicNanoseconds() - start
    if waited > Self.patienceNanoseconds { throw BatonError(.system, what, "was not seen in time") }
  }

  /// Between two looks that found nothing.
  func pause() throws(BatonError) {
    try check()
    let waited = monotonicNanoseconds() - start
    if waited < Self.wakefulNanoseconds { sched_yield() } else { usleep(Self.sleepMicroseconds) }
  }

  /// Whether the process behind a pidfd is gone. One system call.
  static func hasEnded(_ handle: borrowing OwnedDescriptor) -> Bool { hasEnded(handle.number) }

  /// The same for a caller that has only its number.
  static func hasEnded(_ handle: CInt) -> Bool {
    var looked = pollfd(fd: handle, events: Int16(POLLIN), revents: 0)
    return poll(&looked, 1, 0) == 1
  }
}

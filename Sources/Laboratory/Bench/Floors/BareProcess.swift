import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims
import Glibc

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
    let file = OwnedDescriptor(try check(shim_open(path, true, false, false), path, doing: "opening it"))
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
      let locked = shim_ofd_is_locked_by_other(file.number, BareProcessCommand.lockOffset, 1)
      if try check(locked, path, doing: "looking at its lock") == 0 { break }
      try lookout.pause()
    }
    return (death, exit, lookout.microseconds)
  }
}

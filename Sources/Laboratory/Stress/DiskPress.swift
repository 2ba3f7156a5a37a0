import ArgumentParser
import Baton
import BatonCommandKit
import BatonRing
import BatonStorage
import BatonSystem
import CBatonShims
import CLiburing
import Glibc

/// Keeps a disk busy, so that I/O of the idle class (ionice(1)) waits: what a controller of that class had in flight
/// when it died lands as late as this goes on. Needs an I/O scheduler that knows classes, mq-deadline or bfq; without
/// one everything is slow alike.
///
/// A child process that is stopped while nothing is to be pressed. A class, because driver and options share it.
final class DiskPress {
  private let process: ChildProcess

  /// What makes a program's I/O wait behind everybody else's. Of util-linux, which every Debian has.
  static let lateWrapper = ["ionice", "-c", "3"]

  /// Writes to that file.
  init(file: String, log: String) throws(BatonError) {
    var process = try BatonProgram.running.start("press", [file], log: log)
    // Ready when it stops itself.
    if case .ended = try process.awaitChange() {
      throw BatonError(.system, "writing to \(file)", LogFile.lastLine(of: log))
    }
    self.process = process
  }

  /// On or off.
  func set(_ isOn: Bool) { process.send(isOn ? SIGCONT : SIGSTOP) }
}

/// The process of a `DiskPress`: large direct writes, many at once, for ever.
struct PressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "press", shouldDisplay: false)

  @OptionGroup var parent: ParentOptions
  @Argument var file: String

  /// As much as keeps the queue of a fast disk full.
  private static let depth = 64
  private static let writeSize = 1 << 20

  func run() throws {
    try parent.follow()
    // Where the file system has no O_DIRECT, the page cache takes it: then nothing is late.
    var number = shim_open(file, true, true, true)
    if number < 0 { number = shim_open(file, true, false, true) }
    let descriptor = OwnedDescriptor(try check(number, file, doing: "opening it"))
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.writeSize, alignment: 4096)
    defer { buffer.deallocate() }
    memset(buffer, 0x5a, Self.writeSize)
    // Once over, so that no block is a new one later.
    for index in 0..<Self.depth {
      guard pwrite(descriptor.number, buffer, Self.writeSize, off_t(index * Self.writeSize)) == Self.writeSize else {
        throw BatonError(result: -Int(errno), file, doing: "writing it")
      }
    }
    raise(SIGSTOP)
    let ring = try Ring()
    func write(_ index: UInt64) {
      // It comes round again with the next completion where the ring takes none.
      _ = ring.prepare(.storage, UInt32(index)) {
        io_uring_prep_write($0, descriptor.number, buffer, UInt32(Self.writeSize), index * UInt64(Self.writeSize))
      }
    }
    for index in 0..<UInt64(Self.depth) { write(index) }
    while true {
      ring.wait(nanoseconds: nil)
      while let done = ring.next() { write(UInt64(done.token.index)) }
      _ = ring.submit()
    }
  }
}

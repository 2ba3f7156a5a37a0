import ArgumentParser
import Baton
import BatonCommandKit
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
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
    let file = OwnedDescriptor(try check(shim_open(path, true, true, false), path, doing: "opening it directly"))
    try check(shim_ofd_try_lock(file.number, Self.lockOffset), path, doing: "locking it")
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
      shim_sqe_set_token(sqe, UInt64(entry))
    }
    for entry in 0..<KilledWork.depth { begin(entry) }
    var ended = 0
    while true {
      try check(io_uring_submit_and_wait(ring, 1), path, doing: "submitting")
      while let cqe = shim_ring_peek(ring) {
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
      try check(shim_open(path, true, false, FileFacts(path: path) == nil), path, doing: "opening it"))
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

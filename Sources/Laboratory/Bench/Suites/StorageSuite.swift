import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims
import Glibc

extension Bench {
  /// 4 KiB random reads and writes on a file, through the dispatcher, on a disk's file system and on tmpfs, at depth 1
  /// and 32; compared with fio's io_uring engine and a bare io_uring loop of ours on the same file.
  mutating func storage() throws {
    try storage(in: directory)
    // What lies in memory shows what the dispatcher costs, where a disk hides it.
    let memory = "/dev/shm"
    if let room = FileSystem(of: memory), room.name == "tmpfs", room.freeBytes > 2 * fileSize {
      try storage(in: memory)
    } else {
      report.remarks.append("storage: no tmpfs with \(ByteCount.describe(2 * fileSize)) free at \(memory)")
    }
  }

  /// Large enough that a disk's cache does not hold all of it, small enough to be written in seconds.
  private var fileSize: UInt64 { isQuick ? 256 << 20 : 1 << 30 }

  private struct Transfer {
    let reading: Bool
    let depth: Int
    var pattern: AccessPattern { reading ? .randread : .randwrite }
    var name: String { "4 KiB random \(reading ? "reads" : "writes"), depth \(depth)" }
    static let all = [true, false].flatMap { reading in [1, 32].map { Transfer(reading: reading, depth: $0) } }
  }

  /// The program that carries out a transfer.
  private enum Way: Int, CaseIterable {
    case bare, baton, fio
  }

  private mutating func storage(in directory: String) throws {
    let scratch = try ScratchDirectory(in: directory, name: "bench")
    let fileSystem = FileSystem(of: scratch.path)?.name ?? "unknown file system"
    let (path, log, size) = ("\(scratch.path)/file", "\(scratch.path)/log", fileSize)
    progress.begin("storage: writing a file of \(ByteCount.describe(size)) on \(fileSystem)")
    try NoiseFile.make(at: path, count: size, seed: 1)
    try Self.withSubsystem("storage", [UnitSpecification(.path(path))], scratch: scratch.path) { subsystem in
      let isDirect = try subsystem.status().units[0].isDirect
      let place = "\(fileSystem), \(isDirect ? "O_DIRECT" : "page cache")"
      for transfer in Transfer.all { try storage(transfer, on: subsystem, path, size, isDirect, place, log: log) }
    }
  }

  /// One process for fio and for the bare loop; for Baton a host in this process and a controller of its own, both with
  /// the default wait strategy, which spins a little and then sleeps. All time each transfer but the bare loop.
  ///
  /// Each process is pinned to a CPU, and all that submit requests to the same one: a scheduler that has put host and
  /// controller on one CPU leaves them there for long, and then it is that which is measured.
  private mutating func storage(
    _ transfer: Transfer, on subsystem: Subsystem, _ path: String, _ size: UInt64, _ isDirect: Bool, _ place: String,
    log: String
  ) throws {
    let roundSeconds = isQuick ? 0.2 : 1.0
    let rounds = isQuick ? Interleaved.roundsMin : min(rounds, 9)
    var controller = try Self.pinned(to: cpus.there) {
      try ControllerProcess(.a, of: subsystem, by: .shipped(), log: log)
    }
    try controller.waitUntilServing(subsystem, log: log)
    let file = OwnedDescriptor(
      try check(shim_open(path, true, isDirect, false), path, doing: "opening it"))
    var uring = try BareUring()
    let ways = Fio.version == nil ? [.bare, .baton] : Way.allCases
    let step = "storage: \(transfer.name), \(place)"
    let measured = try pinned {
      try interleaved(step, things: ways.count, control: Way.bare.rawValue, rounds: rounds) { thing, round in
        switch ways[thing] {
        case .bare:
          return try uring.rate(
            file, path: path, size: size, reading: transfer.reading, depth: transfer.depth, seconds: roundSeconds,
            seed: UInt64(round + 1))
        case .baton:
          return try Self.rate(transfer, of: subsystem, path, size, seconds: roundSeconds, seed: UInt64(round + 1))
        case .fio:
          return try Fio.rate(
            file: path, rw: transfer.pattern, blockSize: 4096, depth: transfer.depth, size: size, direct: isDirect,
            seconds: roundSeconds)
        }
      }
    }
    try controller.stop()
    let bare = "bare io_uring loop"
    let fio = "fio io_uring"
    let hasFio = Fio.version != nil
    report.append(
      measured.row(
        .storage, "\(transfer.name), \(place)", metric: "rate", unit: "requests/s", ours: Way.baton.rawValue,
        floor: hasFio ? (fio, Way.fio.rawValue) : (bare, Way.bare.rawValue),
        peers: hasFio
          ? [.thing(bare, Way.bare.rawValue)] : [.notRun(fio, because: "fio is not installed: apt-get install fio")],
        goal: hasFio ? .ratio(1) : nil, better: .more, waiting: .adaptive))
    report.append(
      measured.controlRow(
        .storage, of: "\(bare), \(transfer.name), \(place)", metric: "rate", unit: "requests/s", better: .more,
        waiting: .adaptive))
  }

  private static func rate(
    _ transfer: Transfer, of subsystem: Subsystem, _ path: String, _ size: UInt64, seconds: Double, seed: UInt64
  ) throws -> Double {
    var plan = WorkloadPlan()
    plan.pattern = transfer.pattern
    plan.depth = transfer.depth
    plan.nanoseconds = UInt64(seconds * 1e9)
    plan.path = .a
    plan.targets = [WorkloadTarget(unit: 0, size: size)]
    plan.seed = seed
    var workload = try Workload(plan, of: subsystem)
    let result = try workload.run()
    if let failure = result.failure {
      throw BatonError(failure.code, path, "\(failure.subject) \(failure.problem)", fix: failure.fix)
    }
    return Double(result.requests) / (Double(result.nanoseconds) / 1e9)
  }
}

/// The file system of a folder.
struct FileSystem {
  /// `ext4`, `tmpfs`.
  let name: String
  let freeBytes: UInt64

  /// Nil where it cannot be found out.
  init?(of path: String) {
    var facts = statvfs()
    guard statvfs(path, &facts) == 0, let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    freeBytes = UInt64(facts.f_bavail) * UInt64(facts.f_frsize)
    let folder = String(cString: resolved)
    var longest = -1
    var name = "unknown file system"
    // Device, folder, type, and more (proc(5)); a later line of the same folder covers an earlier one.
    for line in ProcessFigures.lines(of: "/proc/self/mounts") {
      let words = line.split(separator: " ")
      guard words.count > 2, words[1].utf8.count >= longest else { continue }
      if folder == words[1] || words[1] == "/" || folder.hasPrefix("\(words[1])/") {
        longest = words[1].utf8.count
        name = String(words[2])
      }
    }
    self.name = name
  }
}

import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims
import Glibc

extension Bench {
  /// A unit as a disk over NBD, on a disk's file system and on tmpfs: fio's nbd engine at a controller, and at each of
  /// the other servers, on the same file. The floor is what fio gets out of that file by itself, with io_uring: where a
  /// disk is the bottleneck, no server is faster.
  mutating func nbd() throws {
    if let reason = Fio.reasonWithoutNBD {
      report.remarks.append("nbd: was not run: \(reason)")
      return
    }
    try nbd(in: directory)
    // What lies in memory shows what the server costs, where a disk hides it.
    let memory = "/dev/shm"
    if let room = FileSystem(of: memory), room.name == "tmpfs", room.freeBytes > 2 * Self.nbdFileSize {
      try nbd(in: memory)
    } else {
      report.remarks.append("nbd: no tmpfs with \(ByteCount.describe(2 * Self.nbdFileSize)) free at \(memory)")
    }
  }

  /// Written again for each folder. A quarter of a GiB is 65,536 places for 4 KiB.
  private static var nbdFileSize: UInt64 { 256 << 20 }

  /// Which CPUs client and servers run on. Left to itself a scheduler puts them on one or on two, and then it is that
  /// which is measured.
  private enum Placement: CaseIterable {
    /// fio has a CPU of its own, and the servers share the others.
    case apart
    /// All of them on one: nobody waits for a CPU that sleeps to wake up. The quickest way where only one of them has
    /// something to do at a time, and what two programs on a busy machine get.
    case together
  }

  private struct Transfer {
    let pattern: AccessPattern
    let blockSize: Int
    let depth: Int
    var placement = Placement.apart

    var name: String {
      let what = pattern == .read || pattern == .randread ? "reads" : "writes"
      let how = "\(blockSize >> 10) KiB \(pattern.isRandom ? "random" : "sequential") \(what), depth \(depth)"
      return placement == .together ? "\(how), one CPU" : how
    }

    /// The goal compared with each of the other servers is at most this ratio: 1.5 times the best server's requests per
    /// second where many are outstanding, 1.1 times where one is.
    var goal: Double? {
      switch depth {
      case 1: 1 / 1.1
      case 32: 1 / 1.5
      default: nil
      }
    }

    /// Whether waiting weighs so much that the gain and cost of parking are reported too.
    var dependsOnWaiting: Bool { depth < 32 && placement == .apart }

    static func all(_ placement: Placement) -> [Transfer] {
      let short = [AccessPattern.randread, .randwrite]
      return switch placement {
      case .apart:
        short.flatMap { pattern in [1, 4, 32].map { Transfer(pattern: pattern, blockSize: 4096, depth: $0) } }
          + [.read, .write].map { Transfer(pattern: $0, blockSize: 128 << 10, depth: 32) }
      case .together:
        short.map { Transfer(pattern: $0, blockSize: 4096, depth: 1, placement: .together) }
      }
    }

    /// Of the short form.
    static let few = [1, 32].map { Transfer(pattern: .randread, blockSize: 4096, depth: $0) }
  }

  private mutating func nbd(in directory: String) throws {
    let scratch = try ScratchDirectory(in: directory, name: "nbd")
    let fileSystem = FileSystem(of: scratch.path)?.name ?? "unknown file system"
    let (path, log) = ("\(scratch.path)/file", "\(scratch.path)/log")
    progress.begin("nbd: writing a file of \(ByteCount.describe(Self.nbdFileSize)) on \(fileSystem)")
    try NoiseFile.make(at: path, count: Self.nbdFileSize, seed: 1)
    try Self.withSubsystem("nbd", [UnitSpecification(.path(path))], scratch: scratch.path) { subsystem in
      let isDirect = try subsystem.status().units[0].isDirect
      let place = "\(fileSystem), \(isDirect ? "O_DIRECT" : "page cache")"
      // In the short form there is time for one placement, and where there is one CPU there is but one.
      for placement in isQuick || isCrowded ? [.apart] : Placement.allCases {
        try nbd(placement, on: subsystem, path, isDirect, place, log: log)
      }
    }
  }

  /// All servers run all the time, and those that are not asked sleep.
  private mutating func nbd(
    _ placement: Placement, on subsystem: Subsystem, _ path: String, _ isDirect: Bool, _ place: String, log: String
  ) throws {
    progress.begin("nbd: starting the servers on \(place)")
    // In a folder of their own: the path of a socket must be short, and not every server removes its own.
    let sockets = try ScratchDirectory(in: ScratchDirectory.parent, name: "nbd-sockets")
    let address = try NBDAddress(parsing: "unix:\(sockets.path)/baton")
    // The other controller serves the same unit, and waits in another way.
    let parking = try NBDAddress(parsing: "unix:\(sockets.path)/parking")
    var servers = NBDRivals(isDirect: isDirect, onDisk: !place.hasPrefix("tmpfs"))
    var controllers = try placed(placement) {
      try ControllerPair(of: subsystem, by: .shipped(), log: log) {
        $0 == .a ? ["--nbd", "\(address)"] : ["--nbd", "\(parking)", "--wait", "park"]
      }
    }
    try placed(placement) {
      try servers.start(on: path, of: Self.nbdFileSize, sockets: sockets.path, log: log)
    }
    for own in [address, parking] { try NBDRivals.waitUntilAnswered(own, log: log) }
    let own = ControllerIdentity.allCases.map { ProcessFigures(of: controllers.pid(of: $0)) }
    for transfer in isQuick ? Transfer.few : Transfer.all(placement) {
      try nbd(transfer, at: address, parking, own, &servers, path, isDirect, place)
    }
    try controllers.stop()
  }

  private mutating func nbd(
    _ transfer: Transfer, at address: NBDAddress, _ parking: NBDAddress, _ own: [ProcessFigures],
    _ servers: inout NBDRivals, _ path: String, _ isDirect: Bool, _ place: String
  ) throws {
    let seconds = isQuick ? 0.1 : 0.5
    let rounds = isQuick ? Interleaved.roundsMin : min(rounds, 7)
    let running = servers.running
    let addresses = transfer.dependsOnWaiting && !isQuick ? [address, parking] : [address]
    // In the short form there is time for one in each place.
    let control = isQuick && transfer.depth == 1 ? nil : 0
    func measure(_ address: NBDAddress, _ processes: [ProcessFigures], _ round: Int) throws -> [Double] {
      func processorTime() throws -> UInt64 { try processes.reduce(0) { $0 + (try $1.processorNanoseconds()) } }
      let before = try processorTime()
      let figures = try Fio.nbd(
        address.uri(export: NBDRivals.export), rw: transfer.pattern, blockSize: transfer.blockSize,
        depth: transfer.depth, size: Self.nbdFileSize, seconds: seconds, seed: round + 1)
      return [figures.rate, Double(try processorTime() - before) / 1000 / figures.requests]
    }
    let name = "\(transfer.name), \(place)"
    let measured = try pinned {
      try interleaved("nbd: \(name)", trials: addresses.count + 1 + running.count, control: control, rounds: rounds) {
        trial, round in
        switch trial - addresses.count {
        case ..<0: return try measure(addresses[trial], own, round)
        case 0:
          return [
            try Fio.rate(
              file: path, rw: transfer.pattern, blockSize: transfer.blockSize, depth: transfer.depth,
              size: Self.nbdFileSize, direct: isDirect, seconds: seconds)
          ]
        case let other: return servers.measure(running[other - 1], path) { try measure($0, [$1], round) }
        }
      }
    }
    // Two figures of Baton at each address, one of the file, two of each of the others.
    let floor = 2 * addresses.count
    func rivals(_ value: Int, goal: Double?) -> [Interleaved.Rival] {
      servers.rivals(of: running, goal: goal) { floor + 1 + 2 * $0 + value }
    }
    for (index, (waiting, how)) in zip(addresses.indices, [(BenchReport.Waiting.adaptive, ""), (.parking, ", parked")])
    {
      report.append(
        measured.row(
          .nbd, name + how, metric: "rate", unit: "requests/s", ours: 2 * index,
          floor: ("the file without a server", floor), peers: rivals(0, goal: transfer.goal), better: .more,
          waiting: waiting))
      report.append(
        measured.row(
          .nbd, "CPU of the server: \(name)\(how)", metric: "CPU a request", unit: "us", ours: 2 * index + 1,
          peers: rivals(1, goal: 1), waiting: waiting))
    }
    report.append(
      measured.controlRow(
        .nbd, of: "Baton, \(name)", metric: "rate", unit: "requests/s", better: .more, waiting: .adaptive))
  }

  /// With this process, and all that it starts meanwhile, where the servers run.
  private func placed<Outcome: ~Copyable>(_ placement: Placement, _ body: () throws -> Outcome) throws -> Outcome {
    if placement == .together || isCrowded { return try pinned(body) }
    try check(shim_pin_beside_cpu(CInt(cpus.here)), "CPU \(cpus.here)", doing: "keeping this process from it")
    defer { _ = shim_unpin() }
    return try body()
  }
}

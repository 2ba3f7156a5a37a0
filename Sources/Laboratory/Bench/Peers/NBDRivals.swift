import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// Other NBD servers, each on the same file and at a unix socket of its own. One that is not installed, or fails,
/// was not run, and its reason is reported.
struct NBDRivals {
  enum Kind: String, CaseIterable {
    case nbdkit
    case storageDaemon = "qemu-storage-daemon"
    case qemuNBD = "qemu-nbd"
    /// `NothingServerCommand`: how fast a server can be for this client. It has no goal.
    case nothing = "bench-nothing"

    /// Debian's; of what is installed with the bench itself, none.
    var package: String? {
      switch self {
      case .nothing: nil
      case .nbdkit: "nbdkit"
      case .storageDaemon: "qemu-system-common"
      case .qemuNBD: "qemu-utils"
      }
    }
  }

  /// The name of the export. nbdkit serves its file under any.
  static let export = "unit0"
  /// How long a server may take until it answers.
  private static let patienceMilliseconds = 20_000

  private let isDirect: Bool
  private let isOnDisk: Bool
  private var servers: [Kind: Server] = [:]
  private var reasons: [Kind: String] = [:]

  /// None of them runs yet. With `isDirect` the file can be had past the page cache.
  init(isDirect: Bool, onDisk isOnDisk: Bool) {
    self.isDirect = isDirect
    self.isOnDisk = isOnDisk
  }

  /// Its name and how it accesses the file.
  private func name(_ kind: Kind) -> String {
    switch kind {
    // It knows no O_DIRECT. On a disk it is told to keep nothing in the page cache, which is as near as it comes.
    case .nbdkit: isOnDisk ? "nbdkit file, cache=none" : "nbdkit file"
    case .storageDaemon: "qemu-storage-daemon, io_uring, \(isDirect ? "direct" : "page cache")"
    case .qemuNBD: "qemu-nbd, io_uring, \(isDirect ? "direct" : "page cache")"
    case .nothing: "a server that does nothing"
    }
  }

  /// The program and its words. `locking=off`: two of QEMU's would keep each other from the file.
  private func words(_ kind: Kind, _ path: String, of size: UInt64, socket: String) -> [String] {
    // In QEMU's lists a comma is written twice.
    let name = path.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    let socketName = socket.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    switch kind {
    case .nbdkit:
      return [kind.rawValue, "-f", "-U", socket, "file", "file=\(path)"] + (isOnDisk ? ["cache=none"] : [])
    case .storageDaemon:
      return [
        kind.rawValue, "--blockdev",
        "driver=file,node-name=disk,filename=\(name),locking=off,aio=io_uring,cache.direct=\(isDirect ? "on" : "off")",
        "--nbd-server", "addr.type=unix,addr.path=\(socketName)",
        "--export", "type=nbd,id=export,node-name=disk,name=\(Self.export),writable=on",
      ]
    case .qemuNBD:
      return [
        kind.rawValue, "--persistent", "--shared=0", "--socket=\(socket)", "--export-name=\(Self.export)",
        "--aio=io_uring",
        "--cache=\(isDirect ? "none" : "writeback")", "--image-opts",
        "driver=raw,file.driver=file,file.filename=\(name),file.locking=off",
      ]
    case .nothing: return ["/proc/self/exe", kind.rawValue, socket, "\(size)"]
    }
  }

  /// Starts all of them, and waits until they answer.
  mutating func start(on path: String, of size: UInt64, sockets: String, log: String) throws(BatonError) {
    // What was written to make the file is in nobody's way, and nobody's help.
    if isOnDisk { try Self.empty(path) }
    for kind in Kind.allCases {
      if let package = kind.package, InstalledProgram.path(of: kind.rawValue) == nil {
        reasons[kind] = "\(kind.rawValue) is not installed: apt-get install \(package)"
        continue
      }
      do throws(BatonError) {
        servers[kind] = try server(
          kind, path, of: size, socket: "\(sockets)/\(kind.rawValue)", log: "\(log)-\(kind.rawValue)")
      } catch {
        reasons[kind] = error.problem
      }
    }
  }

  private func server(
    _ kind: Kind, _ path: String, of size: UInt64, socket: String, log: String
  ) throws(BatonError) -> Server {
    let address = try NBDAddress(parsing: "unix:\(socket)")
    let server = try Server(words(kind, path, of: size, socket: socket), at: address, log: log)
    try Self.waitUntilAnswered(address, log: log) { server.hasEnded }
    return server
  }

  /// Waits until somebody answers there; not when `hasEnded` says that it will never be.
  static func waitUntilAnswered(
    _ address: NBDAddress, log: String, unless hasEnded: () -> Bool = { false }
  ) throws(BatonError) {
    for _ in 0..<patienceMilliseconds {
      if address.isAnswered { return }
      if hasEnded() {
        throw BatonError(.system, "\(address)", "its server has ended: \(LogFile.lastLine(of: log))")
      }
      usleep(1000)
    }
    throw BatonError(.system, "\(address)", "nobody answers there: \(LogFile.lastLine(of: log))")
  }

  /// Those that run, in the order in which they are reported.
  var running: [Kind] { Kind.allCases.filter { servers[$0] != nil } }

  /// Measures one for a round: two figures. One that has failed gives none, and is named as not run in the end.
  mutating func measure(
    _ kind: Kind, _ path: String, _ body: (NBDAddress, ProcessFigures) throws -> [Double]
  ) -> [Double] {
    guard let server = servers[kind] else { return [.nan, .nan] }
    do {
      let figures = try body(server.address, ProcessFigures(of: server.pid))
      if kind == .nbdkit, isOnDisk { try Self.empty(path) }
      return figures
    } catch {
      servers[kind] = nil
      reasons[kind] = (error as? BatonError)?.problem ?? "\(error)"
      return [.nan, .nan]
    }
  }

  /// Writes what the page cache holds of a file and drops it: the next server would pay for it.
  private static func empty(_ path: String) throws(BatonError) {
    let file = OwnedDescriptor(try check(open(path, O_RDWR | O_CLOEXEC), path, doing: "opening it"))
    if fdatasync(file.number) != 0 { throw BatonError(result: -Int(errno), path, doing: "writing it back") }
    let result = posix_fadvise(file.number, 0, 0, POSIX_FADV_DONTNEED)
    if result != 0 { throw BatonError(result: -Int(result), path, doing: "dropping it from the page cache") }
  }

  /// All of them for a row, run or not. `figure` is the number of one's figure by its place among those measured. The
  /// goal for each, except the server that does nothing, is a ratio of at most `goal`.
  func rivals(of measured: [Kind], goal: Double?, _ figure: (_ place: Int) -> Int) -> [Interleaved.Rival] {
    Kind.allCases.map { kind in
      if let reason = reasons[kind] { return .notRun(name(kind), because: reason) }
      guard let place = measured.firstIndex(of: kind) else { return .notRun(name(kind), because: "not measured") }
      return .thing(name(kind), figure(place), goal: kind == .nothing ? nil : goal)
    }
  }

  /// One of them as a process, for as long as this object lives.
  private final class Server {
    let address: NBDAddress
    private var process: ChildProcess

    init(_ words: [String], at address: NBDAddress, log: String) throws(BatonError) {
      process = try BatonProgram.running.start("bench-rival", ["--"] + words, log: log)
      self.address = address
    }

    var pid: pid_t { process.pid }

    /// Whether it has ended by itself.
    var hasEnded: Bool {
      _ = process.look()
      return process.ending != nil
    }
  }
}

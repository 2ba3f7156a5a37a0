import Baton
import BatonSubsystem
import BatonSystem
import BatonTestSupport
import Logging
import Synchronization
import Testing

@Suite("What a controller says of its peer")
struct StartMessageTests {
  private let said = Messages()

  @Test("A healthy start and a peer that leaves are no takeover; a peer that is gone is one")
  func messages() throws {
    let folder = try ScratchFolder()
    let subsystem = try Subsystem.create(folder("subsystem"), units: [UnitSpecification(parsing: "mem:1M")])
    var options = Laboratory.controllerOptions
    options.logger = Logger(label: "test", factory: { _ in said })
    let a = TestController(try Controller(.a, of: subsystem, options: options))
    try turn(a) { said.has("controller a: ready; controller b is not running yet") }
    var b: TestController? = TestController(try Controller(.b, of: subsystem, options: Laboratory.controllerOptions))
    try turn(a, b) { try Self.isServing(subsystem) }
    #expect(!said.has("in place of"))
    b?.beginStop()
    try turn(a, b) { b?.isStopped ?? true }
    b = nil
    try turn(a) { said.has("controller a: ready; controller b has left") }
    #expect(!said.has("in place of"))
    // And one that goes without leaving.
    b = TestController(try Controller(.b, of: subsystem, options: Laboratory.controllerOptions))
    try turn(a, b) { try Self.isServing(subsystem) }
    b = nil
    try turn(a) { said.has("controller a: serves in place of controller b, which is gone") }
    a.beginStop()
    try turn(a) { a.isStopped }
  }

  private static func isServing(_ subsystem: Subsystem) throws -> Bool {
    try subsystem.status().controllers[1].phase == "serving"
  }

  private func turn(_ controllers: TestController?..., until condition: () throws -> Bool) throws {
    for _ in 0..<1_000_000 {
      for controller in controllers { controller?.poll() }
      if try condition() { return }
    }
    throw BatonError(.system, "controllers", "nothing came of a million turns; said: \(said.all)")
  }
}

/// What has been logged, in the order in which it was.
private final class Messages: LogHandler, Sendable {
  private let lines = Mutex<[String]>([])

  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .trace }
    set {}
  }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) { lines.withLock { $0.append("\(event.message)") } }

  /// All lines.
  var all: String { lines.withLock { $0.joined(separator: "; ") } }

  /// Whether a line begins with that, or has it in it.
  func has(_ words: String) -> Bool { lines.withLock { $0.contains { $0.contains(words) } } }
}

import Baton
import Glibc
import Logging

/// A subsystem with both controllers and a host, in one process and on one thread: the test's own loop polls them.
struct Laboratory: ~Copyable {
  let subsystem: Subsystem
  var a: Controller
  var b: Controller
  var host: Host
  private let directory: String

  static var controllerOptions: ControllerOptions {
    var options = ControllerOptions()
    options.logger.logLevel = .error
    return options
  }

  init(
    units: [String] = ["mem:1M"], controllers: ControllerOptions = controllerOptions,
    hosts: HostOptions = HostOptions()
  ) throws {
    let directory = try Self.makeDirectory()
    self = try Self.make(directory, units, controllers, hosts)
  }

  private static func make(
    _ directory: String, _ units: [String], _ controllers: ControllerOptions, _ hosts: HostOptions
  ) throws -> Laboratory {
    let specifications = try units.map { try UnitSpecification(parsing: $0.replacing("%", with: directory)) }
    let subsystem = try Subsystem.create("\(directory)/subsystem", units: specifications)
    let a = try Controller(.a, of: subsystem, options: controllers)
    let b = try Controller(.b, of: subsystem, options: controllers)
    let host = try Host(of: subsystem, options: hosts)
    var laboratory = Laboratory(directory, subsystem, a, b, host)
    try laboratory.turn(until: { $0.isAttached(to: .a) && $0.isAttached(to: .b) })
    return laboratory
  }

  private init(
    _ directory: String, _ subsystem: Subsystem, _ a: consuming Controller, _ b: consuming Controller,
    _ host: consuming Host
  ) {
    self.directory = directory
    self.subsystem = subsystem
    self.a = a
    self.b = b
    self.host = host
  }

  deinit {
    // The controllers still have their seats here; what they hold goes with them.
    system("rm -rf '\(directory)'")
  }

  static func makeDirectory() throws -> String {
    var template = Array("/tmp/baton-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw BatonError(.system, "/tmp", "mkdtemp failed") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Turns every loop until the condition holds. Bounded by turns, not by time.
  mutating func turn(
    turnsMax: Int = 10_000_000, until condition: (borrowing Host) -> Bool
  ) throws {
    for _ in 0..<turnsMax {
      a.poll()
      b.poll()
      host.maintain()
      if condition(host) { return }
    }
    throw BatonError(.system, "laboratory", "nothing came of \(turnsMax) turns")
  }

  /// Fills a part of the host's arena.
  func fill(_ range: Range<Int>, with byte: UInt8) {
    UnsafeMutableRawBufferPointer(rebasing: host.arena[range]).initializeMemory(as: UInt8.self, repeating: byte)
  }

  /// Submits one request and turns the loops until it is answered.
  mutating func perform(_ request: Request, on controller: ControllerIdentity) throws -> Completion {
    guard host.submit(request, to: controller) else {
      throw BatonError(.system, "laboratory", "no room for a request")
    }
    return try complete()
  }

  /// Turns the loops until something is answered.
  mutating func complete(turnsMax: Int = 10_000_000) throws -> Completion {
    for _ in 0..<turnsMax {
      a.poll()
      b.poll()
      if let completion = host.next() { return completion }
    }
    throw BatonError(.system, "laboratory", "no answer in \(turnsMax) turns")
  }
}

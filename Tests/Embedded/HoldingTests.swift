import Baton
import BatonStorage
import BatonSubsystem
import BatonTestSupport
import Glibc
import Testing

@Suite("Units: each is the file that its subsystem was made with, and is held for one subsystem")
struct HoldingTests {
  @Test(
    "A unit's file that was replaced is refused by name, and the survivor goes on", arguments: ["%/file:1M", "mem:1M"])
  func replaced(unit: String) throws {
    let laboratory = try Laboratory(units: [unit])
    let path = laboratory.region.unit(0).path
    laboratory.fill(0..<4096, with: 0x5a)
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .b).status == .success)
    laboratory.drop(.b)
    try writeBytes([UInt8](repeating: 0, count: 1 << 20), to: "\(path).new")
    try #require(rename(path, "\(path).first") == 0 && rename("\(path).new", path) == 0)
    expectError(.foreign, naming: path) { try laboratory.start(.b) }
    #expect(try laboratory.perform(Request(.read, length: 4096, buffer: 8192), on: .a).status == .success)
    #expect(laboratory.host.holds(8192..<12288, 0x5a))
    try #require(rename("\(path).first", path) == 0)
    try laboratory.start(.b)
  }

  @Test(
    "What is no file any more in a unit's place is refused, and nobody waits for it",
    arguments: ["%/file:1M", "mem:1M"])
  func noFileAnyMore(unit: String) throws {
    let laboratory = try Laboratory(units: [unit])
    let path = laboratory.region.unit(0).path
    laboratory.drop(.b)
    try #require(rename(path, "\(path).first") == 0 && mkfifo(path, 0o600) == 0)
    expectError(.foreign, naming: path) { try laboratory.start(.b) }
    unlink(path)
    // Also where the link leads to the very file: a user that may change the link could lead it elsewhere.
    try #require(symlink("\(path).first", path) == 0)
    if unit == "mem:1M" {
      expectError(.foreign, naming: path) { try laboratory.start(.b) }
    } else {
      try laboratory.start(.b)
    }
  }

  /// What a controller of another subsystem meets with, without waiting for it.
  private func expectRefusal(_ laboratory: Laboratory, _ what: String) {
    let unit = laboratory.region.unit(0)
    for controller in 0...1 {
      expectError(.busy, naming: unit.path) {
        _ = try Storage(
          units: [unit], life: StorageLife(controllerIndex: controller, incarnation: 1, subsystem: 5),
          lockMillisecondsMax: 0)
      }
    }
  }

  @Test("A unit is held by each controller from its start to its end, used or not, the survivor's too")
  func held() throws {
    let laboratory = try Laboratory(units: ["%/file:1M"])
    expectRefusal(laboratory, "both run")
    for controller in ControllerIdentity.allCases {
      laboratory.drop(controller)
      expectRefusal(laboratory, "one runs")
      try laboratory.start(controller)
      expectRefusal(laboratory, "both run again")
    }
    laboratory.drop(.a)
    laboratory.drop(.b)
    // The thread of a ring that took part may still have to let go of the file.
    #expect(
      eventually {
        (try? Storage(
          units: [laboratory.region.unit(0)], life: StorageLife(controllerIndex: 0, incarnation: 1, subsystem: 5),
          lockMillisecondsMax: 0)) != nil
      })
  }

  @Test("A second subsystem on a file that is in use does not start, whatever it is called there")
  func second() throws {
    let laboratory = try Laboratory(units: ["%/file:1M"])
    laboratory.drop(.a)
    laboratory.drop(.b)
    try #require(link(laboratory.folder("file"), laboratory.folder("hard")) == 0)
    let other = try Subsystem.create(
      laboratory.folder("other"), units: [UnitSpecification(.path(laboratory.folder("hard")))])
    try laboratory.start(.a)
    expectError(.busy, naming: laboratory.folder("hard")) { _ = try Controller(.b, of: other) }
    #expect(try laboratory.perform(Request(.read, length: 4096), on: .a).status == .success)
  }

  @Test("A memory unit's file that is cut short is refused by name")
  func memoryCutShort() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    let path = laboratory.region.unit(0).path
    laboratory.drop(.a)
    laboratory.drop(.b)
    for count in [0, 4096, (1 << 20) - 4096] {
      try #require(truncate(path, off_t(count)) == 0)
      expectError(.truncated, naming: path) { try laboratory.start(.a) }
    }
  }
}

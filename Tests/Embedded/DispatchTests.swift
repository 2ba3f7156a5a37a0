import Baton
import BatonChannel
import BatonController
import BatonHost
import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSubsystem
import Testing

@Suite("Dispatch, embedded: two controllers and a host polled by the test's own loop")
struct DispatchTests {
  @Test("What is written through one controller is read through the other")
  func readsThroughTheOther() throws {
    let laboratory = try Laboratory(units: ["mem:1M", "%/file:1M", "null:1M"])
    for unit in [UInt32(0), 1] {
      for turn in 0..<200 {
        let writer: ControllerIdentity = turn % 2 == 0 ? .a : .b
        let pattern = UInt8(truncatingIfNeeded: turn + 1)
        laboratory.fill(0..<4096, with: pattern)
        let write = try laboratory.perform(
          Request(.write, unit: unit, offset: UInt64(turn) * 4096, length: 4096), on: writer)
        #expect(write.status == .success)
        #expect(write.service.controller == writer)
        let read = try laboratory.perform(
          Request(.read, unit: unit, offset: UInt64(turn) * 4096, length: 4096, buffer: 8192), on: writer.peer)
        #expect(read.status == .success)
        #expect(read.service.controller == writer.peer)
        #expect(read.service.isTransferred)
        #expect(laboratory.host.holds(8192..<12288, pattern))
      }
    }
  }

  /// The other controller takes a loop that does not turn for dead, and transfers may fill a turn for longer than it
  /// waits.
  @Test("Within a turn the beat goes on with each transfer that is done in it")
  func beatsWithinTurn() throws {
    let laboratory = try Laboratory(units: ["mem:1M"])
    #expect(try laboratory.perform(Request(.write, length: 4096), on: .a).status == .success)
    for cookie in UInt64(0)..<16 {
      let operation: Operation = cookie % 4 == 0 ? .discard : .write
      #expect(laboratory.host.submit(Request(operation, offset: cookie * 4096, length: 4096), to: .a, cookie: cookie))
    }
    let beat = laboratory.region.controller(.a).beat
    let before = beat.loadRelaxed()
    laboratory.poll(.a)
    #expect(laboratory.count(.answered, of: .a) == 17)
    #expect(beat.loadRelaxed() &- before > 16)
  }
}

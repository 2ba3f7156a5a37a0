import BatonSystem
import BatonTestSupport
import Testing

@testable import BatonCommandKit

@Suite("Replay: logs of others, and what becomes of them")
struct ReplayLogTests {
  private let folder: ScratchFolder

  init() throws { folder = try ScratchFolder() }

  private func log(_ text: String) throws -> ReplayLog {
    try ReplayLog(at: folder.write(Array(text.utf8), to: "log"))
  }

  private typealias Entry = ReplayLog.Entry

  @Test("fio's version 3: microseconds from the start; other actions are counted")
  func fio3() throws {
    let log = try log(
      """
      fio version 3 iolog
      40 /dev/x add
      244 /dev/x open
      251 /dev/x read 61440 4096
      3799 /dev/y write 774144 8192
      3800 /dev/x datasync 0 0
      3801 /dev/x trim 0 4096
      2000177 /dev/x close
      """)
    #expect(log.format == .fio3 && log.devices == 2 && log.leftOut == 2)
    #expect(
      log.entries == [
        Entry(at: 251_000, isRead: true, device: 0, offset: 61440, length: 4096),
        Entry(at: 3_799_000, isRead: false, device: 1, offset: 774_144, length: 8192),
      ])
  }

  @Test("fio's version 2: times are those of its waits, each after the one before")
  func fio2() throws {
    let log = try log(
      "fio version 2 iolog\nf add\nf open\nf write 0 512\nf wait 1500 0\nf read 512 512\nf wait 500 0\nf read 0 512\n")
    #expect(log.entries.map(\.at) == [0, 1_500_000, 2_000_000])
    #expect(log.entries.map(\.isRead) == [false, true, true])
  }

  @Test("blkparse: what was queued counts, from the first one on; without that, what was issued")
  func blkparse() throws {
    let queued = """
        8,0    3        1     5.000000000   697  Q   W 223490 + 8 [kjournald]
        8,0    3        2     5.000003000   697  G   W 223490 + 8 [kjournald]
        8,0    3        3     5.000007000   697  D   W 223490 + 8 [kjournald]
        8,16   1        1     4.999000000     0  Q  RA 0 + 16 [x]
        8,0    1        2     5.100000000     0  Q   D 0 + 16 [x]
        8,0    1        2     5.100000000     0  Q  FN [x]
      CPU0 (sda):
       Reads Queued:           1,        8KiB  Writes Queued:           1,        4KiB
      """
    let log = try log(queued)
    #expect(log.format == .blkparse && log.leftOut == 2)
    #expect(
      log.entries == [
        Entry(at: 0, isRead: true, device: 1, offset: 0, length: 8192),
        Entry(at: 1_000_000, isRead: false, device: 0, offset: 114_426_880, length: 4096),
      ])
    let issued = try self.log("8,0 3 3 1.5 697 D W 8 + 8 [k]\n8,0 3 3 1.6 697 C W 8 + 8 [0]\n")
    #expect(issued.entries == [Entry(at: 0, isRead: false, device: 0, offset: 4096, length: 4096)])
  }

  @Test("MSR: 100 nanoseconds, bytes; Alibaba: microseconds, bytes; a line of names may come first")
  func tables() throws {
    let msr = try log(
      "128166372003061629,usr,0,Read,7014609920,24576,41286\n128166372016382155,usr,1,Write,1317441536,8192,1963\n")
    #expect(msr.format == .msr && msr.devices == 2)
    #expect(
      msr.entries == [
        Entry(at: 0, isRead: true, device: 0, offset: 7_014_609_920, length: 24576),
        Entry(at: 1_332_052_600, isRead: false, device: 1, offset: 1_317_441_536, length: 8192),
      ])
    let alibaba = try log(
      "device_id,opcode,offset,length,timestamp\n419,W,8792731648,16384,1577808000000046\n"
        + "419,R,0,4096,1577808000000146\n"
    )
    #expect(alibaba.format == .alibaba)
    #expect(alibaba.entries.map(\.at) == [0, 100_000] && alibaba.entries.map(\.isRead) == [false, true])
  }

  @Test(
    "What is wrong is named with its line",
    arguments: [
      ("fio version 3 iolog\n1 f read 0", "log:2", "fio's iolog, version 3"),
      ("fio version 3 iolog\nf read 0 512", "log:2", "fio's iolog, version 3"),
      ("fio version 3 iolog\n1 f erase 0 512", "log:2", "fio's iolog, version 3"),
      ("fio version 4 iolog\n", "log:1", "begins no log"), ("1,R,0,512,1\n1,X,0,512,1", "log:2", "Alibaba"),
      ("fio version 3 iolog\n1 f add\n", "log", "has no request"), ("", "log", "has no request"),
      ("1,h,0,Read,0,512,1\n1,h,0,Read,-1,512,1", "log:2", "MSR"),
    ])
  func wrong(text: String, place: String, problem: String) {
    let error = #expect(throws: BatonError.self) { try log(text) }
    #expect(
      error?.subject.hasSuffix(place) == true && error?.problem.contains(problem) == true,
      "\(String(describing: error))")
  }

  private func plan(_ entries: [Entry], sizes: [UInt64], scale: Double = 100, grain: Int = 512) -> ReplayPlan {
    let log = ReplayLog(format: .fio3, entries: entries, devices: 2, leftOut: 0)
    let targets = sizes.enumerated().map { WorkloadTarget(unit: UInt32($0.offset), size: $0.element) }
    return ReplayPlan(log, on: targets, grainSize: grain, timeScale: scale)
  }

  @Test("Offsets that fit stay, in whole blocks; times are scaled; each device has a target, in turn")
  func fits() {
    let plan = plan(
      [
        Entry(at: 1000, isRead: true, device: 0, offset: 4096, length: 4096),
        Entry(at: 3000, isRead: false, device: 1, offset: 700, length: 100),
      ], sizes: [1 << 20], scale: 200)
    #expect(!plan.isScaled && plan.longest == 4096 && plan.nanoseconds == 1500)
    #expect(
      plan.steps == [
        .init(at: 500, isRead: true, target: 0, grain: 8, grains: 8),
        .init(at: 1500, isRead: false, target: 0, grain: 1, grains: 1),
      ])
  }

  @Test("A device that is larger than its unit is scaled into it, to its last block")
  func scaled() {
    let plan = plan(
      [
        Entry(at: 0, isRead: true, device: 0, offset: 0, length: 4096),
        Entry(at: 0, isRead: true, device: 0, offset: 1 << 40, length: 1 << 20),
        Entry(at: 0, isRead: true, device: 0, offset: 1 << 39, length: 4096),
        Entry(at: 0, isRead: false, device: 1, offset: 8192, length: 512),
      ], sizes: [1 << 20, 1 << 20], grain: 4096)
    #expect(plan.isScaled)
    #expect(plan.steps[1] == .init(at: 0, isRead: true, target: 0, grain: 0, grains: 256), "the whole unit")
    #expect(abs(plan.steps[2].grain - 128) <= 1)
    #expect(plan.steps[3] == .init(at: 0, isRead: false, target: 1, grain: 2, grains: 1))
  }

  @Test("Long requests become several, due at the same time, that cover the same blocks")
  func long() {
    let length: UInt64 = 5 << 19
    let plan = plan([Entry(at: 7, isRead: false, device: 0, offset: 0, length: length)], sizes: [1 << 30])
    #expect(plan.longest == 1 << 20 && plan.steps.allSatisfy { $0.at == 7 })
    #expect(plan.steps.map(\.grains).reduce(0, +) == Int(length) / 512)
    #expect(zip(plan.steps, plan.steps.dropFirst()).allSatisfy { $0.grain + $0.grains == $1.grain })
  }

  @Test("A log of several CPUs is put in order, and requests of one time stay as they are")
  func order() {
    let entries = [(5, 0), (1, 1), (5, 2), (0, 3)].map { at, offset in
      Entry(at: UInt64(at), isRead: true, device: 0, offset: UInt64(offset), length: 512)
    }
    let log = ReplayLog(format: .blkparse, entries: entries, devices: 1, leftOut: 0)
    #expect(log.entries.map(\.offset) == [3, 1, 0, 2])
    #expect(log.withoutTimes.entries.allSatisfy { $0.at == 0 })
  }
}

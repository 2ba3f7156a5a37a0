import BatonStorage
import BatonSystem
import BatonTestSupport
import Testing

@Suite("Unit specifications and byte counts")
struct SpecificationTests {
  static func faults(
    delay: UInt64 = 0, after: UInt64 = 0, every: UInt64 = 0, short: UInt32 = 0
  ) -> FaultPlan {
    var plan = FaultPlan()
    plan.delayNanoseconds = delay
    plan.errorAfter = after
    plan.errorEvery = every
    plan.shortTransferBytes = short
    return plan
  }

  static let wellFormed: [(String, UnitSpecification)] = [
    ("/a/file", UnitSpecification(.path("/a/file"))),
    ("file", UnitSpecification(.path("file"))),
    ("/a/file:1M", UnitSpecification(.path("/a/file"), size: 1 << 20)),
    ("/a/file:512", UnitSpecification(.path("/a/file"), size: 512)),
    // A colon in a path: what stands behind the last one is a size or part of the path.
    ("/a:b/c:d", UnitSpecification(.path("/a:b/c:d"))),
    ("/a:b/c:d:4k", UnitSpecification(.path("/a:b/c:d"), size: 4096)),
    ("/disk:1:2G", UnitSpecification(.path("/disk:1"), size: 2 << 30)),
    ("/a/file:12x", UnitSpecification(.path("/a/file:12x"))),
    ("./mem:1M:2M", UnitSpecification(.path("./mem:1M"), size: 2 << 20)),
    ("mem:64M", UnitSpecification(.memory, size: 64 << 20)),
    ("null:1T", UnitSpecification(.null, size: 1 << 40)),
    ("memory", UnitSpecification(.path("memory"))),
    ("./nul:1M", UnitSpecification(.path("./nul"), size: 1 << 20)),
    ("nul.img:1M", UnitSpecification(.path("nul.img"), size: 1 << 20)),
    ("sub/nul:1M", UnitSpecification(.path("sub/nul"), size: 1 << 20)),
    ("fault:delay=5ms:mem:1M", UnitSpecification(.memory, size: 1 << 20, faults: faults(delay: 5_000_000))),
    ("fault:error-after=7:null:1M", UnitSpecification(.null, size: 1 << 20, faults: faults(after: 7))),
    ("fault:error-every=3:/a/file", UnitSpecification(.path("/a/file"), faults: faults(every: 3))),
    ("fault:short=512:/a:b:1M", UnitSpecification(.path("/a:b"), size: 1 << 20, faults: faults(short: 512))),
    (
      "fault:delay=20us,error-after=1,error-every=2,short=4k:/f",
      UnitSpecification(.path("/f"), faults: faults(delay: 20_000, after: 1, every: 2, short: 4096))
    ),
  ]

  @Test("Every form is understood", arguments: wellFormed)
  func understood(text: String, specification: UnitSpecification) throws {
    #expect(try UnitSpecification(parsing: text) == specification)
  }

  @Test(
    "Every malformed form is refused, by name and with the fix",
    arguments: [
      "", ":1M", "mem", "null", "mem:", "null:", "mem:x", "null:1X", "mem:-1", "null:1.5M", "mem:1M:2M",
      "null:x:1M", "mem:99999999999999999999", "null:16777216T", "fault:", "fault:delay=5ms", "fault::mem:1M",
      "fault:delay=5ms:", "fault:delay:mem:1M", "fault:delay=:mem:1M", "fault:delay=5:mem:1M",
      "fault:delay=-5ms:mem:1M", "fault:delay=5 ms:mem:1M", "fault:delay=99999999999999s:mem:1M",
      "fault:delay=10001ms:mem:1M",
      "fault:error-after=0:mem:1M", "fault:error-after=x:mem:1M", "fault:error-after=+3:mem:1M",
      "fault:error-every=0:mem:1M", "fault:error-every=-1:mem:1M", "fault:error-every=+1:mem:1M",
      "fault:short=0:mem:1M", "fault:short=100:mem:1M", "fault:short=8G:mem:1M", "fault:loud=1:mem:1M",
      "fault:delay=5ms,:mem:1M", "fault:delay=5ms,,short=512:mem:1M", "fault:Delay=5ms:mem:1M",
      "fault:short=512:mem",
      "fault:delay=1ms:fault:short=512:mem:1M", "nul:1M", "disk:1M", "falt:delay=5ms:/a/file", "fault:delay=1ms:men:1M",
    ])
  func refused(text: String) {
    expectError(.invalid, naming: "unit '\(text)'") { try UnitSpecification(parsing: text) }
  }

  @Test("A size that is no whole number is named as what is wrong")
  func sizeNamed() {
    #expect {
      try UnitSpecification(parsing: "mem:1.5M")
    } throws: {
      "\($0)".contains("size '1.5M'") && "\($0)".contains("1536k")
    }
  }

  @Test(
    "A word that is nearly one of ours gets it as a suggestion",
    arguments: [
      ("nul:1M", "'null:1M'"), ("men:64k", "'mem:64k'"), ("nulll:1M", "'null:1M'"),
      ("falt:delay=5ms:mem:1M", "'fault:delay=5ms:mem:1M'"), ("as:x:nul:1M", "'null:1M'"), ("disk:1M", nil),
      ("nullable:1M", nil),
    ] as [(String, String?)])
  func suggestion(text: String, meant: String?) throws {
    let error = try #require(errorOf { try UnitSpecification(parsing: text) })
    #expect(error.fix.contains("did you mean") == (meant != nil))
    #expect(error.fix.contains(meant ?? "./") && error.fix.contains("'./"), "\(error)")
  }

  @Test(
    "Byte counts",
    arguments: [
      ("0", 0), ("1", 1), ("4096", 4096), ("4k", 4096), ("4K", 4096), ("64M", 64 << 20), ("64m", 64 << 20),
      ("1G", 1 << 30), ("1g", 1 << 30), ("2T", 2 << 40), ("2t", 2 << 40), ("0k", 0),
      ("4kib", 4096), ("4KiB", 4096), ("64MiB", 64 << 20), ("1GIB", 1 << 30), ("2tib", 2 << 40),
      ("18446744073709551615", UInt64.max), ("16777215T", 16_777_215 << 40),
    ] as [(String, UInt64)])
  func bytes(text: String, count: UInt64) { #expect(ByteCount.parse(text) == count) }

  @Test(
    "What is no byte count is none",
    arguments: [
      "", "k", "M", "1kk", "1P", "1 k", " 1", "1 ", "-1", "+1", "1.5k", "0x10", "1_000", "18446744073709551616",
      "16777216T", "18014398509481984k", "１２", "4ki", "4ib", "ib", "kib", "4kb", "4KB", "4b", "1.5MiB", "4kibib",
    ])
  func noBytes(text: String) { #expect(ByteCount.parse(text) == nil) }

  @Test(
    "Bytes in words",
    arguments: [
      (0, "0 B"), (1, "1 B"), (1000, "1000 B"), (1024, "1 KiB"), (1025, "1025 B"), (1536 << 10, "1536 KiB"),
      (1 << 20, "1 MiB"), (64 << 20, "64 MiB"), (1 << 30, "1 GiB"), (3 << 40, "3 TiB"),
      (UInt64.max, "\(UInt64.max) B"),
    ] as [(UInt64, String)])
  func described(count: UInt64, text: String) { #expect(ByteCount.describe(count) == text) }

  @Test(
    "Durations",
    arguments: [
      ("0ns", 0), ("300ns", 300), ("20us", 20_000), ("5ms", 5_000_000), ("1s", 1_000_000_000),
      ("18446744073s", 18_446_744_073_000_000_000),
    ] as [(String, UInt64)])
  func durations(text: String, nanoseconds: UInt64) { #expect(ByteCount.parseNanoseconds(text) == nanoseconds) }

  @Test(
    "What is no duration is none",
    arguments: ["", "5", "s", "ms", "-5ms", "+5ms", "5 ms", "5m", "5h", "1.5s", "18446744074s", "5sms"])
  func noDurations(text: String) { #expect(ByteCount.parseNanoseconds(text) == nil) }
}

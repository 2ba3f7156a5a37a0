import Baton
import BatonSystem
import Glibc

/// How long a measurement may wait for an event that does not come.
///
/// A spinning process lets others run after so many looks, because a machine may have fewer cores than spinners. It
/// then also checks whether there is any point in waiting.
struct Patience {
  private let mask: UInt32
  private let watch: BenchWatch?
  private let deadline: UInt64
  private var looks: UInt32 = 0

  /// Longer than any measurement takes, on a machine that is busy with other things too.
  private static let nanoseconds: UInt64 = 60_000_000_000

  /// For one measurement. `isCrowded`: both processes share one CPU. `watch` is asked whether to go on.
  init(isCrowded: Bool, _ watch: BenchWatch? = nil) {
    // On a CPU of its own a look takes a nanosecond, and the looks between two rests little compared with a rest.
    mask = isCrowded ? 0xf : 0xffff
    self.watch = watch
    deadline = monotonicNanoseconds() + Self.nanoseconds
  }

  /// A look that found nothing.
  @inline(__always)
  mutating func missed() throws {
    looks &+= 1
    if looks & mask == 0 { try rest() }
  }

  /// Lets others run. Fails when there is nothing to wait for any more.
  @inline(never)
  func rest() throws {
    sched_yield()
    try watch?.check()
    if monotonicNanoseconds() > deadline {
      throw BatonError(.system, "bench", "an answer did not come")
    }
  }
}

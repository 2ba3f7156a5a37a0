import Baton
import BatonSharedMemory
import BatonSystem
import Glibc

/// What the two processes of a measurement do together.
enum BenchPhase: UInt64 {
  /// Nothing: the worker sleeps until the next phase.
  case idle
  /// Blind compare-and-swap on one word, back and forth. No controller may do that: it looks, decides, and swaps then.
  case compareAndSwap
  /// Look until it is one's turn, then compare-and-swap: the floor of any ownership protocol.
  case lookThenSwap
  /// The same with a prefetch for writing before each look.
  case lookForWritingThenSwap
  /// Load until it is one's turn, then store, on one word: the floor of any request and response.
  case loadStore
  /// The same with a PAUSE between two looks.
  case loadStorePausing
  /// The same on two words, one each way.
  case twoLines
  /// Sleep on one word until it is one's turn, store, wake the other: the floor of anything that parks.
  case futex
  /// The worker answers request lines in place and does nothing in between, until the phase ends.
  case ring
  /// The arbiter's transitions on an ownership word, nothing else: both controllers want the function always.
  case arbiter
  /// The worker turns the loop of one of its controllers until the phase ends.
  case controller
  /// The worker's host keeps requests outstanding at one controller until the phase ends.
  case host
  /// The worker ends.
  case end
}

/// The pages that the two processes of a measurement share; each word alone on its lines.
struct BenchPage: ~Copyable {
  private let mapping: Mapping

  /// Lines of the ring, at most: a power of two.
  static let ringLinesMax = 256
  private static let ringOffset = 4096
  static let size = ringOffset + ringLinesMax * 64

  init(_ descriptor: borrowing OwnedDescriptor) throws(BatonError) {
    mapping = try Mapping(of: descriptor, count: Self.size, populated: true, subject: "bench page")
  }

  /// Number of the phase in the upper half, kind in the lower.
  var phase: SharedWord { mapping.word(at: 0) }
  /// The upper half of `phase` (the machine is little-endian), for a process that sleeps until it changes.
  var phaseNumber: SharedFutexWord { SharedFutexWord(mapping.base + 4) }
  /// The number of the phase that the worker has begun.
  var begun: SharedWord { mapping.word(at: 256) }
  /// The number of the phase that the worker has finished.
  var finished: SharedWord { mapping.word(at: 512) }
  /// Turns of the phase.
  var turns: SharedWord { mapping.word(at: 768) }
  /// Which of the worker's controllers, to which controller its host submits, or the ring's first request.
  var argument: SharedWord { mapping.word(at: 776) }
  /// Requests that the worker's host keeps outstanding, or the lines of the ring.
  var depth: SharedWord { mapping.word(at: 784) }
  /// The line that goes back and forth, or there.
  var ball: SharedWord { mapping.word(at: 1024) }
  /// The line that goes back, if that is another one.
  var returned: SharedWord { mapping.word(at: 1280) }
  /// The word that two processes sleep on.
  var sleepingBall: SharedFutexWord { SharedFutexWord(mapping.base + 1536) }
  /// The number of answers to the worker's host in a phase, and the time they took.
  var answers: SharedWord { mapping.word(at: 1792) }
  var nanoseconds: SharedWord { mapping.word(at: 1800) }
  /// The first of the ring's lines.
  var ring: UnsafeMutableRawPointer { mapping.base + Self.ringOffset }
}

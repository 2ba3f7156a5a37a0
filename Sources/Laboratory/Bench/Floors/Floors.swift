import Baton
import BatonOwnership
import BatonSharedMemory
import CBatonShims
import Glibc

// The floors between two processes: the least that the hardware and the kernel allow for what Baton does.
extension BenchPage {
  /// One side of a ping-pong: `turns` times the ball comes and goes. `patience` says how to wait.
  func play(
    _ phase: BenchPhase, as player: ControllerIdentity, turns: UInt64, _ patience: consuming Patience
  ) throws {
    let ball = ball
    let mine = UInt64(player.rawValue)
    let theirs = 1 - mine
    switch phase {
    case .compareAndSwap:
      for _ in 0..<turns {
        while !ball.compareExchange(expected: mine, desired: theirs).exchanged { try patience.missed() }
      }
    case .lookThenSwap:
      for _ in 0..<turns {
        while ball.loadAcquiring() != mine || !ball.compareExchange(expected: mine, desired: theirs).exchanged {
          try patience.missed()
        }
      }
    case .lookForWritingThenSwap:
      for _ in 0..<turns {
        ball.prefetchForWriting()
        while ball.loadAcquiring() != mine || !ball.compareExchange(expected: mine, desired: theirs).exchanged {
          try patience.missed()
          ball.prefetchForWriting()
        }
      }
    case .loadStore:
      for _ in 0..<turns {
        while ball.loadAcquiring() != mine { try patience.missed() }
        ball.storeReleasing(theirs)
      }
    case .loadStorePausing:
      for _ in 0..<turns {
        while ball.loadAcquiring() != mine {
          shim_spin_hint()
          try patience.missed()
        }
        ball.storeReleasing(theirs)
      }
    case .twoLines:
      let returned = returned
      for turn in 1...max(turns, 1) {
        if player == .a { ball.storeReleasing(turn) }
        while (player == .a ? returned : ball).loadAcquiring() != turn { try patience.missed() }
        if player == .b { returned.storeReleasing(turn) }
      }
    case .futex:
      let ball = sleepingBall
      let (mine, theirs) = (UInt32(mine), UInt32(theirs))
      for _ in 0..<turns {
        while ball.loadAcquiring() != mine {
          ball.wait(while: theirs, nanoseconds: Self.sleepNanosecondsMax)
          // Awake without reason: a signal, or the partner is gone.
          if ball.loadAcquiring() != mine { try patience.rest() }
        }
        _ = ball.exchange(theirs)
        ball.wake()
      }
    case .arbiter:
      let arbiter = Arbiter<SharedWord>(for: player)
      for _ in 0..<turns { while !arbiter.grant(ball, asking: true) { try patience.missed() } }
    case .idle, .ring, .controller, .host, .end: break
    }
  }

  /// The longest sleep of a blocking floor: the partner that it waits for may be gone.
  private static var sleepNanosecondsMax: Int64 { 1_000_000_000 }

  /// Looks between two looks at the phase word, which is not part of what is measured.
  private static var looksPerPhase: UInt32 { 256 }

  /// The worker's side of a bare ring of so many lines: answers each in place, from request `first` on, until the phase
  /// word has another value.
  func serveRing(from first: UInt64, lines: Int, while phase: UInt64, _ patience: consuming Patience) throws {
    let ring = ring
    var sequence = first
    var looks: UInt32 = 0
    while true {
      let line = BareLine(ring, sequence, lines: lines)
      line.flag.prefetchForWriting()
      if line.flag.loadAcquiring() != BareLine.submitted(sequence) {
        looks &+= 1
        if looks % Self.looksPerPhase == 0, self.phase.loadRelaxed() != phase { return }
        try patience.missed()
        continue
      }
      for ahead in UInt64(1)...2 { BareLine(ring, sequence &+ ahead, lines: lines).flag.prefetchForWriting() }
      let words = line.words
      // All of the request is read, as a controller has to.
      words[5] = words[0] &+ words[1] &+ words[2] &+ words[3]
      words[6] = sequence
      line.flag.storeReleasing(BareLine.answered(sequence))
      sequence &+= 1
    }
  }
}

/// A line of the bare ring: a flag and seven words, answered in place.
struct BareLine {
  private let base: UnsafeMutableRawPointer

  /// The line of that request, in a ring of so many: a power of two.
  @inline(__always)
  init(_ ring: UnsafeMutableRawPointer, _ sequence: UInt64, lines: Int) {
    base = ring + Int(truncatingIfNeeded: sequence) & (lines &- 1) &* 64
  }

  @inline(__always) var flag: SharedWord { SharedWord(base) }

  /// The words besides the flag: four words of request, the host's own, two of response.
  @inline(__always)
  var words: UnsafeMutablePointer<UInt64> { (base + 8).assumingMemoryBound(to: UInt64.self) }

  @inline(__always)
  static func submitted(_ sequence: UInt64) -> UInt64 { sequence &* 2 &+ 1 }

  @inline(__always)
  static func answered(_ sequence: UInt64) -> UInt64 { sequence &* 2 &+ 2 }
}

import BatonSystem
import CLiburing

extension Storage {
  /// One operation in flight.
  @usableFromInline
  struct Step {
    /// The next step of the list that it stands in; -1: none.
    var next: Int32 = -1
    var lane: Int32 = 0
    var unit: Int32 = 0
    var operation: Operation = .read
    var isDurable = false
    var mustBeFast = false
    var phase: Phase = .free
    /// How this one writes zeroes: the backend's best way when it was issued, which another may have moved since.
    var zeroing = Backend.ZeroingMethod.punchHole
    var retries: UInt16 = 0
    var token: UInt64 = 0
    var offset: UInt64 = 0
    var remaining: UInt64 = 0
    var address: UnsafeMutableRawPointer?
    // io_uring reads a timeout's duration at submission, which may come after this call has returned.
    var delay = __kernel_timespec()

    /// The next `count` bytes are done.
    mutating func move(by count: UInt64) {
      assert(count <= remaining, "no more is done than was asked for")
      remaining -= count
      offset += count
      address = address.map { $0 + Int(count) }
    }
  }

  /// The progress of an operation.
  @usableFromInline
  enum Phase: UInt8 { case free, delay, transfer, sync }
}

/// The steps of a storage, and which of them are free.
///
/// Invariants:
/// - a step is free, waits for room in the ring (it is stalled), stands in a lane, or is in the ring;
/// - it stands in one list at most: `next` is -1 unless another step follows in that list;
/// - the phase of a free step is `free`, and only of a free one.
@usableFromInline
struct Steps: ~Copyable {
  let all: Table<Storage.Step>
  private var firstFree: Int32 = 0
  /// The list of steps for which the ring had no room.
  @usableFromInline private(set) var firstStalled: Int32 = -1
  /// Free steps.
  @usableFromInline private(set) var freeCount: Int

  init(count: Int) {
    all = Table(count: count) { index in
      var step = Storage.Step()
      step.next = index + 1 < count ? Int32(index + 1) : -1
      return step
    }
    freeCount = count
  }

  /// The step with that index, where it lies.
  @inline(__always)
  func address(_ index: Int32) -> UnsafeMutablePointer<Storage.Step> { all.address(Int(index)) }

  /// Takes a free step. The caller sets its phase.
  mutating func take() -> Int32 {
    let index = firstFree
    precondition(index >= 0, "a storage operation was started though none was free")
    let step = address(index)
    assert(step.pointee.phase == .free, "a step that is taken was free")
    firstFree = step.pointee.next
    step.pointee.next = -1
    freeCount -= 1
    return index
  }

  /// Gives back a step whose operation has ended.
  mutating func giveBack(_ index: Int32) {
    let step = address(index)
    assert(step.pointee.phase != .free && step.pointee.next == -1, "a step ends once, and stands in no list")
    step.pointee.phase = .free
    step.pointee.next = firstFree
    firstFree = index
    freeCount += 1
  }

  /// The ring has no room at present: the step waits for the next submission.
  mutating func stall(_ index: Int32) {
    let step = address(index)
    assert(step.pointee.phase != .free && step.pointee.next == -1, "a step stands in one list")
    step.pointee.next = firstStalled
    firstStalled = index
  }

  /// The step that was stalled last, which stands in no list any more.
  mutating func takeStalled() -> Int32 {
    let index = firstStalled
    precondition(index >= 0, "no step is stalled")
    firstStalled = address(index).pointee.next
    address(index).pointee.next = -1
    return index
  }

  /// Steps that wait for room in the ring.
  var stalledCount: Int {
    var count = 0
    var index = firstStalled
    while index >= 0 {
      count += 1
      index = address(index).pointee.next
    }
    return count
  }
}

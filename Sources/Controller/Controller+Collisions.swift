import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem

// Collisions: the controller holds a request that collides with one under recovery until that recovery is over.
extension Controller {
  /// The requests under recovery. One may end or be given up during an iteration, but none leaves the list before
  /// `removeDone`.
  var recovering: RequestList { requests.list(from: takeover.recoveringHead) }

  /// Marks each line of a channel with the request in it that is under recovery, or clears the marks. Of several
  /// requests the newest counts: a controller that died between an answer and the clearing of its entry has left an
  /// older one of the same line.
  func setMarks(_ channel: Int, mark: Bool) {
    for request in recovering where Int(request.pointee.channel) == channel && !request.pointee.isDone {
      let slot = Int(request.pointee.slot)
      if !mark {
        marks[slot] = Self.noMark
      } else if marks[slot] == Self.noMark || RequestFlag.isNewer(request.pointee.sequence, than: marks[slot]) {
        marks[slot] = request.pointee.sequence
      }
    }
  }

  /// A value that no request has as its number.
  static var noMark: UInt64 { UInt64.max }

  /// Whether any request under recovery came from that host.
  func isNamedByRecovery(_ place: Int) -> Bool {
    recovering.contains { Int($0.pointee.channel) >> 1 == place }
  }

  /// Whether a line's request is under recovery.
  func isRecovering(_ channel: Int, _ slot: Int, _ sequence: UInt64) -> Bool {
    recovering.contains {
      $0.pointee.sequence == sequence && Int($0.pointee.slot) == slot && Int($0.pointee.channel) == channel
        && !$0.pointee.isDone
    }
  }

  /// Whether a request must wait for one under recovery, which changes data that it would see, or would undo its
  /// effect. Management waits for any change of a unit's state.
  mutating func collides(_ request: UnsafeMutablePointer<AcceptedRequest>) -> Bool {
    recovering.contains {
      guard $0.pointee.isStanding else { return false }
      if request.pointee.isManagement { return $0.pointee.kind == .setUnitState }
      return $0.pointee.changesUnit && $0.pointee.unit == request.pointee.unit
        && request.pointee.overlaps($0.pointee)
    }
  }

  mutating func hold(_ index: Int32) {
    appendHeld(index)
    count(.held)
  }

  private mutating func appendHeld(_ index: Int32) {
    requests.entry(index).pointee.next = -1
    if takeover.heldTail >= 0 {
      requests.entry(takeover.heldTail).pointee.next = index
    } else {
      takeover.heldHead = index
    }
    takeover.heldTail = index
  }

  /// Appends those of the held requests that no longer collide to their pending queues.
  mutating func releaseHeld() -> Int {
    var index = takeover.heldHead
    takeover.mayRelease = false
    takeover.heldHead = -1
    takeover.heldTail = -1
    var released = 0
    while index >= 0 {
      let request = requests.entry(index)
      let following = request.pointee.next
      request.pointee.next = -1
      if channels[Int(request.pointee.channel)].phase != .closing, collides(request) || overlapsWrite(request) {
        appendHeld(index)
      } else {
        released += 1
        let function = request.pointee.function
        enqueue(index, function)
        requestOwnership(function, arbiter.look(region.ownership.word(function.index)))
      }
      index = following
    }
    return released
  }
}

import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem

// Collisions: a request that collides with one that is being recovered is held until that is over.
extension Controller {
  /// The requests that are being recovered. One may end or be given up while they are gone through, but none leaves
  /// the list before `removeDone`.
  var recovering: RequestList { requests.list(from: takeover.recoveringHead) }

  /// Notes for each line of a channel which request in it is being recovered, or undoes that. Of several the newest: a
  /// controller that died between an answer and the clearing of its entry has left an older one of the same line.
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

  /// No number of a request.
  static var noMark: UInt64 { UInt64.max }

  /// Whether something that is being recovered came from that host.
  func isNamedByRecovery(_ place: Int) -> Bool {
    recovering.contains { Int($0.pointee.channel) >> 1 == place }
  }

  /// Whether a line's request is one that is being recovered.
  func isRecovering(_ channel: Int, _ slot: Int, _ sequence: UInt64) -> Bool {
    recovering.contains {
      $0.pointee.sequence == sequence && Int($0.pointee.slot) == slot && Int($0.pointee.channel) == channel
        && !$0.pointee.isDone
    }
  }

  /// Whether a request must wait for one that is being recovered: one that changes what it would see, or would undo
  /// what it does. Management waits for any change of a unit's state.
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

  /// Puts those of the held requests that collide with nothing any more at the end of their pending queues.
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

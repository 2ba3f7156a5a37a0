import BatonSystem

/// Steps that wait for the storage's own thread, in lanes: one queue per client, and a queue of the lanes that are not
/// empty. The lane at the front is served for one piece, and goes to the back.
///
/// Invariants: a lane stands in the queue of lanes if and only if it holds a step, and once; a step stands in one lane.
struct Lanes: ~Copyable {
  // Not private: the compiler (6.3) cannot destroy a table of private elements from another file.
  struct Lane {
    var head: Int32 = -1
    var tail: Int32 = -1
    /// The next lane that has something; -1: none.
    var next: Int32 = -1
  }

  private let lanes: Table<Lane>
  private var first: Int32 = -1
  private var last: Int32 = -1
  /// Steps in all lanes.
  private(set) var steps = 0

  init(capacity: Int) { lanes = Table(repeating: Lane(), count: capacity) }

  var isEmpty: Bool {
    @inline(__always) get { first < 0 }
  }

  /// Puts a step at the end of its lane.
  mutating func append(_ index: Int32, _ all: borrowing Table<Storage.Step>) {
    let lane = all[Int(index)].lane
    assert(all[Int(index)].next == -1, "a step stands in one lane, and once")
    assert((lanes[Int(lane)].head < 0) == (lanes[Int(lane)].tail < 0), "a lane has both ends or none")
    steps += 1
    if lanes[Int(lane)].tail >= 0 {
      all[Int(lanes[Int(lane)].tail)].next = index
    } else {
      lanes[Int(lane)].head = index
      enqueue(lane)
    }
    lanes[Int(lane)].tail = index
  }

  private mutating func enqueue(_ lane: Int32) {
    lanes[Int(lane)].next = -1
    if last >= 0 { lanes[Int(last)].next = lane } else { first = lane }
    last = lane
  }

  /// The first step of the lane whose turn it is.
  func front() -> Int32? {
    first < 0 ? nil : lanes[Int(first)].head
  }

  /// That lane has had its turn; its first step is over, or stays.
  mutating func advance(_ all: borrowing Table<Storage.Step>, removing isOver: Bool) {
    let lane = first
    assert(lane >= 0 && lanes[Int(lane)].head >= 0, "a lane in the queue holds a step")
    first = lanes[Int(lane)].next
    if first < 0 { last = -1 }
    if isOver {
      steps -= 1
      let step = all.address(Int(lanes[Int(lane)].head))
      lanes[Int(lane)].head = step.pointee.next
      step.pointee.next = -1
      if lanes[Int(lane)].head < 0 {
        lanes[Int(lane)].tail = -1
        return
      }
    }
    enqueue(lane)
  }
}

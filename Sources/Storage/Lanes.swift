/// Steps that wait for the storage's own thread, in lanes: one queue per client, and a queue of the lanes that are not
/// empty. The lane at the front is served for one piece, and goes to the back.
///
/// Invariants: a lane stands in the queue of lanes if and only if it holds a step, and once; a step stands in one lane.
struct Lanes: ~Copyable {
  private struct Lane {
    var head: Int32 = -1
    var tail: Int32 = -1
    /// The next lane that has something; -1: none.
    var next: Int32 = -1
  }

  private let lanes: UnsafeMutableBufferPointer<Lane>
  private var first: Int32 = -1
  private var last: Int32 = -1
  /// Steps in all lanes.
  private(set) var steps = 0

  init(capacity: Int) {
    lanes = .allocate(capacity: capacity)
    lanes.initialize(repeating: Lane())
  }

  deinit { lanes.deallocate() }

  var isEmpty: Bool {
    @inline(__always) get { first < 0 }
  }

  /// Puts a step at the end of its lane.
  mutating func append(_ index: Int32, _ all: UnsafeMutableBufferPointer<Storage.Step>) {
    let lane = all[Int(index)].lane
    all[Int(index)].next = -1
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
  func front(_ all: UnsafeMutableBufferPointer<Storage.Step>) -> Int32? {
    first < 0 ? nil : lanes[Int(first)].head
  }

  /// That lane has had its turn; its first step is over, or stays.
  mutating func advance(_ all: UnsafeMutableBufferPointer<Storage.Step>, removing isOver: Bool) {
    let lane = first
    first = lanes[Int(lane)].next
    if first < 0 { last = -1 }
    if isOver {
      steps -= 1
      lanes[Int(lane)].head = all[Int(lanes[Int(lane)].head)].next
      if lanes[Int(lane)].head < 0 {
        lanes[Int(lane)].tail = -1
        return
      }
    }
    enqueue(lane)
  }
}

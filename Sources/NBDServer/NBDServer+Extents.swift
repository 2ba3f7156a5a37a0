import BatonController
import BatonNBD
import BatonRing
import BatonStorage
import BatonSystem
import CBatonShims
import Glibc
import Synchronization

/// Questions to file systems about the holes of a unit, asked by a thread of their own. An answer wakes the loop
/// through an eventfd.
struct ExtentDesk: ~Copyable {
  /// The answer to one.
  struct Answer: Sendable {
    let place: Int
    let slot: Int
    let extents: [Extent]
  }

  /// The thread's answers. They outlive the server, whose thread may still be asking.
  private final class Tray: Sendable {
    let answers = Mutex<[Answer]>([])
    /// Negative: it could not be created, and nothing is ever asked.
    let bell: CInt

    init() { bell = shim_bell() }

    deinit { if bell >= 0 { close(bell) } }

    func put(_ answer: Answer) {
      answers.withLock { $0.append(answer) }
      shim_bell_ring(bell)
    }
  }

  private let thread = SideThread(name: "baton-extents", jobsMax: questionsMax)
  private let tray = Tray()
  /// Questions without an answer.
  private(set) var asked = 0
  /// Whether the ring waits for the bell.
  var isWaiting = false

  /// Questions that may wait, over all clients. Beyond them everything is reported as data, which is never wrong.
  private static var questionsMax: Int { 256 }

  var bell: CInt { tray.bell }

  /// Asks.
  ///
  /// - Returns: false if it cannot be asked at present.
  mutating func ask(_ query: ExtentQuery, extentsMax: Int, place: Int, slot: Int) -> Bool {
    let tray = tray
    let job: SideThread.Job = {
      tray.put(Answer(place: place, slot: slot, extents: query.run(extentsMax: extentsMax)))
    }
    guard tray.bell >= 0, thread.offer(job) else {
      query.abandon()
      return false
    }
    asked += 1
    return true
  }

  /// The answers so far.
  mutating func take() -> [Answer] {
    shim_bell_silence(tray.bell)
    let answers = tray.answers.withLock { answers in
      defer { answers = [] }
      return answers
    }
    asked -= answers.count
    return answers
  }
}

// Block status: the one request of a client that is about a file and not about its blocks.
extension NBDServer {
  /// Extents that one block status reports, at most: each extent costs two system calls, and the client asks again.
  private static var extentsMax: Int { 64 }

  /// Asks which parts of a unit are holes, or says at once that all is data.
  mutating func askForExtents(_ operation: NBDOperation, _ place: Int, _ controller: inout Controller) {
    if let query = controller.extentQuery(unit: operation.unit, offset: operation.offset, length: operation.length),
      extents.ask(query, extentsMax: Self.extentsMax, place: place, slot: operation.slot)
    {
      return waitForExtents(&controller)
    }
    _ = clients[place].pointee.addExtent(operation.slot, length: operation.length, isHole: false, readsZero: false)
    clients[place].pointee.finish(operation.slot, .done)
  }

  /// Has the ring wait for answers, while there are some to come.
  mutating func waitForExtents(_ controller: inout Controller) {
    if extents.asked == 0 || extents.isWaiting { return }
    extents.isWaiting = controller.ring.waitToRead(extents.bell, for: .extents, index: 0)
    // The ring has no room at present.
    if !extents.isWaiting { tending.setDue() }
  }

  /// Answers have come.
  mutating func takeExtents(_ controller: inout Controller) {
    extents.isWaiting = false
    for answer in extents.take() {
      for extent in answer.extents {
        guard
          clients[answer.place].pointee.addExtent(
            answer.slot, length: extent.length, isHole: extent.isHole, readsZero: extent.isHole)
        else { break }
      }
      clients[answer.place].pointee.finish(answer.slot, .done)
      clients.markDirty(answer.place)
    }
    waitForExtents(&controller)
  }
}

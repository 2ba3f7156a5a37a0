import BatonChannel

/// Requests that a controller handed back and its peer had no room for, oldest first.
@usableFromInline
struct HandedBack {
  struct Entry {
    let request: Request
    let cookie: UInt64
    let service: Service
    /// The life of the controller that refused it; 0: one that is gone.
    let incarnation: UInt64
    /// When it was handed back.
    let since: UInt64
  }

  private var entries: [Entry] = []
  /// Entries, in a word of its own: `Host.outstanding` is compiled into callers.
  @usableFromInline private(set) var count = 0

  var isEmpty: Bool { count == 0 }
  var first: Entry? { entries.first }

  mutating func append(_ entry: Entry) {
    entries.append(entry)
    count += 1
    assert(count == entries.count, "entries are counted as they come")
  }

  mutating func removeFirst() {
    entries.removeFirst()
    count -= 1
    assert(count == entries.count, "entries are counted as they go")
  }
}

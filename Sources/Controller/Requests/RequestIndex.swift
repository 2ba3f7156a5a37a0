import BatonSubsystem

/// The number of an accepted request: of its entry in a journal.
struct RequestIndex: Equatable {
  let number: Int32

  @inline(__always)
  init(_ number: Int32) {
    assert(number >= 0 && number < Journal.capacity, "an entry outside of the journal")
    self.number = number
  }

  /// The request that an operation of the storage is for.
  @inline(__always)
  init(token: UInt64) { self.init(Int32(truncatingIfNeeded: token)) }

  /// The same in the other direction: what the storage hands back with its result.
  @inline(__always)
  var token: UInt64 { UInt64(truncatingIfNeeded: number) }
}

/// A request in a list or queue, or the end of it. It is as large as the number of a request, and lies so in the
/// entries of a journal.
struct RequestLink: Equatable {
  /// The number of a request; -1: there is none.
  let number: Int32

  @inline(__always)
  init(number: Int32) { self.number = number }

  @inline(__always)
  init(_ index: RequestIndex) { number = index.number }

  /// The end of a list.
  static var none: RequestLink {
    @inline(__always) get { RequestLink(number: -1) }
  }

  /// The request; nil at the end of the list.
  @inline(__always)
  var index: RequestIndex? { number < 0 ? nil : RequestIndex(number) }
}

extension AcceptedRequest {
  /// The request after this one in the list or queue that it stands in. One in none of them links to none.
  var following: RequestLink {
    @inline(__always) get { RequestLink(number: next) }
    @inline(__always) set { next = newValue.number }
  }

  /// The write before this one among its function's on the storage.
  var earlierWrite: RequestLink {
    @inline(__always) get { RequestLink(number: earlier) }
    @inline(__always) set { earlier = newValue.number }
  }

  /// The write after this one there.
  var laterWrite: RequestLink {
    @inline(__always) get { RequestLink(number: later) }
    @inline(__always) set { later = newValue.number }
  }
}

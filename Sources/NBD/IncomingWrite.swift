/// The write of a connection whose payload has not come to its end. There is one at most: nothing behind a payload is
/// read before all of it.
enum IncomingWrite {
  /// There is none.
  case none
  /// A piece of its payload is being received.
  case receiving(slot: Int)
  /// A piece of it is being executed while more is to come: nothing is received and no request taken meanwhile.
  case unfinished(slot: Int)
  /// Its payload is being skipped; the answer after that.
  case refused(slot: Int, Refusal)

  var isNone: Bool {
    @inline(__always) get { if case .none = self { true } else { false } }
  }

  /// The write whose payload is being received.
  var receiving: Int? {
    @inline(__always) get { if case .receiving(let slot) = self { slot } else { nil } }
  }

  /// Whether a piece of that write is being executed while more of its payload is to come.
  @inline(__always)
  func isUnfinished(_ index: Int) -> Bool { if case .unfinished(index) = self { true } else { false } }

  /// Whether that is so of any write.
  var isUnfinished: Bool {
    @inline(__always) get { if case .unfinished = self { true } else { false } }
  }
}

/// The reason why a request is not executed.
struct Refusal {
  let error: NBDError
  let message: StaticString

  init(_ error: NBDError, _ message: StaticString) {
    self.error = error
    self.message = message
  }

  /// The storage's reason, in words. "The server SHOULD NOT return `NBD_ENOTSUP` except as documented in
  /// response to `NBD_CMD_WRITE_ZEROES` when `NBD_CMD_FLAG_FAST_ZERO` is supported."
  init(_ error: NBDError, flags: UInt16) {
    switch error {
    case .notPermitted: self.init(error, "the unit is read-only")
    case .inputOutput: self.init(error, "the storage failed")
    case .noSpace: self.init(error, "no space is left on the storage")
    case .shutDown: self.init(error, "the server shuts down")
    case .overflow: self.init(error, "longer than the storage takes")
    case .notSupported where flags & CommandFlag.fastZero != 0: self.init(error, "there is no fast way")
    case .invalid, .notSupported: self.init(.invalid, "the storage cannot do this")
    }
  }
}

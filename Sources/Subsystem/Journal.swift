import BatonSharedMemory
import CBatonShims

/// A controller's in-flight journal: every request that it has accepted and not answered, in the controllers' region,
/// with the hosts that they came from. A survivor reads it. An address and nothing more.
///
///     host records | entries
///
/// Invariants:
/// - an entry's state is 1 from before its request is given to the storage (or takes effect) until after it has been
///   answered; what a survivor reads of the entry stands before the state is 1 and changes only while it is 0;
/// - a host's record stands as long as an entry names it;
/// - an entry whose request's line is answered, or used for another request, is over: its controller died between
///   the answer and the clearing.
///
/// The writer is a process that may die between any two instructions; the reader has seen its exit, which orders
/// everything that it wrote before. So plain program order is all that the writer needs, and no fence. Sync point
/// "journal": the releases of `inFlight` and `top` keep that order; the acquire is the one of "death".
public struct Journal {
  private let base: UnsafeMutableRawPointer
  /// Entries from here on were never used: a survivor need not look at them.
  public let top: SharedWord

  init(base: UnsafeMutableRawPointer, top: SharedWord) {
    self.base = base
    self.top = top
  }

  /// Entries: requests that a controller can have accepted and not answered.
  public static let capacity = Int(BATON_JOURNAL_CAPACITY)
  /// Host records.
  public static let hostPlaces = Int(BATON_HOST_PLACES)

  private static var hostBytes: Int { hostPlaces * MemoryLayout<baton_host_record>.stride }
  package static var byteCount: Int { hostBytes + capacity * MemoryLayout<baton_accepted_request>.stride }

  /// The record of the host in that place.
  public func host(_ place: Int) -> UnsafeMutablePointer<baton_host_record> {
    precondition(place >= 0 && place < Self.hostPlaces, "no such place for a host")
    return base.assumingMemoryBound(to: baton_host_record.self) + place
  }

  /// The first entry; the others follow.
  public var entries: UnsafeMutablePointer<baton_accepted_request> {
    (base + Self.hostBytes).assumingMemoryBound(to: baton_accepted_request.self)
  }
}

extension UnsafeMutablePointer<baton_accepted_request> {
  /// Whether the request is in flight, as a survivor sees it: 1 or 0.
  @inlinable @inline(__always)
  public var inFlight: SharedWord { SharedWord(UnsafeMutableRawPointer(self)) }
}

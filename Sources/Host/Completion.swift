import BatonChannel

/// A request that has been answered.
@frozen
public struct Completion: Sendable {
  /// The cookie that the submitter gave.
  public let cookie: UInt64
  /// Its status.
  public let status: Status
  /// Bytes transferred, for block I/O; the requested value for others (a unit's state, a count).
  public let value: UInt64
  /// The controller that served it, its term, and whether the request waited for a change of owner.
  public let service: Service

  @inlinable @inline(__always)
  init(cookie: UInt64, status: Status, value: UInt64, service: Service) {
    self.cookie = cookie
    self.status = status
    self.value = value
    self.service = service
  }
}

extension Completion: CustomStringConvertible {
  /// `success, 4096, by b in term 3 (cookie 7)`.
  public var description: String { "\(status), \(value), \(service) (cookie \(cookie))" }
}

import CBatonShims

/// The number of a request line in its channel.
///
/// What a host writes as the number of a line stays a bare number until it has been compared with the channel's last
/// line (`RequestCopy.next`).
@frozen
public struct LineIndex: Equatable, Sendable {
  /// From 0 on.
  public let number: Int

  /// The line of that number, which some channel may have.
  @inlinable @inline(__always)
  public init(_ number: Int) {
    assert(number >= 0 && number < Int(BATON_LINES_MAX), "no channel has that line")
    self.number = number
  }
}

/// The remaining work of a turn, in one byte: all that is neither a request nor an ownership transfer nor a completion.
/// `Controller.poll` tests it, and `lookAround` does the work.
struct Due: OptionSet {
  let rawValue: UInt8

  /// This turn, or the next one, must check everything.
  static let look = Due(rawValue: 1)
  /// A word has changed that the peer should see.
  static let peer = Due(rawValue: 2)
  /// Some host's line carries a number that was not due.
  static let offence = Due(rawValue: 4)
  /// A host broke the protocol in this turn, and must be disconnected.
  static let expulsion = Due(rawValue: 8)
  /// Connections that were not accepted in this turn wait.
  static let connections = Due(rawValue: 16)

  /// Sets or clears a member.
  mutating func set(_ member: Due, _ isDue: Bool) {
    if isDue { insert(member) } else { remove(member) }
  }
}

import CBatonShims

/// The decision about a client that has connected.
enum Admission {
  /// It has a place.
  case admitted
  /// It gets one when another client goes.
  case waits
  /// Its address has more than its share.
  case refused
}

/// What a TCP client counts for: its address, without the port; of an IPv6 address the network.
struct PeerAddress: Equatable {
  private let high: UInt64
  private let low: UInt64

  /// What is at the other end of a socket.
  enum Found {
    case tcp(PeerAddress)
    case unix
    /// No client any more.
    case none
  }

  static func found(of socket: CInt) -> Found {
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2) { address in
      switch shim_stream_peer(socket, address.baseAddress!) {
      case 0: .unix
      case 1: .tcp(PeerAddress(high: address[0], low: address[1]))
      default: .none
      }
    }
  }
}

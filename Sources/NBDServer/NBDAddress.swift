import BatonSystem
import CBatonShims
import Glibc

/// An address for NBD clients: `unix:PATH`, `tcp:PORT` (on the loopback), `tcp:ADDRESS:PORT`, `tcp:[ADDRESS]:PORT`.
public enum NBDAddress: Sendable, Equatable, CustomStringConvertible {
  /// A unix socket, by its absolute path.
  case unix(path: String)
  /// A TCP port of a numeric address, of either family.
  case tcp(address: String, port: UInt16)

  /// The default address of a port.
  public static let loopback = "127.0.0.1"

  /// From a command line's word.
  public init(parsing text: String) throws(BatonError) {
    let parsed: NBDAddress? =
      if text.hasPrefix("unix:") {
        Self.unix(text.dropFirst("unix:".count))
      } else if text.hasPrefix("tcp:") {
        Self.tcp(text.dropFirst("tcp:".count))
      } else {
        nil
      }
    guard let parsed else {
      throw BatonError(
        .invalid, "NBD address '\(text)'", "is not an address",
        fix: "use unix:PATH (at most 107 bytes), tcp:PORT, tcp:ADDRESS:PORT or tcp:[ADDRESS]:PORT, with numeric "
          + "addresses")
    }
    self = parsed
  }

  private static func unix(_ path: Substring) -> NBDAddress? {
    if path.isEmpty { return nil }
    if path.hasPrefix("/") { return path.utf8.count <= pathMax ? .unix(path: String(path)) : nil }
    guard let here = getcwd(nil, 0) else { return nil }
    defer { free(here) }
    let absolute = "\(String(cString: here))/\(path)"
    return absolute.utf8.count <= pathMax ? .unix(path: absolute) : nil
  }

  private static func tcp(_ text: Substring) -> NBDAddress? {
    let colon = text.lastIndex(of: ":")
    let digits = colon.map { text[text.index(after: $0)...] } ?? text
    guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits), port > 0 else {
      return nil
    }
    guard let colon else { return .tcp(address: loopback, port: port) }
    var address = text[..<colon]
    let isBracketed = address.hasPrefix("[") && address.hasSuffix("]")
    if isBracketed { address = address.dropFirst().dropLast() }
    // IPv6 addresses contain colons, so they stand in brackets: otherwise it is unknown which colon begins the port.
    guard address.contains(":") == isBracketed else { return nil }
    return canonical(String(address)).map { .tcp(address: $0, port: port) }
  }

  private static func canonical(_ address: String) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: textMax) { space in
      shim_address_canonical(address, space.baseAddress!, textMax) == 0 ? String(cString: space.baseAddress!) : nil
    }
  }

  /// The address of a listening socket, in the form of `description`; nil: none that has such a form.
  static func text(of listener: CInt) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: textMax) { space in
      shim_stream_address(listener, space.baseAddress!, textMax) == 0 ? String(cString: space.baseAddress!) : nil
    }
  }

  /// sun_path without its last zero, unix(7).
  private static let pathMax = 107
  /// More than the longest address of either kind.
  private static let textMax = 256

  /// The form of a command line, in full.
  public var description: String {
    switch self {
    case .unix(let path): "unix:\(path)"
    case .tcp(let address, let port): address.contains(":") ? "tcp:[\(address)]:\(port)" : "tcp:\(address):\(port)"
    }
  }

  /// The URI with which a client reaches the export of that name here.
  public func uri(export: String) -> String {
    let name = Self.escaped(export, alsoAllowing: "/")
    switch self {
    case .unix(let path): return "nbd+unix:///\(name)?socket=\(Self.escaped(path, alsoAllowing: "/"))"
    case .tcp(let address, let port):
      let host = address == Self.loopback ? "localhost" : address
      return "nbd://\(host.contains(":") ? "[\(host)]" : host):\(port)/\(name)"
    }
  }

  /// Percent-encoded where RFC 3986 requires it.
  private static func escaped(_ text: String, alsoAllowing allowed: String) -> String {
    var result = ""
    for byte in text.utf8 {
      let scalar = Character(Unicode.Scalar(byte))
      if byte < 0x80, scalar.isLetter || scalar.isNumber || "-._~".contains(scalar) || allowed.contains(scalar) {
        result.append(scalar)
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
      }
    }
    return result
  }

  /// Listens there. A unix socket that nobody listens on any more is removed first.
  func listen() throws(BatonError) -> OwnedDescriptor {
    let fix = "stop the process that listens there, or give another address with --nbd"
    switch self {
    case .unix(let path):
      if shim_stream_is_answered(path) == 1 {
        throw BatonError(.busy, description, "another process listens there", fix: fix)
      }
      var facts = stat()
      // Only a socket is removed: any other file there makes `bind` fail.
      if lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFSOCK { unlink(path) }
      return OwnedDescriptor(try check(shim_stream_listen_unix(path), description, doing: "listening", fix: fix))
    case .tcp(let address, let port):
      return OwnedDescriptor(
        try check(shim_stream_listen_tcp(address, port), description, doing: "listening", fix: fix))
    }
  }

  /// Whether a process listens there. To that process this is a client that goes at once.
  public var isAnswered: Bool {
    switch self {
    case .unix(let path): shim_stream_is_answered(path) == 1
    case .tcp(let address, let port): shim_port_is_answered(address, port) == 1
    }
  }
}

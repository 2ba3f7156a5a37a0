import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// The SHA-256 of its input, by sha256sum(1): the tool that a reader would use to check, and nothing to build.
struct Digest: ~Copyable {
  private var program: RunningProgram
  private let writer: OwnedDescriptor

  private static let subject = "sha256sum"
  /// The longest time that it may take for its last input.
  private static let secondsMax = 60.0

  /// A digest of no input yet.
  ///
  /// - Throws: if sha256sum, which is part of coreutils, cannot be started.
  init() throws(BatonError) {
    // A socket: a process that writes into a pipe that nobody reads is killed for it.
    var ends: (CInt, CInt) = (-1, -1)
    let made = withUnsafeMutableBytes(of: &ends) {
      socketpair(
        AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0,
        $0.assumingMemoryBound(to: CInt.self).baseAddress!)
    }
    if made != 0 { throw BatonError(result: -Int(errno), Self.subject, doing: "making a socket pair") }
    let reader = OwnedDescriptor(ends.0)
    let writer = OwnedDescriptor(ends.1)
    program = try RunningProgram(Self.subject, [], input: reader.number, subject: Self.subject)
    self.writer = writer
  }

  /// Adds these bytes.
  mutating func update(_ bytes: UnsafeRawBufferPointer) throws(BatonError) {
    var sent = 0
    while sent < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[sent...])
      let count = send(writer.number, rest.baseAddress, rest.count, CInt(MSG_NOSIGNAL))
      if count < 0, errno == EINTR { continue }
      if count < 0 { throw BatonError(result: -Int(errno), Self.subject, doing: "giving it what is to be hashed") }
      sent += count
    }
  }

  /// The hash of all input, in hexadecimal digits. Call it once, at the end.
  mutating func finish() throws(BatonError) -> String {
    if shutdown(writer.number, CInt(SHUT_WR)) != 0 {
      throw BatonError(result: -Int(errno), Self.subject, doing: "telling it that this was all")
    }
    let said = try program.output(within: Self.secondsMax)
    let digits = said.prefix(while: \.isHexDigit)
    guard digits.count == 64 else { throw BatonError(.system, Self.subject, "says '\(said)', which is not a hash") }
    return String(digits)
  }
}

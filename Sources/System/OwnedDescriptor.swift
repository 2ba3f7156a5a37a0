import CBatonShims
import Glibc

/// A file descriptor that is closed when its owner goes.
public struct OwnedDescriptor: ~Copyable {
  /// The descriptor's number. Valid as long as this value lives.
  public let number: CInt

  /// Takes over a descriptor that a shim returned.
  public init(_ number: CInt) { self.number = number }

  deinit { if number >= 0 { close(number) } }

  /// Sees that this process may write a file up to that size, before anything of it is written: the limit on the size
  /// of files (RLIMIT_FSIZE, setrlimit(2)) is no error where it is met, but a signal, SIGXFSZ, that ends the process.
  /// And with that the next one, which does in its place what it had begun. A soft limit that is in the way is raised.
  public static func checkSizeLimit(_ bytes: UInt64, subject: String) throws(BatonError) {
    let limit = shim_raise_file_size_limit(bytes)
    guard limit >= bytes else {
      throw BatonError(
        .exhausted, subject, "has \(bytes) bytes, and the limit on the size of files is \(limit)",
        fix: "raise it with 'ulimit -f', or LimitFSIZE= in a systemd unit")
    }
  }

  /// Sets the size of the file behind it.
  public func setSize(_ bytes: UInt64, subject: String) throws(BatonError) {
    try Self.checkSizeLimit(bytes, subject: subject)
    if ftruncate(number, off_t(bytes)) != 0 {
      throw BatonError(result: -Int(errno), subject, doing: "setting its size to \(bytes)")
    }
  }

  /// Sets the size of the file behind it, and takes the room for it now. Mapped memory without pages behind
  /// it raises SIGBUS at the first touch; this fails with `.exhausted` before that.
  public func reserve(_ bytes: UInt64, subject: String) throws(BatonError) {
    try Self.checkSizeLimit(bytes, subject: subject)
    let failure = posix_fallocate(number, 0, off_t(bytes))
    if failure != 0 {
      throw BatonError(
        result: -Int(failure), subject, doing: "taking room for \(bytes) bytes",
        fix: "ask for less, or set BATON_HOME to a folder with more room (df)")
    }
  }

  /// Takes the pages of a file in memory that has its size already. In pieces, because a signal ends the call and
  /// undoes the piece.
  public func takePages(_ bytes: UInt64, subject: String) throws(BatonError) {
    let piece: UInt64 = 16 << 20
    let attemptsMax = 100
    for offset in stride(from: 0, to: bytes, by: Int(piece)) {
      var failure = EINTR
      for _ in 0..<attemptsMax where failure == EINTR {
        failure = posix_fallocate(number, off_t(offset), off_t(min(piece, bytes - offset)))
      }
      if failure != 0 {
        throw BatonError(
          result: -Int(failure), subject, doing: "taking \(bytes) bytes of memory", fix: "ask for a smaller arena")
      }
    }
  }

  /// Gives the descriptor away: the caller closes it.
  public consuming func release() -> CInt {
    let number = self.number
    discard self
    return number
  }
}

import Glibc

/// The one error that every floor throws. It names the thing, the problem and the fix.
public struct BatonError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The kind of error, for programs to decide upon.
  public enum Code: String, Sendable, Equatable {
    /// The thing does not exist.
    case missing
    /// The thing already exists, or somebody else holds it.
    case busy
    /// It is shorter than its header says.
    case truncated
    /// It is not one of ours.
    case foreign
    /// It is ours, but has another layout version.
    case wrongVersion
    /// It is ours, but its contents contradict themselves.
    case damaged
    /// The operating system denies it.
    case permission
    /// The kernel or the file system cannot do it.
    case unsupported
    /// A limit has been reached.
    case exhausted
    /// The caller asked for something that makes no sense.
    case invalid
    /// A system call failed for a reason that has no case of its own.
    case system
  }

  /// The kind of error.
  public let code: Code
  /// The thing: a path, a unit, a controller.
  public let subject: String
  /// The problem.
  public let problem: String
  /// What to do about it. Empty if nothing can be done.
  public let fix: String

  /// Names the thing, the problem and the fix.
  public init(_ code: Code, _ subject: String, _ problem: String, fix: String = "") {
    self.code = code
    self.subject = subject
    self.problem = problem
    self.fix = fix
  }

  /// One line: `thing: problem; fix`.
  public var description: String {
    fix.isEmpty ? "\(subject): \(problem)" : "\(subject): \(problem); \(fix)"
  }
}

extension BatonError {
  /// From a shim's negative result: `-errno` of the call that failed on `subject`.
  public init(result: Int, _ subject: String, doing action: String, fix: String = "") {
    let number = CInt(clamping: -result)
    let code: Code =
      switch number {
      case ENOENT, ECONNREFUSED, ENOTDIR: .missing
      case EACCES, EPERM, EROFS: .permission
      case EEXIST, EBUSY, EADDRINUSE, ETXTBSY: .busy
      case ENOSPC, ENOMEM, EMFILE, ENFILE, EDQUOT: .exhausted
      case ENOSYS, EOPNOTSUPP: .unsupported
      default: .system
      }
    let reason = strerror(number).map { String(cString: $0) } ?? "error \(number)"
    self.init(code, subject, "\(action) failed: \(reason)", fix: fix)
  }
}

/// Turns a shim's result into a value or a thrown error.
@discardableResult
public func check<Result: FixedWidthInteger & SignedInteger>(
  _ result: Result, _ subject: @autoclosure () -> String, doing action: @autoclosure () -> String,
  fix: @autoclosure () -> String = ""
) throws(BatonError) -> Result {
  if result < 0 { throw BatonError(result: Int(result), subject(), doing: action(), fix: fix()) }
  return result
}

import Glibc

/// The one error that every floor throws: it names the thing, says what is wrong with it, and how to fix it.
public struct BatonError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What kind of trouble it is, for a program to decide upon.
  public enum Code: String, Sendable, Equatable {
    /// The thing is not there.
    case missing
    /// The thing is there already, or somebody else holds it.
    case busy
    /// It is too short for what it says it is.
    case truncated
    /// It is not one of ours.
    case foreign
    /// It is ours, of another layout version.
    case wrongVersion
    /// It is ours, and its contents contradict themselves.
    case damaged
    /// The operating system does not let us.
    case permission
    /// The kernel or the file system cannot do it.
    case unsupported
    /// A limit is reached.
    case exhausted
    /// The caller asked for something that makes no sense.
    case invalid
    /// A system call failed in a way that has no name of its own here.
    case system
  }

  /// What kind of trouble it is.
  public let code: Code
  /// The thing: a path, a unit, a controller.
  public let subject: String
  /// What is wrong with it.
  public let problem: String
  /// What to do about it. Empty where there is nothing to do.
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

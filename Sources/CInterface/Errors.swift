import BatonSystem
import CBaton
import Glibc

// Errors: what is thrown in here becomes -errno, and words for `baton_last_error`.

/// Keeps an error for this thread.
///
/// - Returns: -errno.
func fail(_ error: BatonError) -> CInt {
  let (code, number) = numbers(of: error.code)
  return fail(code, number, error.subject, error.problem, error.fix)
}

func fail(
  _ code: baton_error_code, _ number: CInt, _ subject: String, _ problem: String, _ fix: String = ""
) -> CInt {
  subject.withCString { subject in
    problem.withCString { problem in
      fix.withCString { fix in shim_error_set(code.rawValue, subject, problem, fix) }
    }
  }
  return -number
}

/// The caller has given something that makes no sense.
func invalid(_ subject: String, _ problem: String, _ fix: String = "") -> CInt {
  fail(BATON_ERROR_INVALID, EINVAL, subject, problem, fix)
}

/// Something took longer than the caller allowed.
func late(_ subject: String, _ problem: String, _ fix: String = "") -> CInt {
  fail(BATON_ERROR_TIMEOUT, ETIMEDOUT, subject, problem, fix)
}

/// The two numbers of a code. A switch without a default: a new code must get its numbers here.
private func numbers(of code: BatonError.Code) -> (baton_error_code, CInt) {
  switch code {
  case .missing: (BATON_ERROR_MISSING, ENOENT)
  case .busy: (BATON_ERROR_BUSY, EBUSY)
  case .truncated: (BATON_ERROR_TRUNCATED, ENODATA)
  case .foreign: (BATON_ERROR_FOREIGN, ENOTTY)
  case .wrongVersion: (BATON_ERROR_WRONG_VERSION, EPROTO)
  case .damaged: (BATON_ERROR_DAMAGED, EBADMSG)
  case .permission: (BATON_ERROR_PERMISSION, EACCES)
  case .unsupported: (BATON_ERROR_UNSUPPORTED, EOPNOTSUPP)
  case .exhausted: (BATON_ERROR_EXHAUSTED, ENOSPC)
  case .invalid: (BATON_ERROR_INVALID, EINVAL)
  case .system: (BATON_ERROR_SYSTEM, EIO)
  }
}

/// Runs what may throw.
///
/// - Returns: its result, or -errno.
func caught(_ body: () throws(BatonError) -> CInt) -> CInt {
  do throws(BatonError) {
    return try body()
  } catch {
    return fail(error)
  }
}

// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation, AlwaysUseLowerCamelCase
// The functions are those of baton.h, which documents them.

import BatonChannel
import BatonSubsystem
import CBaton
import CBatonShims
import Glibc

// Versions, and words for numbers. Texts are made once, and stay.

// Unchecked: memory that is never written again, and never freed.
private struct Texts: @unchecked Sendable {
  let version: UnsafePointer<CChar>?
  let statuses: [UnsafePointer<CChar>?]
  let unknownStatus: UnsafePointer<CChar>?
  let counters: [UnsafePointer<CChar>?]

  static let shared = Texts()

  private init() {
    let commit = String(cString: shim_commit())
    let number = "\(BATON_VERSION_MAJOR).\(BATON_VERSION_MINOR).\(BATON_VERSION_PATCH)"
    version = UnsafePointer(strdup(commit.isEmpty ? number : "\(number) (commit \(commit))"))
    statuses = Status.allCases.map { UnsafePointer(strdup("\($0)")) }
    unknownStatus = UnsafePointer(strdup("a status that this library does not know"))
    counters = Counter.allCases.map { UnsafePointer(strdup($0.name)) }
  }
}

@c @implementation public func baton_version() -> UnsafePointer<CChar>? { Texts.shared.version }

@c @implementation public func baton_api_level() -> UInt32 { UInt32(BATON_API_LEVEL) }

@c @implementation public func baton_layout_version() -> UInt32 { UInt32(BATON_LAYOUT_VERSION) }

@c @implementation public func baton_status_text(_ status: UInt32) -> UnsafePointer<CChar>? {
  // The raw values count from 0 on, in the order of the cases.
  Int(status) < Texts.shared.statuses.count ? Texts.shared.statuses[Int(status)] : Texts.shared.unknownStatus
}

@c @implementation public func baton_status_errno(_ status: UInt32) -> CInt {
  guard let status = UInt8(exactly: status).flatMap({ Status(rawValue: $0) }) else { return EIO }
  return switch status {
  case .success: 0
  case .invalidOperation, .unsupported: EOPNOTSUPP
  case .noSuchUnit, .offline: ENXIO
  case .outOfRange, .misaligned, .zeroLength, .tooLong, .invalidValue: EINVAL
  case .badBuffer: EFAULT
  case .readOnly: EROFS
  case .inputOutputError, .controllerLost: EIO
  case .noSpace: ENOSPC
  case .leaving: EAGAIN
  case .inUse: EBUSY
  }
}

@c @implementation public func baton_counter_count() -> UInt32 { UInt32(Counter.allCases.count) }

@c @implementation public func baton_counter_name(_ counter: UInt32) -> UnsafePointer<CChar>? {
  Int(counter) < Texts.shared.counters.count ? Texts.shared.counters[Int(counter)] : nil
}

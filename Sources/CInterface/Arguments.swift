import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBaton
import Glibc

// What callers hand in: names, controllers, options that begin with their size, times.

func subsystem(_ name: UnsafePointer<CChar>?) throws(BatonError) -> Subsystem {
  guard let name else { throw BatonError(.invalid, "subsystem", "has no name: NULL was given", fix: "name it") }
  return try Subsystem(String(cString: name))
}

func controller(_ which: UInt32) throws(BatonError) -> ControllerIdentity {
  switch which {
  case UInt32(BATON_A): return .a
  case UInt32(BATON_B): return .b
  default:
    throw BatonError(.invalid, "controller \(which)", "does not exist", fix: "use BATON_A or BATON_B")
  }
}

func controllers(_ mask: UInt32) throws(BatonError) -> [ControllerIdentity] {
  guard mask != 0, mask & ~UInt32(BATON_MASK_BOTH) == 0 else {
    throw BatonError(
      .invalid, "mask \(mask)", "names no controllers", fix: "use BATON_MASK_A, BATON_MASK_B or BATON_MASK_BOTH")
  }
  return ControllerIdentity.allCases.filter { mask & 1 << UInt32($0.index) != 0 }
}

func strategy(_ wait: UInt32, spin nanoseconds: UInt64) throws(BatonError) -> WaitStrategy {
  switch baton_wait(rawValue: wait) {
  case BATON_WAIT_ADAPTIVE: return .adaptive(spinNanoseconds: nanoseconds)
  case BATON_WAIT_SPIN: return .spin
  case BATON_WAIT_PARK: return .park
  default:
    throw BatonError(.invalid, "wait strategy \(wait)", "does not exist", fix: "use one of enum baton_wait")
  }
}

/// The spin of the adaptive strategy by default.
var standardSpinNanoseconds: UInt64 {
  if case .adaptive(let nanoseconds) = WaitStrategy.standard { return nanoseconds }
  return 0
}

/// A point in time from now on; a negative time is never.
func deadline(_ nanoseconds: Int64) -> UInt64 {
  nanoseconds < 0 ? UInt64.max : monotonicNanoseconds() &+ UInt64(nanoseconds)
}

/// A structure of options begins with its size.
protocol SizedOptions {
  var size: UInt32 { get set }
  static var defaults: Self { get }
}

extension SizedOptions {
  /// What the caller has set, and defaults for what its header did not have.
  ///
  /// - Throws: if it sets something that this library does not know.
  static func given(_ options: UnsafePointer<Self>?) throws(BatonError) -> Self {
    var result = defaults
    guard let options else { return result }
    let given = Int(UnsafeRawPointer(options).load(as: UInt32.self))
    let known = MemoryLayout<Self>.size
    guard given >= MemoryLayout<UInt32>.size, given <= 4096 else {
      throw BatonError(
        .invalid, "\(Self.self)", "says that it has \(given) bytes", fix: "call its _init function first")
    }
    let bytes = UnsafeRawBufferPointer(start: options, count: given)
    guard bytes.dropFirst(known).allSatisfy({ $0 == 0 }) else {
      throw BatonError(
        .unsupported, "\(Self.self)", "sets an option that this library does not know",
        fix: "use the library that the header belongs to, or a newer one")
    }
    withUnsafeMutableBytes(of: &result) { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(known))) }
    return result
  }

  /// The defaults, as far as the caller's structure has room for them.
  static func initialize(_ options: UnsafeMutablePointer<Self>?, _ size: Int) {
    guard let options, size >= MemoryLayout<UInt32>.size else { return }
    var result = defaults
    let count = min(size, MemoryLayout<Self>.size)
    result.size = UInt32(clamping: size)
    let bytes = UnsafeMutableRawBufferPointer(start: options, count: size)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    withUnsafeBytes(of: &result) { bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
  }
}

/// A handle that a caller is to get: `make` is called only if there is a place for it.
func opened<Value: ~Copyable>(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ make: () throws(BatonError) -> Value
) -> CInt {
  guard let place else { return invalid("handle", "has no place: NULL was given") }
  place.pointee = nil
  do throws(BatonError) {
    let value = try make()
    let memory = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    memory.initialize(to: value)
    place.pointee = OpaquePointer(memory)
    return 0
  } catch {
    return fail(error)
  }
}

/// Ends what a handle stands for.
func closed<Value: ~Copyable>(_ place: UnsafeMutablePointer<OpaquePointer?>?, _: Value.Type) {
  guard let place, let handle = place.pointee else { return }
  place.pointee = nil
  let memory = UnsafeMutablePointer<Value>(handle)
  memory.deinitialize(count: 1)
  memory.deallocate()
}

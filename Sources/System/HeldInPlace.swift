import Synchronization

/// A field of this type makes Swift pass the struct around it by address, not by value.
///
/// Swift hands a struct to a function that only borrows it by value where it can, and copies a large one to the stack
/// for that, word by word, though nobody owns a second one: some hundred words for a controller that is asked whether
/// it serves. A struct that holds an `Atomic` has an address that matters (SE-0410), and is passed by that address.
public struct HeldInPlace: ~Copyable {
  private let word = Atomic<UInt8>(0)

  /// A field of a struct.
  public init() {}
}

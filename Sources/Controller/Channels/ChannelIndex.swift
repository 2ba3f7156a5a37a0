import BatonOwnership
import BatonSubsystem

/// A host's place with a controller, in its tables and in its journal.
struct HostPlace: Equatable {
  let number: Int

  @inline(__always)
  init(_ number: Int) {
    assert(number >= 0 && number < Journal.hostPlaces, "a host place that no journal has")
    self.number = number
  }

  /// All places.
  static var all: LazyMapSequence<Range<Int>, HostPlace> { (0..<Journal.hostPlaces).lazy.map { HostPlace($0) } }

  /// The host's channel to a controller.
  @inline(__always)
  func channel(to controller: ControllerIdentity) -> ChannelIndex { ChannelIndex(number << 1 | controller.index) }
}

/// The number of a channel with a controller: two for each host place, the one to controller a first.
struct ChannelIndex: Equatable {
  let number: Int

  @inline(__always)
  init(_ number: Int) {
    assert(number >= 0 && number < Self.count, "a channel that no controller has")
    self.number = number
  }

  /// Channels of a controller.
  static var count: Int { 2 * Journal.hostPlaces }

  /// The place of its host.
  @inline(__always)
  var place: HostPlace { HostPlace(number >> 1) }

  /// The controller that it leads to: another controller serves it only in that one's place.
  @inline(__always)
  var controller: ControllerIdentity { number & 1 == 0 ? .a : .b }
}

import ArgumentParser
import Baton

/// The kind and order of requests, in fio's words.
package enum AccessPattern: String, ExpressibleByArgument, CaseIterable {
  case read, write, randread, randwrite, rw, randrw

  package var isRandom: Bool { rawValue.hasPrefix("rand") }

  /// Whether a request reads, if `percent` of a mixture do.
  package func reads(_ random: inout SplitMix64, percent: Int) -> Bool {
    switch self {
    case .read, .randread: true
    case .write, .randwrite: false
    case .rw, .randrw: random.below(100) < UInt64(percent)
    }
  }
}

/// The controller that each request goes to.
package enum PathChoice: String, ExpressibleByArgument, CaseIterable {
  case a, b, both

  /// The controller of the request with that number.
  package func controller(_ number: UInt64) -> ControllerIdentity {
    switch self {
    case .a: .a
    case .b: .b
    case .both: number & 1 == 0 ? .a : .b
    }
  }
}

/// What came of a run, slice by slice of its time.
package struct Timeline: Sendable {
  /// The requests of one direction that were answered in one slice.
  package struct Cell: Sendable {
    package var requests: UInt64 = 0
    package var bytes: UInt64 = 0
    /// Of all latencies, in nanoseconds.
    package var latencySum: UInt64 = 0
    package var latencyMax: UInt64 = 0

    mutating func record(_ latency: UInt64, bytes: UInt64) {
      requests += 1
      self.bytes += bytes
      latencySum += latency
      latencyMax = max(latencyMax, latency)
    }

    mutating func add(_ other: Cell) {
      requests += other.requests
      bytes += other.bytes
      latencySum += other.latencySum
      latencyMax = max(latencyMax, other.latencyMax)
    }

    /// In nanoseconds; nil: no request was answered.
    package var latencyMean: Double? { requests == 0 ? nil : Double(latencySum) / Double(requests) }
  }

  package struct Slice: Sendable {
    package var reads = Cell()
    package var writes = Cell()
  }

  /// Of one slice, in nanoseconds.
  package let period: UInt64
  package private(set) var slices: [Slice] = []
  private var start: UInt64
  /// The end of the present slice.
  private var end: UInt64

  /// From `start` on.
  package init(period: UInt64, start: UInt64) {
    self.period = period
    self.start = start
    end = start &+ period
    slices.append(Slice())
  }

  /// An answer at that time.
  package mutating func record(_ latency: UInt64, bytes: UInt64, isRead: Bool, at now: UInt64) {
    advance(to: now)
    if isRead {
      slices[slices.count - 1].reads.record(latency, bytes: bytes)
    } else {
      slices[slices.count - 1].writes.record(latency, bytes: bytes)
    }
  }

  /// The run goes on at that time: a slice without an answer exists too.
  package mutating func advance(to now: UInt64) {
    while now >= end {
      slices.append(Slice())
      end &+= period
    }
  }

  /// Takes in what another host had at the same time, counted from its own start.
  package mutating func add(_ other: Timeline) {
    for (index, slice) in other.slices.enumerated() {
      if index == slices.count { slices.append(Slice()) }
      slices[index].reads.add(slice.reads)
      slices[index].writes.add(slice.writes)
    }
  }
}

import BatonSystem
import Glibc

/// What is recorded of a run besides the sums.
package struct RecordingPlan: Sendable, Equatable {
  /// The length of one slice of the run's time.
  package var periodNanoseconds: UInt64
  /// Whether each slice has histograms of its own.
  package var hasHistograms = false

  package init(periodNanoseconds: UInt64) { self.periodNanoseconds = periodNanoseconds }
}

/// Rates and latencies over the time of a run, and a histogram for each slice of it.
package struct Recorder: Sendable {
  package private(set) var timeline: Timeline
  /// Empty without histograms.
  package private(set) var readIntervals: [IntervalHistograms.Interval] = []
  package private(set) var writeIntervals: [IntervalHistograms.Interval] = []
  /// When it began, in seconds since 1970.
  package let wallClock: Double
  private var reads: IntervalHistograms?
  private var writes: IntervalHistograms?

  /// From `start` on, which is now or has just been.
  package init(_ plan: RecordingPlan, start: UInt64) {
    timeline = Timeline(period: plan.periodNanoseconds, start: start)
    if plan.hasHistograms {
      reads = IntervalHistograms()
      writes = IntervalHistograms()
    }
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    let age = monotonicNanoseconds() &- start
    wallClock = Double(time.tv_sec) + (Double(time.tv_nsec) - Double(age)) / 1e9
  }

  package mutating func record(_ latency: UInt64, bytes: UInt64, isRead: Bool, at now: UInt64) {
    advance(to: now)
    timeline.record(latency, bytes: bytes, isRead: isRead, at: now)
    if isRead { reads?.record(latency) } else { writes?.record(latency) }
  }

  /// The run goes on at that time.
  package mutating func advance(to now: UInt64) {
    let before = timeline.slices.count
    timeline.advance(to: now)
    if reads != nil { for _ in before..<timeline.slices.count { endInterval() } }
  }

  private mutating func endInterval() {
    reads?.endInterval()
    writes?.endInterval()
  }

  /// The run is over at that time: the last slice ends with it.
  package mutating func finish(at now: UInt64) {
    advance(to: now)
    endInterval()
    readIntervals = reads?.intervals ?? []
    writeIntervals = writes?.intervals ?? []
    reads = nil
    writes = nil
  }

  /// Takes in what another host recorded at the same time, once both are finished.
  package mutating func add(_ other: Recorder) {
    timeline.add(other.timeline)
    Self.add(other.readIntervals, to: &readIntervals)
    Self.add(other.writeIntervals, to: &writeIntervals)
  }

  private static func add(_ more: [IntervalHistograms.Interval], to intervals: inout [IntervalHistograms.Interval]) {
    for (index, interval) in more.enumerated() {
      if index == intervals.count {
        intervals.append(interval)
      } else {
        intervals[index] = intervals[index].adding(interval)
      }
    }
  }

  /// HdrHistogram's log of a run that took so many seconds.
  package func histogramLog(seconds: Double) -> String {
    var log = HistogramLog(version: BuildVersion.number, wallClock: wallClock)
    let period = Double(timeline.period) / 1e9
    for index in readIntervals.indices {
      let start = Double(index) * period
      let length = min(period, seconds - start)
      if length <= 0 { break }
      for (tag, intervals) in [("read", readIntervals), ("write", writeIntervals)]
      where !intervals[index].counts.isEmpty {
        log.append(intervals[index], tag: tag, start: start, seconds: length)
      }
    }
    return log.text
  }
}

import Testing

@testable import BatonCommandKit

@Suite("Recording: slices of time, and HdrHistogram's form of them")
struct RecordingTests {
  @Test("Each answer is in the slice of its time, and a slice without one exists too")
  func timeline() {
    var timeline = Timeline(period: 100, start: 1000)
    timeline.record(5, bytes: 512, isRead: true, at: 1000)
    timeline.record(7, bytes: 512, isRead: true, at: 1099)
    timeline.record(9, bytes: 1024, isRead: false, at: 1100)
    timeline.record(11, bytes: 512, isRead: true, at: 1350)
    timeline.advance(to: 1400)
    #expect(timeline.slices.map(\.reads.requests) == [2, 0, 0, 1, 0])
    #expect(timeline.slices.map(\.writes.bytes) == [0, 1024, 0, 0, 0])
    #expect(timeline.slices[0].reads.latencyMean == 6 && timeline.slices[0].reads.latencyMax == 7)
    #expect(timeline.slices[2].reads.latencyMean == nil)
    var other = Timeline(period: 100, start: 5000)
    other.record(20, bytes: 512, isRead: true, at: 5550)
    timeline.add(other)
    #expect(timeline.slices.map(\.reads.requests) == [2, 0, 0, 1, 0, 1])
  }

  @Test("A place in HdrHistogram's array holds values that differ by a thousandth at most")
  func places() {
    #expect(IntervalHistograms.index(of: 0) == 0 && IntervalHistograms.index(of: 2047) == 2047)
    #expect(IntervalHistograms.index(of: 2048) == 2048 && IntervalHistograms.index(of: 2049) == 2048)
    var value: UInt64 = 1
    while value < IntervalHistograms.highest {
      let index = IntervalHistograms.index(of: value)
      let highest = IntervalHistograms.highestValue(at: index)
      #expect(highest >= value && highest - value <= value / 1000)
      #expect(IntervalHistograms.index(of: highest) == index && IntervalHistograms.index(of: highest + 1) == index + 1)
      value = value * 3 + 1
    }
    // Longer than an hour counts as an hour.
    #expect(IntervalHistograms.index(of: .max) == IntervalHistograms.index(of: IntervalHistograms.highest))
  }

  @Test("Intervals have what was recorded in them, and add up")
  func intervals() {
    var histograms = IntervalHistograms()
    for value in [3, 1, 3] as [UInt64] { histograms.record(value) }
    histograms.endInterval()
    histograms.record(5)
    histograms.endInterval()
    histograms.endInterval()
    typealias Count = IntervalHistograms.Interval.Count
    #expect(histograms.intervals[0].counts == [Count(index: 1, count: 1), Count(index: 3, count: 2)])
    #expect(histograms.intervals[1].counts == [Count(index: 5, count: 1)])
    #expect(histograms.intervals[2].counts.isEmpty)
    let sum = histograms.intervals[0].adding(.init(counts: [Count(index: 2, count: 4), Count(index: 3, count: 1)]))
    #expect(sum.counts == [Count(index: 1, count: 1), Count(index: 2, count: 4), Count(index: 3, count: 3)])
  }

  @Test("The V2 form: a header of 40 bytes, counts as ZigZag, runs of zeroes as negative numbers")
  func encoding() {
    let interval = IntervalHistograms.Interval(counts: [
      .init(index: 1, count: 1), .init(index: 200, count: 100), .init(index: 201, count: 2),
    ])
    let bytes = HistogramLog.encoded(interval)
    #expect(Array(bytes[..<16]) == [0x1c, 0x84, 0x93, 0x13, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 3])
    #expect(Array(bytes[16..<24]) == [0, 0, 0, 0, 0, 0, 0, 1])
    #expect(Array(bytes[32..<40]) == [0x3f, 0xf0, 0, 0, 0, 0, 0, 0])
    // One zero, 1, 198 zeroes (-198 is 395), 100 (200), 2 (4).
    #expect(Array(bytes[40...]) == [0, 2, 0x8b, 3, 0xc8, 1, 4])
  }

  @Test("fio's logs: the last slice is as long as the run was")
  func fioLogs() {
    var timeline = Timeline(period: 1_000_000_000, start: 0)
    for _ in 0..<10 { timeline.record(2000, bytes: 1024, isRead: true, at: 5) }
    for _ in 0..<10 { timeline.record(4000, bytes: 2048, isRead: false, at: 1_200_000_000) }
    #expect(FioLogs.text(.iops, timeline, seconds: 1.5) == "1000, 10, 0, 0, 0\n1500, 20, 1, 0, 0\n")
    #expect(FioLogs.text(.bandwidth, timeline, seconds: 1.5) == "1000, 10, 0, 0, 0\n1500, 40, 1, 0, 0\n")
    #expect(FioLogs.text(.latency, timeline, seconds: 1.5) == "1000, 2000, 0, 0, 0\n1500, 4000, 1, 0, 0\n")
  }
}

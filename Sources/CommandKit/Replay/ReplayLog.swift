import Baton
import BatonSystem

/// The requests that somebody else made, from a log: when, what and where.
package struct ReplayLog: Sendable {
  package struct Entry: Sendable, Equatable {
    /// Nanoseconds from the log's start.
    package var at: UInt64
    package var isRead: Bool
    /// The device or file, numbered as they come in the log.
    package var device: Int
    package var offset: UInt64
    package var length: UInt64

    package init(at: UInt64, isRead: Bool, device: Int, offset: UInt64, length: UInt64) {
      self.at = at
      self.isRead = isRead
      self.device = device
      self.offset = offset
      self.length = length
    }
  }

  package enum Format: String, Sendable {
    case fio2 = "fio's iolog, version 2"
    case fio3 = "fio's iolog, version 3"
    case blkparse = "blkparse's text"
    case msr = "MSR Cambridge CSV"
    case alibaba = "Alibaba CSV"
  }

  package let format: Format
  /// In the order of their times.
  package let entries: [Entry]
  package let devices: Int
  /// Requests of other kinds, which are left out.
  package let leftOut: Int
  /// From its start to its last request.
  package var nanoseconds: UInt64 { entries.last?.at ?? 0 }

  package init(format: Format, entries: [Entry], devices: Int, leftOut: Int) {
    self.format = format
    // A log of several CPUs is not in order; one time keeps the order of the lines.
    let isSorted = zip(entries, entries.dropFirst()).allSatisfy { $0.at <= $1.at }
    self.entries =
      isSorted
      ? entries
      : entries.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }.map(\.element)
    self.devices = devices
    self.leftOut = leftOut
  }

  /// The same requests in the same order, all due at once.
  package var withoutTimes: ReplayLog {
    let entries = entries.map { entry in
      var entry = entry
      entry.at = 0
      return entry
    }
    return ReplayLog(format: format, entries: entries, devices: devices, leftOut: leftOut)
  }
}

/// A log as requests to the targets of a workload.
package struct ReplayPlan: Sendable {
  struct Step: Sendable, Equatable {
    let at: UInt64
    let isRead: Bool
    let target: Int
    /// In its target.
    let grain: Int
    let grains: Int
  }

  let steps: [Step]
  /// The length of one grain, and of the longest request.
  package let grainSize: Int
  package let longest: Int
  /// From the start to the due time of the last request.
  package var nanoseconds: UInt64 { steps.last?.at ?? 0 }
  package var count: Int { steps.count }
  /// What it was made from.
  package let format: ReplayLog.Format
  package let leftOut: Int
  /// Whether offsets had to be scaled, because a device was larger than its target.
  package let isScaled: Bool

  /// Longer requests become several that are due at the same time: every request that can be outstanding has its
  /// buffer.
  private static let lengthMax: UInt64 = 1 << 20

  /// Each device of the log has a target, in turn. Where a device is larger than its target, its offsets are scaled by
  /// the same factor, and lengths stay.
  ///
  /// `timeScale` is in percent of the log's rate, as fio has it: 200 takes half of the time.
  package init(_ log: ReplayLog, on targets: [WorkloadTarget], grainSize: Int, timeScale: Double) {
    let grain = UInt64(grainSize)
    var ends = [UInt64](repeating: 0, count: log.devices)
    for entry in log.entries { ends[entry.device] = max(ends[entry.device], entry.offset &+ entry.length) }
    let sizes = targets.map { $0.size / grain * grain }
    isScaled = ends.indices.contains { ends[$0] > sizes[$0 % targets.count] }
    let longestMax = min(Self.lengthMax, sizes.min() ?? grain) / grain * grain
    var steps: [Step] = []
    steps.reserveCapacity(log.entries.count)
    for entry in log.entries {
      let target = entry.device % targets.count
      let size = sizes[target]
      let end = ends[entry.device]
      var offset = entry.offset
      if end > size { offset = end.dividingFullWidth(offset.multipliedFullWidth(by: size)).quotient }
      offset = offset / grain * grain
      // What a request touches, in whole blocks.
      var left = min((entry.length + grain - 1) / grain * grain, size)
      if end <= size { left = min((entry.offset + entry.length + grain - 1) / grain * grain - offset, size) }
      offset = min(offset, size - left)
      let at = timeScale == 100 ? entry.at : UInt64(Double(entry.at) * 100 / timeScale)
      repeat {
        let length = min(left, longestMax)
        steps.append(
          Step(
            at: at, isRead: entry.isRead, target: target, grain: Int(offset / grain), grains: Int(length / grain)))
        offset += length
        left -= length
      } while left > 0
    }
    self.steps = steps
    format = log.format
    leftOut = log.leftOut
    self.grainSize = grainSize
    longest = (steps.map(\.grains).max() ?? 1) * grainSize
  }
}

import Glibc

/// The time of day, for logs that are read side by side.
package enum WallClock {
  /// `05:46:37.123456`, in UTC.
  package static var now: String {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    func padded(_ value: Int, _ digits: Int) -> String {
      let text = String(value)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    let second = Int(time.tv_sec) % 86_400
    return "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
      + ".\(padded(Int(time.tv_nsec) / 1000, 6))"
  }
}

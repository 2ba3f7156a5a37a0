/// What a controller knows of its own sleep: what it has said to those who may have to wake it. See `SleepWord`.
struct SleepState {
  /// Whether the words say that this controller is drowsy, when it is awake.
  var isDrowsy = false
  /// Whether everybody who looks at the words is known to see that, or something newer.
  var isHeeded = false
  /// Whether every word says at present that it sleeps.
  var isLyingDown = false
  /// Requests taken until it last lay down.
  var requestsBefore: UInt64 = 0
}

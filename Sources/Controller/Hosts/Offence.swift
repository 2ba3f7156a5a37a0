/// How a host broke the protocol of its channel.
enum Offence: CustomStringConvertible {
  /// A submission that does not carry the channel's next number.
  case wrongSequence(found: UInt64, due: UInt64)
  /// A request that names a line as the next which is none, is its own, or belongs to one that is outstanding.
  case wrongNext(Int, outstanding: Int)
  /// Lines that contradict each other, found when the host attached or the controller took over its channel.
  case wrongLines

  var description: String {
    switch self {
    case .wrongSequence(let found, let due): "a request with number \(found) where \(due) was due"
    case .wrongNext(let line, let outstanding):
      "a request that names line \(line) as the next, with \(outstanding) outstanding"
    case .wrongLines: "lines that contradict each other"
    }
  }
}

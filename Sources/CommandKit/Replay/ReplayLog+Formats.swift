import Baton
import BatonSystem

// The formats, told apart by their first line. What each line means is cited where it is read.
extension ReplayLog {
  /// Requests that one log may have: 40 bytes of memory each.
  private static let entriesMax = 50_000_000

  /// Reads a log.
  ///
  /// - Throws: an error with the line that is wrong, or that has no known form.
  package init(at path: String) throws(BatonError) {
    var reader = Reader(path: path)
    try InputFile.forEachLine(of: path, fix: "name a log of fio, blkparse, MSR or Alibaba") {
      line, number throws(BatonError) in
      try reader.read(line, number)
      if reader.entries.count > Self.entriesMax {
        throw BatonError(.exhausted, path, "has more than \(Self.entriesMax) requests", fix: "split it")
      }
    }
    let entries = reader.finished
    guard let format = reader.format, !entries.isEmpty else {
      throw BatonError(
        .invalid, path, "has no request", fix: "name a log of fio, blkparse, MSR or Alibaba that has reads or writes")
    }
    self.init(format: format, entries: entries, devices: reader.devices.count, leftOut: reader.leftOut)
  }

  /// Reads one line after the other.
  struct Reader {
    let path: String
    private(set) var format: Format?
    private(set) var entries: [Entry] = []
    private(set) var devices: [String: Int] = [:]
    private(set) var leftOut = 0
    /// fio's version 2 has no times but those of `wait`.
    private var waited: UInt64 = 0
    /// blkparse has several lines for a request: it is queued (Q), and later issued to the driver (D).
    private var issued: [Entry] = []

    init(path: String) { self.path = path }

    /// The requests, with times from the first one on where the log counts from somewhere else.
    var finished: [Entry] {
      let entries = entries.isEmpty ? issued : entries
      if format == .fio2 || format == .fio3 { return entries }
      let first = entries.map(\.at).min() ?? 0
      return entries.map { entry in
        var entry = entry
        entry.at -= first
        return entry
      }
    }

    mutating func read(_ line: String, _ number: Int) throws(BatonError) {
      if line.allSatisfy({ $0.isWhitespace }) { return }
      guard let format else {
        format = try recognize(line, number)
        // The first line of a table is a request, or the names of its columns.
        if format == .blkparse || format == .msr || format == .alibaba { try read(line, number) }
        return
      }
      let isRead =
        switch format {
        case .fio2: readFio(line, hasTime: false)
        case .fio3: readFio(line, hasTime: true)
        case .blkparse: readBlkparse(line)
        case .msr: readMSR(line)
        case .alibaba: readAlibaba(line)
        }
      if !isRead, !(number == 1 && format != .blkparse) { throw wrong(number, "is no line of \(format.rawValue)") }
    }

    private func wrong(_ number: Int, _ problem: String) -> BatonError {
      BatonError(.invalid, "\(path):\(number)", problem, fix: "repair or remove the line")
    }

    private func recognize(_ line: String, _ number: Int) throws(BatonError) -> Format {
      switch line {
      case "fio version 2 iolog": return .fio2
      case "fio version 3 iolog": return .fio3
      default: break
      }
      let columns = line.split(separator: ",", omittingEmptySubsequences: false).count
      if columns == 7 { return .msr }
      if columns == 5 { return .alibaba }
      let words = line.split(separator: " ")
      if words.count >= 7, words[0].split(separator: ",").count == 2 { return .blkparse }
      throw BatonError(
        .invalid, "\(path):\(number)", "begins no log that is known",
        fix: "name fio's iolog (version 2 or 3), blkparse's text, or a CSV of MSR (7 columns) or Alibaba (5 columns)")
    }

    private mutating func device(_ name: some StringProtocol) -> Int {
      let name = String(name)
      if let number = devices[name] { return number }
      devices[name] = devices.count
      return devices.count - 1
    }

    /// fio, HOWTO, "Trace file format": `[time] file action [offset length]`, in bytes. Version 3 has microseconds
    /// (iolog.c, log_io_u: utime_since_now); version 2 has lines `file wait microseconds`, each after the one before.
    private mutating func readFio(_ line: String, hasTime: Bool) -> Bool {
      var words = line.split(separator: " ")[...]
      var microseconds: UInt64 = waited
      if hasTime {
        guard let time = words.first.flatMap({ UInt64($0) }) else { return false }
        microseconds = time
        words = words.dropFirst()
      }
      guard words.count >= 2, microseconds < .max / 1000 else { return false }
      let fields = Array(words)
      switch (fields[1], fields.count) {
      case ("add", 2), ("open", 2), ("close", 2): return true
      case ("wait", 3...):
        guard let time = UInt64(fields[2]) else { return false }
        waited = waited.addingReportingOverflow(time).overflow ? waited : waited + time
        return true
      case ("read", 4), ("write", 4):
        guard let offset = UInt64(fields[2]), let length = UInt64(fields[3]) else { return false }
        return append(
          at: microseconds * 1000, isRead: fields[1] == "read", fields[0], offset: offset, length: length)
      case ("trim", 4), ("sync", 2...), ("datasync", 2...), ("sync_file_range", 2...):
        leftOut += 1
        return true
      default: return false
      }
    }

    /// blkparse(1), default output: `device cpu sequence seconds pid action RWBS sector + count [process]`, sectors of
    /// 512 bytes. Lines of other forms, such as its summary, are no requests.
    private mutating func readBlkparse(_ line: String) -> Bool {
      let fields = line.split(separator: " ")
      guard fields.count >= 7, fields[0].contains(","), let seconds = Double(fields[3]), seconds >= 0, seconds < 1e9
      else {
        return true
      }
      let (action, kind) = (fields[5], fields[6])
      guard action == "Q" || action == "D" else { return true }
      guard fields.count >= 10, fields[8] == "+", let sector = UInt64(fields[7]), let count = UInt64(fields[9]),
        kind.contains("R") || kind.contains("W"), !kind.contains("D"), count > 0, sector < 1 << 54
      else {
        if action == "Q" { leftOut += 1 }
        return true
      }
      let entry = Entry(
        at: UInt64(seconds * 1e9), isRead: kind.contains("R"), device: device(fields[0]), offset: sector * 512,
        length: count * 512)
      if action == "Q" { entries.append(entry) } else { issued.append(entry) }
      return true
    }

    /// MSR Cambridge traces: `Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime`; times in 100 nanoseconds
    /// (Windows' file time), offset and size in bytes.
    private mutating func readMSR(_ line: String) -> Bool {
      let fields = line.split(separator: ",", omittingEmptySubsequences: false)
      guard fields.count == 7, let time = UInt64(fields[0]), let offset = UInt64(fields[4]),
        let length = UInt64(fields[5])
      else { return false }
      // Counted from 1601, nanoseconds would not fit; one that is before the log's first is as late.
      if base == nil { base = time }
      let ticks = time - min(base ?? time, time)
      guard ticks < .max / 100 else { return false }
      switch fields[3].lowercased() {
      case "read", "write":
        return append(
          at: ticks * 100, isRead: fields[3].lowercased() == "read", "\(fields[1]).\(fields[2])", offset: offset,
          length: length)
      default: return false
      }
    }

    private var base: UInt64?

    /// Alibaba block traces: `device_id,opcode,offset,length,timestamp`; R or W, bytes, microseconds.
    private mutating func readAlibaba(_ line: String) -> Bool {
      let fields = line.split(separator: ",", omittingEmptySubsequences: false)
      guard fields.count == 5, fields[1] == "R" || fields[1] == "W", let offset = UInt64(fields[2]),
        let length = UInt64(fields[3]), let time = UInt64(fields[4]), time < .max / 1000
      else { return false }
      return append(at: time * 1000, isRead: fields[1] == "R", fields[0], offset: offset, length: length)
    }

    private mutating func append(
      at: UInt64, isRead: Bool, _ name: some StringProtocol, offset: UInt64, length: UInt64
    ) -> Bool {
      guard length <= 1 << 40, offset <= 1 << 62 else { return false }
      let device = device(name)
      if length == 0 {
        leftOut += 1
      } else {
        entries.append(Entry(at: at, isRead: isRead, device: device, offset: offset, length: length))
      }
      return true
    }
  }
}

import Baton
import BatonCommandKit
import BatonSubsystem
import Glibc

/// The remains of a failed run: the folder of its scratch files with all that is known of the failure. Units lie where
/// the region says, so that `baton status FOLDER` and `baton controller FOLDER a` work.
///
///     what         what was wrong, and what there is in this folder
///     again        a script that repeats the same faults, in the same order, with the same pauses
///     schedule     the faults as they happened
///     operations   the last operations on the block that was wrong, with what was expected and what was found
///     found        that block, as the read found it
///     log          the controllers' log lines and the faults, with times and levels
///     report.json  the report
///     region       the controllers' region, as it was when the failure was seen and the controllers were killed
///     unit0, ...   the units' files
struct StressFailure {
  let folder: String
  let what: String
  /// The options of the run, as words of a command line, without the schedule.
  let options: [String]

  /// Writes all of it, as far as that is possible: a file that cannot be written is reported and changes nothing.
  func write(_ subsystem: Subsystem, _ driver: StressDriver, _ log: StressLog, _ ledger: StressLedger) {
    keep(subsystem.location.region, as: "region")
    if log.path != "\(folder)/log" { keep(log.path, as: "log") }
    unlink("\(folder)/press")
    write("what", "\(what)\n\n\(Self.contents)")
    write("schedule", driver.record.text)
    write("again", script(hasSchedule: !driver.record.faults.isEmpty))
    if chmod("\(folder)/again", 0o755) != 0 { tell("again", errno) }
    guard let evidence = ledger.evidence else { return }
    write("operations", operations(evidence, ledger, driver.hosts, since: driver.startedAt))
    if !evidence.bytes.isEmpty { write("found", bytes: evidence.bytes) }
  }

  /// One more file, such as the report, once there is one. `write` gets its path.
  func note(_ name: String, _ write: (String) throws -> Void) {
    do { try write("\(folder)/\(name)") } catch {
      Console.error("baton: \(folder)/\(name) cannot be written: \(error)")
    }
  }

  private static let contents = """
    again        a script that does the same faults again, in the same order, with the same pauses; how far processes
                 have come by then is the machine's choice, so run it several times
    schedule     the faults as they happened, with times since the beginning
    operations   the last operations on the block that was wrong, with what was expected and what was found
    found        that block, as the read found it
    log          what the controllers said and what was done to them; times of day are in UTC
    report.json  the report
    region       the controllers' region: 'baton status' takes the path of this folder in place of a name
    unit0, ...   the units' files

    """

  private func script(hasSchedule: Bool) -> String {
    let program = (try? BatonProgram.shipped())?.path ?? "baton"
    let words = options.map { Self.quoted($0) }.joined(separator: " ")
    let schedule = hasSchedule ? " --schedule \"$(dirname \"$0\")/schedule\"" : ""
    return """
      #!/bin/sh
      # Does the same faults again, in the same order, with the same pauses. BATON names another program.
      exec "${BATON:-\(program)}" stress \(words)\(schedule) "$@"

      """
  }

  /// A word as a shell takes it.
  private static func quoted(_ word: String) -> String {
    let isPlain = word.utf8.allSatisfy { $0 > 0x2c && $0 < 0x3b || $0 > 0x40 && $0 < 0x5b || $0 > 0x60 && $0 < 0x7b }
    if isPlain, !word.isEmpty { return word }
    return "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }

  private func operations(
    _ evidence: StressEvidence, _ ledger: StressLedger, _ hosts: [StressHost], since start: UInt64
  ) -> String {
    let (target, block) = (evidence.target, evidence.block)
    var lines = [what, "", ledger.name(target, block)]
    if !evidence.expected.isEmpty { lines.append("expected: \(evidence.expected)") }
    if !evidence.found.isEmpty { lines.append("found:    \(Stamp.describe(evidence.found))") }
    lines += ["", "Answered, in the order of their answers; a write is named by its number among those of its block:"]
    lines += ledger.operations[ledger.index(target, block)].operations.map { $0.line(since: start) }
    let outstanding = hosts.flatMap { $0.outstanding(target, block) }
    lines += ["", outstanding.isEmpty ? "Nothing was outstanding on it." : "Outstanding:"]
    lines += outstanding.map { $0.line(since: start) }
    return lines.map { $0 + "\n" }.joined()
  }

  private func keep(_ path: String, as name: String) {
    do { write(name, bytes: try InputFile.read(path, bytesMax: Self.regionBytesMax)) } catch {
      Console.error("baton: \(folder)/\(name) is missing: \(error)")
    }
  }

  /// More than a log has lines for, and more than a region with as many units as there can be.
  private static let regionBytesMax = 1 << 28

  private func write(_ name: String, _ text: String) { write(name, bytes: Array(text.utf8)) }

  private func write(_ name: String, bytes: [UInt8]) {
    guard let file = fopen("\(folder)/\(name)", "w") else { return tell(name, errno) }
    let count = fwrite(bytes, 1, bytes.count, file)
    let failure = errno
    if fclose(file) != 0 { return tell(name, errno) }
    if count != bytes.count { tell(name, failure) }
  }

  private func tell(_ name: String, _ failure: CInt) {
    Console.error("baton: \(folder)/\(name) cannot be written: \(String(cString: strerror(failure)))")
  }
}

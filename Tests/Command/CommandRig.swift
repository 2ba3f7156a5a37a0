import BatonCommandKit
import BatonSystem
import BatonTestSupport
import Foundation
import Glibc
import Testing

/// The program itself, run as a person or a script runs it, with a home folder and a scratch folder of its own.
final class CommandRig {
  /// What came of a command.
  struct Outcome {
    let status: CInt
    let output: String
    let errors: String
  }

  /// A command that runs.
  final class Running {
    private var process: ChildProcess
    fileprivate let files: (output: String, errors: String)

    fileprivate init(_ process: consuming ChildProcess, files: (output: String, errors: String)) {
      self.process = process
      self.files = files
    }

    var pid: pid_t { process.pid }

    func send(_ signal: CInt) { process.send(signal) }

    /// Ends it as a crash would, and waits until it is gone.
    func crash() {
      send(SIGKILL)
      _ = outcome()
    }

    /// Waits for its end: however long it takes on a busy machine, because what is tested has bounds of its own.
    func outcome() -> Outcome {
      let ending = try? process.awaitEnd()
      func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }
      return Outcome(status: ending?.code ?? -1, output: text(files.output), errors: text(files.errors))
    }

    /// What it has said so far on standard error.
    var errors: String { (try? String(contentsOfFile: files.errors, encoding: .utf8)) ?? "" }
  }

  let folder: ScratchFolder
  let home: String
  private var started = 0
  private var serving: [Running] = []

  /// Next to the tests' own file, in the same build: the file that is mapped where this code lies.
  static let program: String = {
    let here = UInt(bitPattern: #dsohandle)
    for line in (Platform.contents("/proc/self/maps") ?? "").split(separator: "\n") {
      let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
      let range = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
      guard fields.count == 6, range.count == 2, range[0] <= here, here < range[1] else { continue }
      let file = fields[5].drop { $0 == " " }
      return (file.lastIndex(of: "/").map { String(file[...$0]) } ?? "") + "baton"
    }
    return "baton"
  }()

  init() throws {
    folder = try ScratchFolder()
    home = folder("home")
    guard mkdir(home, 0o700) == 0 else { throw BatonError(result: -Int(errno), home, doing: "making it") }
  }

  /// Starts `baton WORDS...`, or another program. With `limits`, words for the shell that come before it, such as
  /// `ulimit -f 1`.
  func start(_ words: [String], limits: String? = nil, program: String = program) throws -> Running {
    started += 1
    let files = (output: folder("out.\(started)"), errors: folder("err.\(started)"))
    var command =
      [
        "env", "BATON_HOME=\(home)", "TMPDIR=\(folder.path)", "SWIFT_BACKTRACE=enable=no", program,
      ] + words
    if let limits { command = ["sh", "-c", "\(limits); exec \"$@\"", "sh"] + command }
    // A limit on the size of files holds for what it says too; errors are short.
    let output = limits == nil ? files.output : "/dev/null"
    let process = try ChildProcess(command[0], command, subject: "baton", leadsGroup: true) { actions in
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, files.errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    return Running(process, files: files)
  }

  /// Runs one to its end.
  func run(_ words: [String]) throws -> Outcome { try start(words).outcome() }

  /// Runs one that must end well.
  @discardableResult
  func succeed(_ words: String...) throws -> Outcome {
    let outcome = try run(words)
    guard outcome.status == 0 else {
      throw BatonError(.system, "baton \(words.joined(separator: " "))", "status \(outcome.status): \(outcome.errors)")
    }
    return outcome
  }

  /// A subsystem with these units, and the controllers that are named.
  func serve(_ name: String, units: [String], controllers: [String] = ["a", "b"]) throws -> [Running] {
    let words = ["create", name] + units.flatMap { ["--unit", $0] }
    let made = try run(words)
    guard made.status == 0 else { throw BatonError(.system, "create", made.errors) }
    let running = try controllers.map { try control(name, $0) }
    // For as long as the rig: an optimised test lets go of what it does not use any more, and with that of the process.
    serving += running
    return running
  }

  /// A controller that serves.
  func control(_ name: String, _ identity: String) throws -> Running {
    // Nobody is to be fenced because this machine is busy.
    let controller = try start(["controller", name, identity, "--deadline", "60s"])
    let isServing = try eventually {
      let status = try json("status", name)
      return ((status["controllers"] as? [[String: Any]]) ?? []).contains {
        $0["identity"] as? String == identity && $0["phase"] as? String == "serving" && $0["running"] as? Bool == true
      }
    }
    guard isServing else { throw BatonError(.system, "controller \(identity)", "does not serve: \(controller.errors)") }
    return controller
  }

  /// The object that a command writes to standard output.
  func json(_ words: String...) throws -> [String: Any] { try Self.object(run(words + ["--json", "-"]).output) }

  /// The object that a file holds.
  func json(file name: String) throws -> [String: Any] {
    try Self.object(String(contentsOfFile: folder(name), encoding: .utf8))
  }

  private static func object(_ text: String) throws -> [String: Any] {
    guard let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] else {
      throw BatonError(.damaged, "JSON", "is no object: \(text)")
    }
    return object
  }
}

import Baton
import BatonSystem
import Glibc

/// An executable of Baton: the one that runs, or one that lies in its folder.
package struct BatonProgram: Sendable {
  /// Its name.
  private let name: String
  /// Where the kernel finds it for a child of this process, and for a program that becomes it: by this process's
  /// number, because to that one /proc/self is itself.
  private let image: String
  private let wrappedImage: String
  /// Its path, for a reader that is to start it later; nil if the kernel does not say.
  package let path: String?

  /// This very program: what it starts is of the same build, whatever becomes of the file meanwhile.
  package static let running = BatonProgram(
    name: runningPath?.split(separator: "/").last.map { String($0) } ?? "baton", image: "/proc/self/exe",
    wrappedImage: "/proc/\(getpid())/exe", path: runningPath)

  /// The executable that users run, `baton`, in the folder of this one: the laboratory kills and freezes it.
  ///
  /// - Throws: `.missing` if it does not exist.
  package static func shipped() throws(BatonError) -> BatonProgram { try shippedOnce.get() }

  private static let shippedOnce = Result<BatonProgram, BatonError> { () throws(BatonError) in
    try BatonProgram(inSameFolder: "baton")
  }

  /// Where an executable of that name lies, or would lie: in the folder of the one that runs.
  package static func pathBeside(_ name: String) -> String {
    runningPath.flatMap { path in path.lastIndex(of: "/").map { "\(path[...$0])\(name)" } } ?? name
  }

  private static let runningPath: String? = {
    guard let path = realpath("/proc/self/exe", nil) else { return nil }
    defer { free(path) }
    return String(cString: path)
  }()

  private init(name: String, image: String, wrappedImage: String, path: String?) {
    self.name = name
    self.image = image
    self.wrappedImage = wrappedImage
    self.path = path
  }

  /// Held open until this process ends: all that it starts is of one build, though the file may be replaced meanwhile.
  private init(inSameFolder name: String) throws(BatonError) {
    let path = Self.pathBeside(name)
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 {
      throw BatonError(
        result: -Int(errno), path, doing: "finding it",
        fix: "\(name) and the program that runs must lie in one folder: 'tools/release' builds both")
    }
    let image = "/proc/\(getpid())/fd/\(descriptor)"
    self.init(name: name, image: image, wrappedImage: image, path: path)
  }

  /// Starts `COMMAND WORDS...` of it, with nothing to read. What it says goes to `log` where one is named, and
  /// `handing` makes a descriptor of this process a descriptor of that number there. It does not outlive this process:
  /// the command has `ParentOptions`.
  ///
  /// With a log, or where it `leadsGroup`, it has a process group of its own. `wrapper` is a program that becomes this
  /// one, with its words.
  package func start(
    _ command: String, _ words: [String], log: String? = nil, handing: (mine: CInt, theirs: CInt)? = nil,
    leadsGroup: Bool = false, wrapper: [String] = []
  ) throws(BatonError) -> ChildProcess {
    let program = wrapper.isEmpty ? [name] : wrapper + [wrappedImage]
    return try ChildProcess(
      wrapper.first ?? image, program + [command, ParentOptions.option, "\(getpid())"] + words,
      subject: "\(name) \(command)", leadsGroup: log != nil || leadsGroup
    ) { actions in
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
      if let log {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
      }
      if let handing { posix_spawn_file_actions_adddup2(&actions, handing.mine, handing.theirs) }
    }
  }
}

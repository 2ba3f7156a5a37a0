import Baton
import BatonSystem
import Glibc

/// A subsystem that a command makes for itself and destroys when it ends.
///
/// A command that is killed cannot do that, and leaves it to `baton prune`. So a file in its folder, `temporary`, names
/// its maker and the folder of the scratch files. The maker holds a lock on that file as long as it lives, which the
/// kernel gives up with the process: a process number could be another process's by then. What `baton create` and
/// `baton serve` make has no such file, and is never pruned.
package struct TemporarySubsystem: ~Copyable {
  package let subsystem: Subsystem
  private let mark: OwnedDescriptor

  /// Makes it under a name of this process's. `command` is its maker, and `scratch` the folder of its files.
  package init(
    _ command: String, _ name: String? = nil, units: [UnitSpecification], scratch: String? = nil
  ) throws(BatonError) {
    let subsystem = try Subsystem.create("\(name ?? command)-\(getpid())", units: units)
    do throws(BatonError) {
      mark = try TemporaryMark.make(in: subsystem.location.directory, command: command, scratch: scratch)
    } catch {
      try? subsystem.destroy()
      throw error
    }
    self.subsystem = subsystem
  }

  /// Destroys it.
  ///
  /// - Throws: as `Subsystem.destroy`; `baton prune` can do it later.
  package consuming func destroy() throws(BatonError) {
    try subsystem.destroy()
    TemporaryMark.remove(from: subsystem.location.directory)
  }
}

/// The file that marks a subsystem as temporary.
package struct TemporaryMark {
  /// The command that made the subsystem, and its process.
  package let maker: String
  /// The folder of its scratch files.
  package let scratch: String?
  /// Whether the maker lives.
  package let isHeld: Bool

  private static let name = "temporary"
  private static let makerLabel = "made by: "
  private static let scratchLabel = "\nscratch files: "
  /// More than the length of a path.
  private static let bytesMax = 8192

  /// Makes one that is locked from the beginning: it gets its name afterwards.
  package static func make(in folder: String, command: String, scratch: String?) throws(BatonError) -> OwnedDescriptor {
    let path = "\(folder)/\(name)"
    let unfinished = "\(path).new"
    let number = Glibc.open(unfinished, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    if number < 0 {
      throw BatonError(result: -Int(errno), unfinished, doing: "making the mark of a temporary subsystem")
    }
    let file = OwnedDescriptor(number)
    let text = "\(makerLabel)baton \(command), process \(getpid())" + (scratch.map { scratchLabel + $0 } ?? "")
    var failure = flock(file.number, LOCK_EX) == 0 ? 0 : errno
    if failure == 0 { failure = Console.write(text, to: file.number) }
    if failure == 0, rename(unfinished, path) != 0 { failure = errno }
    if failure == 0 { return file }
    unlink(unfinished)
    throw BatonError(result: -Int(failure), unfinished, doing: "writing the mark of a temporary subsystem")
  }

  /// The mark in a subsystem's folder; nil: it has none, and its owner will destroy the subsystem.
  package init?(in folder: String) {
    guard let file = Self.open(folder), let text = Self.text(file) else { return nil }
    // Shared, and for a moment: it disturbs only a 'prune' at the same time.
    isHeld = flock(file.number, LOCK_SH | LOCK_NB) != 0
    (maker, scratch) = Self.parse(text)
  }

  /// Takes the mark of a maker that is gone, so that nobody else prunes at the same time; nil: there is none, its maker
  /// lives, or another process has it.
  package static func take(in folder: String) -> OwnedDescriptor? {
    guard let file = open(folder), text(file) != nil, flock(file.number, LOCK_EX | LOCK_NB) == 0 else { return nil }
    return file
  }

  /// Removes it with its folder, if nothing else lies there.
  package static func remove(from folder: String) {
    unlink("\(folder)/\(name)")
    rmdir(folder)
  }

  /// Opens it without blocking, because it could be a pipe, and not through a link, which could lead elsewhere.
  private static func open(_ folder: String) -> OwnedDescriptor? {
    let number = Glibc.open("\(folder)/\(name)", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    return number < 0 ? nil : OwnedDescriptor(number)
  }

  /// Its text; nil if it is not a mark of this user.
  private static func text(_ file: borrowing OwnedDescriptor) -> String? {
    var facts = stat()
    guard fstat(file.number, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG, facts.st_uid == getuid() else {
      return nil
    }
    var bytes = [UInt8](repeating: 0, count: bytesMax)
    let count = pread(file.number, &bytes, bytes.count, 0)
    guard count > 0 else { return nil }
    let text = String(decoding: bytes[..<count], as: UTF8.self)
    return text.hasPrefix(makerLabel) ? text : nil
  }

  private static func parse(_ text: String) -> (maker: String, scratch: String?) {
    let said = text.dropFirst(makerLabel.count)
    guard let label = said.firstRange(of: scratchLabel) else { return (String(said), nil) }
    return (String(said[..<label.lowerBound]), String(said[label.upperBound...]))
  }
}

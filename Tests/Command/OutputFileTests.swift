import BatonCommandKit
import BatonTestSupport
import Foundation
import Glibc
import Testing

@Suite("Files for results: replaced as a whole, or left as they are")
struct OutputFileTests {
  private func mode(_ path: String) -> mode_t {
    var facts = stat()
    return stat(path, &facts) == 0 ? facts.st_mode & 0o7777 : 0
  }

  @Test("A result takes the old one's place, with its mode, and through a link")
  func replaced() throws {
    let folder = try ScratchFolder()
    let path = try folder.write(Array("old".utf8), to: "result")
    chmod(path, 0o640)
    symlink(path, folder("link"))
    try OutputFile.write("new\n", to: folder("link"))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "new\n")
    #expect(mode(path) == 0o640)
    #expect(folder.contents == ["link", "result"])
    try OutputFile.write("first\n", to: folder("other"))
    let mask = umask(0)
    umask(mask)
    #expect(mode(folder("other")) == 0o666 & ~mask)
  }

  @Test("What is no file is written itself")
  func pipe() throws {
    let folder = try ScratchFolder()
    let path = folder("pipe")
    #expect(mkfifo(path, 0o600) == 0)
    let reader = open(path, O_RDONLY | O_NONBLOCK)
    defer { close(reader) }
    try OutputFile.write("through\n", to: path)
    var bytes = [UInt8](repeating: 0, count: 64)
    #expect(read(reader, &bytes, bytes.count) == 8)
    #expect(folder.contents == ["pipe"])
  }

  @Test("Beyond a limit on the size of files there is an error, and the old result stays", .timeLimit(.minutes(5)))
  func limited() throws {
    let rig = try CommandRig()
    _ = try rig.serve("x", units: ["null:1M"], controllers: [])
    let old = try rig.folder.write(Array("old".utf8), to: "result")
    let outcome = try rig.start(["status", "x", "--json", old], limits: "ulimit -f 1").outcome()
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("File too large; raise the limit"), "\(outcome.errors)")
    #expect(try String(contentsOfFile: old, encoding: .utf8) == "old")
    #expect(!rig.folder.contents.contains { $0.hasPrefix("result.") })
  }

  @Test("A demo beyond a limit on the size of files says so, and leaves nothing behind", .timeLimit(.minutes(5)))
  func limitedDemo() throws {
    let rig = try CommandRig()
    // Enough for its region, too little for its image.
    for limit in ["ulimit -f 1", "ulimit -f 8192"] {
      let outcome = try rig.start(["demo", "--quick"], limits: limit).outcome()
      #expect(outcome.status == 1, "\(limit)")
      #expect(outcome.errors.contains("File too large"), "\(outcome.errors)")
    }
    #expect(!rig.folder.contents.contains { $0.hasPrefix("baton-") })
    #expect(try FileManager.default.contentsOfDirectory(atPath: rig.home).isEmpty)
  }
}

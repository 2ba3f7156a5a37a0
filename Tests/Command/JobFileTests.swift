import BatonSystem
import BatonTestSupport
import Foundation
import Testing

@testable import BatonCommand

@Suite("Job files in fio's format")
struct JobFileTests {
  @Test("Sections are jobs, and [global] holds for those after it")
  func sections() throws {
    let text = """
      ; a comment
      # another
      [early]
      bs=8k

      [global]
      rw = randrw
      blocksize=4k
      [first job]
      iodepth=4
      bs=64k
      [second]
      verify
      latency_run=0
      """
    let jobs = try JobFile(parsing: text, path: "x").jobs
    #expect(jobs.map(\.name) == ["early", "first job", "second"])
    #expect(jobs[0].words == ["--bs=8k"])
    #expect(jobs[1].words == ["--rw=randrw", "--bs=4k", "--iodepth=4", "--bs=64k"])
    #expect(jobs[2].words == ["--rw=randrw", "--bs=4k", "--verify"])
    let options = try WorkloadOptions.parse(jobs[1].words)
    #expect(options.requests.bs?.bytes == 65536, "a job's own word replaces")
    #expect(options.requests.rw == .randrw && options.iodepth == 4)
  }

  @Test(
    "What is wrong is named with its line and a way out",
    arguments: [
      ("[a]\nioengine=libaio", "x:2", "'baton run' has no option 'ioengine'", "remove the line"),
      ("[a]\nbs=4k\niodpeth=4", "x:3", "'baton run' has no option 'iodpeth'", "did you mean 'iodepth'?"),
      ("[a]\nfilename=/dev/sda", "x:2", "'baton run' has no option 'filename'", "unit=N"),
      ("[a]\nstonewall", "x:2", "'baton run' has no option 'stonewall'", "file of their own"),
      ("bs=4k", "x:1", "comes before the first job", "[global]"),
      ("[a\nbs=4k", "x:1", "'[a' is not the name of a job", "[NAME]"),
      ("[a]\nbs=", "x:2", "'bs' has no value", "bs=VALUE"),
      ("[a]\nverify=crc32c", "x:2", "'verify=crc32c' is neither on nor off", "verify=1"),
      ("[global]\nbs=4k", "x", "has no job", "[NAME]"),
    ])
  func wrong(text: String, place: String, problem: String, fix: String) throws {
    let error = #expect(throws: BatonError.self) { try JobFile(parsing: text, path: "x") }
    #expect(error?.subject == place)
    #expect(error?.problem == problem)
    #expect(error?.fix.contains(fix) == true, "\(error?.fix ?? "")")
  }

  @Test("Every option that a job file takes is one of the command line, and the other way round")
  func sameOptions() throws {
    let help = WorkloadOptions.helpMessage(columns: 500)
    for name in JobFile.valued + JobFile.flags { #expect(help.contains("--\(name) ") || help.contains("--\(name)\n")) }
    let listed = Set(
      help.split(separator: "\n").compactMap { line in
        line.split(separator: " ").first.flatMap { $0.hasPrefix("--") ? String($0.dropFirst(2)) : nil }
      })
    #expect(listed.subtracting(["help"]) == Set(JobFile.valued + JobFile.flags))
  }

  @Test("Of a command line, the words of a job are taken, with their values")
  func typed() {
    let words = ["baton", "run", "x", "--iodepth", "4", "--json", "f", "--latency_run", "--rate=1M", "--wait", "park"]
    #expect(JobFile.options(among: words) == ["--iodepth", "4", "--latency_run", "--rate=1M"])
  }
}

#if Simulation
  import BatonController
  import BatonSharedMemory
  import BatonSystem
  import CBatonMachine
  import CBatonShims
  import Glibc

  /// The command: runs seeds, each in a process of its own that begins as all others do, and adds up what they report.
  /// Exits 0 if nothing was found, 2 if something was, and 3 if something that must happen never did.
  struct Simulate {
    private var seeds: UInt64?
    private var first: UInt64 = 1
    private var jobs = 2
    private var isTraced = false
    private var showsTable = false
    private var shrinks = true
    private var stopsAtFirst = false
    private var defect: PlantedDefect?
    private var edits: [Edit] = []
    private let arguments: [String]
    private let folder = "/dev/shm/baton-simulate-\(getpid())"

    /// Seconds that one seed may take.
    private var secondsMax: UInt32 = 120
    /// Failing seeds that are shrunk.
    private static let shrunkMax = 2
    /// From so many seeds on, what never happened fails the run.
    private static let completeFrom: UInt64 = 2_000

    init(_ arguments: [String]) { self.arguments = arguments }

    private static let usage = """
      usage: tools/simulate [--seeds N] [--seed FIRST] [--jobs N] [--table] [--no-shrink] [--until-found] [--trace]
                            [--defect NAME] [--edits EDIT,EDIT...] [--seed-seconds N]
             tools/simulate --fault NAME ... with the protocol as it was with a known fault; it comes first

      Without --seeds, one seed runs, and its scenario is shown; --trace shows everything that happens in it.
      """

    private mutating func parse() -> Bool {
      var rest = arguments.dropFirst()
      while let word = rest.popFirst() {
        switch word {
        case "--trace": isTraced = true
        case "--table": showsTable = true
        case "--no-shrink": shrinks = false
        case "--until-found": stopsAtFirst = true
        case "--seeds":
          guard let number = rest.popFirst().flatMap(UInt64.init), number > 0 else { return false }
          seeds = number
        case "--seed":
          guard let number = rest.popFirst().flatMap(UInt64.init) else { return false }
          first = number
        case "--jobs":
          guard let number = rest.popFirst().flatMap(Int.init), number > 0 else { return false }
          jobs = number
        case "--seed-seconds":
          guard let number = rest.popFirst().flatMap(UInt32.init), number > 0 else { return false }
          secondsMax = number
        case "--defect":
          guard let name = rest.popFirst().flatMap(PlantedDefect.init(rawValue:)) else { return false }
          defect = name
        case "--edits":
          guard let words = rest.popFirst()?.split(separator: ",") else { return false }
          for word in words {
            guard let edit = Edit(word) else { return false }
            edits.append(edit)
          }
        default: return false
        }
      }
      return true
    }

    /// Returns the exit status.
    mutating func run() -> CInt {
      guard parse() else {
        print(Self.usage)
        return 64
      }
      // Whatever a process settles once is settled before the first run.
      _ = AsymmetricFence.isSupported
      _ = ProcessIdentity.boot
      _ = shim_raise_open_file_limit()
      removeRemains()
      guard mkdir(folder, 0o700) == 0 else {
        print("simulate: cannot make \(folder): \(String(cString: strerror(errno)))")
        return 1
      }
      defer { removeFolder(folder) }
      if let seeds { return runMany(seeds) }
      let report = runAlone(first, edits, isTraced: isTraced)
      if !isTraced { print("seed \(first):\n\(scenario(first, edits).description)", terminator: "") }
      print(report.verdict(first))
      return report.findings.isEmpty ? 0 : 2
    }

    private func scenario(_ seed: UInt64, _ edits: [Edit]) -> Scenario {
      var scenario = Scenario(seed: seed, defect: defect)
      for edit in edits { edit.apply(to: &scenario) }
      return scenario
    }

    // MARK: One run

    /// What a run says of itself.
    private struct Report {
      var findings: [String] = []
      var counts: [(String, UInt64)] = []
      var digest = ""

      init(_ text: String, status: CInt, secondsMax: UInt32 = 0) {
        for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
          let value = String(line.dropFirst(2))
          switch line.first {
          case "F": findings.append(value)
          case "D": digest = value
          case "C":
            let parts = value.split(separator: "\t")
            if parts.count == 2, let count = UInt64(parts[1]) { counts.append((String(parts[0]), count)) }
          default: break
          }
        }
        let signal = status & 0x7f
        if signal == SIGALRM {
          findings.append("did not end within \(secondsMax) s")
        } else if signal != 0 {
          findings.append("ended by signal \(signal): a precondition of the shipped code, or memory that is gone")
        } else if digest.isEmpty {
          findings.append("ended without a report")
        }
      }

      func count(_ name: String) -> UInt64 { counts.first { $0.0 == name }?.1 ?? 0 }

      func verdict(_ seed: UInt64) -> String {
        if findings.isEmpty {
          return "seed \(seed): nothing found; answers \(count("answers")), takeovers \(count("counter takeovers")), "
            + "steps \(count("machine steps")), digest \(digest)"
        }
        return "seed \(seed): FOUND\n" + findings.map { "  \($0)\n" }.joined()
      }
    }

    /// In the child: runs a scenario and writes the report.
    private func runHere(_ scenario: Scenario, _ folder: String, isTraced: Bool, to output: CInt) {
      var text = ""
      do {
        let world = try World(scenario, folder: folder, isTraced: isTraced)
        let findings = world.run()
        for finding in findings { text += "F \(finding.replacing("\n", with: " "))\n" }
        for (what, count) in world.counts { text += "C \(what)\t\(count)\n" }
        text += "D \(String(machine_digest(), radix: 16))\n"
      } catch {
        text += "F the run could not begin: \(error)\nD none\n"
      }
      let bytes = Array(text.utf8)
      var written = 0
      while written < bytes.count {
        let count = bytes.withUnsafeBytes { write(output, $0.baseAddress! + written, bytes.count - written) }
        if count <= 0 { break }
        written += count
      }
      fflush(nil)
    }

    /// A run under way.
    private struct Child {
      var pid: CInt
      var input: CInt
      var seed: UInt64
      var folder: String
      var text: [UInt8] = []
    }

    private func begin(_ seed: UInt64, _ edits: [Edit], isTraced: Bool) -> Child? {
      var ends: [CInt] = [0, 0]
      guard pipe(&ends) == 0 else { return nil }
      let folder = "\(self.folder)/\(seed)"
      let scenario = scenario(seed, edits)
      fflush(nil)
      let pid = machine_fork()
      if pid == 0 {
        alarm(secondsMax)
        runHere(scenario, folder, isTraced: isTraced, to: ends[1])
        _exit(0)
      }
      close(ends[1])
      return pid < 0 ? nil : Child(pid: pid, input: ends[0], seed: seed, folder: folder)
    }

    private func end(_ child: Child) -> Report {
      var status: CInt = 0
      while waitpid(child.pid, &status, 0) < 0, errno == EINTR {}
      close(child.input)
      removeFolder(child.folder)
      return Report(String(decoding: child.text, as: UTF8.self), status: status, secondsMax: secondsMax)
    }

    /// Reads what there is. False at the end.
    private func read(_ child: inout Child) -> Bool {
      var part = [UInt8](repeating: 0, count: 65536)
      let count = Glibc.read(child.input, &part, part.count)
      if count < 0, errno == EINTR { return true }
      if count <= 0 { return false }
      child.text += part[..<count]
      return true
    }

    private func runAlone(_ seed: UInt64, _ edits: [Edit], isTraced: Bool = false) -> Report {
      guard var child = begin(seed, edits, isTraced: isTraced) else {
        return Report("F cannot fork\nD none\n", status: 0)
      }
      while read(&child) {}
      return end(child)
    }

    /// Removes what simulations that were killed have left.
    private func removeRemains() {
      guard let folder = opendir("/dev/shm") else { return }
      defer { closedir(folder) }
      while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        let prefix = "baton-simulate-"
        guard name.hasPrefix(prefix), let pid = Int32(name.dropFirst(prefix.count)), kill(pid, 0) != 0, errno == ESRCH
        else { continue }
        removeFolder("/dev/shm/\(name)")
      }
    }

    private func removeFolder(_ path: String) {
      guard let folder = opendir(path) else { return }
      while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name == "." || name == ".." { continue }
        if unlink("\(path)/\(name)") != 0 { removeFolder("\(path)/\(name)") }
      }
      closedir(folder)
      rmdir(path)
    }

    // MARK: Many runs

    private func seconds() -> Double {
      var now = timespec()
      clock_gettime(CLOCK_MONOTONIC, &now)
      return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
    }

    private func runMany(_ seeds: UInt64) -> CInt {
      let began = seconds()
      var (next, last) = (first, first + seeds)
      var children: [Child] = []
      var coverage = Coverage()
      var (answers, takeovers, failed) = ([UInt64](), [UInt64](), [UInt64]())
      while next < last || !children.isEmpty {
        while next < last, children.count < jobs, let child = begin(next, edits, isTraced: false) {
          children.append(child)
          next += 1
        }
        var inputs = children.map { pollfd(fd: $0.input, events: Int16(POLLIN), revents: 0) }
        guard poll(&inputs, UInt(inputs.count), -1) > 0 else { continue }
        for index in inputs.indices.reversed() where inputs[index].revents != 0 {
          if read(&children[index]) { continue }
          let child = children.remove(at: index)
          let report = end(child)
          for (what, count) in report.counts { coverage.add(what, count) }
          answers.append(report.count("answers"))
          takeovers.append(report.count("counter takeovers"))
          if !report.findings.isEmpty {
            failed.append(child.seed)
            if failed.count <= 20 { print(report.verdict(child.seed), terminator: "") }
            fflush(nil)
            if stopsAtFirst { last = next }
          }
        }
      }
      let took = seconds() - began
      let mustBeComplete = seeds >= Self.completeFrom && !stopsAtFirst
      if showsTable || mustBeComplete && !coverage.missing.isEmpty {
        print(coverage.table, terminator: "")
      }
      for seed in failed.sorted().prefix(shrinks ? Self.shrunkMax : 0) { shrink(seed) }
      let done = answers.count
      print(
        """
        \(done) seeds from \(first) on, \(failed.count) failed; \(Int(took)) s, \(Int(Double(done) * 60 / took)) seeds \
        per minute; per seed (median): requests \(median(answers)), takeovers \(median(takeovers))
        """)
      if !failed.isEmpty { return 2 }
      if mustBeComplete, !coverage.missing.isEmpty {
        print("never happened: \(coverage.missing.joined(separator: ", "))")
        return 3
      }
      return 0
    }

    private func median(_ values: [UInt64]) -> UInt64 { values.isEmpty ? 0 : values.sorted()[values.count / 2] }

    /// Leaves out of a failing scenario whatever it fails without, and says how to see what remains.
    private func shrink(_ seed: UInt64) {
      var kept = edits
      var hasShrunk = true
      while hasShrunk {
        hasShrunk = false
        for edit in Edit.candidates(for: scenario(seed, kept)) where !kept.contains(edit) {
          if runAlone(seed, kept + [edit]).findings.isEmpty { continue }
          kept.append(edit)
          hasShrunk = true
        }
      }
      print("seed \(seed), shrunk:\n\(scenario(seed, kept).description)", terminator: "")
      for finding in runAlone(seed, kept).findings { print("  finds: \(finding)") }
      let words = kept.isEmpty ? "" : " --edits \(kept.map(\.description).joined(separator: ","))"
      let planted = defect.map { " --defect \($0.rawValue)" } ?? ""
      let fault = getenv("BATON_FAULT").map { " --fault \(String(cString: $0))" } ?? ""
      print("  again: tools/simulate\(fault) --seed \(seed)\(planted)\(words) --trace")
    }
  }
#endif

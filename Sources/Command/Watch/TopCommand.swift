import ArgumentParser
import Baton
import BatonCommandKit
import BatonSubsystem
import BatonSystem
import Glibc

struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "Watch controllers, ownership and rates of a subsystem.",
    discussion: """
      Reads the subsystem's region, and disturbs neither controllers nor hosts. On a terminal a screen with keys (? \
      shows them); elsewhere plain text, once for each interval. With --record also rates, latencies and pending \
      requests of each function, from a trace that hosts and controllers write meanwhile: that costs them some 40 ns \
      for each step, about five of which a request takes.
      """)

  @Argument(help: "The subsystem's name, or the path of its folder.") var name: String
  @Option(
    help: ArgumentHelp("Time between two looks, such as 500ms (default: 1s).", valueName: "time"),
    transform: RunTime.seconds(parsing:))
  var interval = 1.0
  @Option(help: "Number of intervals to show (default: until 'q' or an interrupt).") var count: Int?
  @Option(help: "Order of the functions: changes, name, owner or term (default: changes).") var sort: String?
  @Option(help: "Show only functions whose line has this text.") var filter = ""
  @Flag(help: "Record rates and latencies of each function, which slows hosts and controllers down.")
  var record = false

  /// The shortest and the longest time between two looks, in seconds.
  private static let intervals = 0.1...60.0

  func validate() throws {
    guard Self.intervals.contains(interval) else { throw ValidationError("--interval takes 100ms to 60s") }
    if let count, count < 1 { throw ValidationError("--count takes 1 or more") }
    if let sort, TopView.Order(rawValue: sort) == nil {
      throw ValidationError("--sort takes \(TopView.Order.allCases.map(\.rawValue).joined(separator: ", "))")
    }
  }

  func run() throws {
    let subsystem = try Subsystem(name)
    // What is wrong with the subsystem is said before the screen changes.
    let first = try RegionSample(subsystem)
    var view = TopView()
    view.order = sort.flatMap { TopView.Order(rawValue: $0) } ?? .changes
    view.filter = filter
    let interruption = try Interruption()
    var recording = record ? Recording(try TraceRecorder(of: subsystem, rings: 30, capacity: 65_536)) : nil
    if isatty(STDIN_FILENO) != 0, isatty(STDOUT_FILENO) != 0 {
      return try watch(subsystem, first, view, interruption, &recording)
    }
    var before = first
    for shown in 0..<(count ?? .max) {
      let due = monotonicNanoseconds() &+ UInt64(interval * 1e9)
      while true {
        let now = monotonicNanoseconds()
        if now >= due { break }
        let left = Int((due - now) / 1_000_000) + 1
        interruption.wait(orProcess: -1, milliseconds: CInt(recording == nil ? left : min(left, Self.readMilliseconds)))
        if interruption.take() != 0 { return }
        recording?.read()
      }
      let sample = try RegionSample(subsystem)
      view.activity = recording?.endInterval()
      if shown > 0 { Console.printAsItIs("") }
      Console.printAsItIs(
        view.text(sample, RegionRates(from: before, to: sample), interval: interval, time: WallClock.now))
      before = sample
    }
  }

  /// The longest time between two pictures: how long a change of the terminal's size may wait to be seen.
  private static let drawNanoseconds: UInt64 = 250_000_000
  /// How often a recording is read: a ring holds what a busy host does in so long several times.
  private static let readMilliseconds = 2

  /// A trace that is recorded meanwhile, and what it says of the interval.
  private struct Recording: ~Copyable {
    private var recorder: TraceRecorder
    private var activity = RecordedActivity()

    init(_ recorder: consuming TraceRecorder) { self.recorder = recorder }

    mutating func read() {
      var activity = activity
      self.activity = RecordedActivity()
      recorder.takeEvents { activity.take($0) }
      self.activity = activity
    }

    mutating func endInterval() -> RecordedActivity {
      defer { activity.beginInterval() }
      return activity
    }
  }

  /// The screen, until a key or a signal ends it.
  private func watch(
    _ subsystem: Subsystem, _ first: RegionSample, _ given: TopView, _ interruption: borrowing Interruption,
    _ recording: inout Recording?
  ) throws {
    var (view, before, present) = (given, first, first)
    var rates: RegionRates?
    var interval = interval
    var shown = 0
    let screen = try TerminalScreen()
    var drawnAt: UInt64 = 0
    while true {
      var now = monotonicNanoseconds()
      if now &- drawnAt >= Self.drawNanoseconds {
        drawnAt = now
        // Looked up each time: a terminal may change its size.
        screen.draw(
          view.lines(
            present, rates, interval: interval, time: WallClock.now, columns: Console.columns(of: .output) ?? 80,
            rows: Console.rows(of: .output) ?? 24))
      }
      let due = present.at &+ UInt64(interval * 1e9)
      now = monotonicNanoseconds()
      let longest = recording == nil ? Self.drawNanoseconds / 1_000_000 : UInt64(Self.readMilliseconds)
      let left = view.isPaused ? longest : min(due > now ? (due - now) / 1_000_000 + 1 : 0, longest)
      interruption.wait(orReadable: [STDIN_FILENO], milliseconds: CInt(left))
      if interruption.take() != 0 { return }
      recording?.read()
      let keys = screen.keys()
      if !keys.isEmpty { drawnAt = 0 }
      for key in keys where !press(key, &view, &interval) { return }
      if !view.isPaused, monotonicNanoseconds() >= due {
        drawnAt = 0
        before = present
        present = try RegionSample(subsystem)
        rates = RegionRates(from: before, to: present)
        view.activity = recording?.endInterval()
        shown += 1
        if let count, shown >= count { return }
      }
    }
  }

  /// What a key does; false: it ends the command.
  private func press(_ key: UInt8, _ view: inout TopView, _ interval: inout Double) -> Bool {
    let character = Character(UnicodeScalar(key))
    if view.isFiltering {
      switch key {
      case 10, 13: view.isFiltering = false
      case 27: (view.isFiltering, view.filter) = (false, "")
      case 8, 127: view.filter = String(view.filter.dropLast())
      case 32...126: view.filter.append(character)
      default: break
      }
      return true
    }
    switch character {
    case "q": return false
    case "s": view.order = view.order.next
    case "/": (view.isFiltering, view.filter) = (true, "")
    case "p", " ": view.isPaused.toggle()
    case "+": interval = min(interval * 2, Self.intervals.upperBound)
    case "-": interval = max(interval / 2, Self.intervals.lowerBound)
    case "j": view.scroll += 1
    case "k": view.scroll = max(view.scroll - 1, 0)
    case "h", "?": view.isHelpShown.toggle()
    default: break
    }
    return true
  }
}

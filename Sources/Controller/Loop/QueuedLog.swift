import BatonSystem
import Logging
import Synchronization

/// A log handler that never blocks: a thread of its own hands the lines to another handler, in order.
///
/// A log may block for reasons outside of this process: a pipe that nobody reads, a disk that is full of other work, a
/// collector that has stopped. A handler that writes where it is called stops the loop that logs. This one holds a
/// bounded number of lines. When it is full it drops the line and counts it, and logs how many were dropped as soon as
/// there is room again.
///
/// ```swift
/// var options = ControllerOptions()
/// options.logger = Logger(label: "baton") { QueuedLog(StreamLogHandler.standardError(label: $0)) }
/// ```
///
/// Copies share the thread and the count. Metadata and level are each copy's own, as swift-log wants it.
public struct QueuedLog: LogHandler {
  private var handler: any LogHandler
  private let queue: Queue

  /// Lines that wait at most.
  public static let linesMax = 1024

  /// Hands its lines to that handler. `linesMax` lines may wait.
  public init(_ handler: any LogHandler, linesMax: Int = Self.linesMax) {
    self.handler = handler
    queue = Queue(linesMax: linesMax)
  }

  /// Waits until every line that was logged so far has been handed over, for a bounded time. Meant for the end of a
  /// program.
  ///
  /// - Returns: false when some of them have not.
  @discardableResult
  public func flush(milliseconds: Int = 1000) -> Bool {
    queue.dropped.withLock { say(&$0, to: handler) }
    return queue.thread.waitUntilIdle(milliseconds: milliseconds)
  }

  /// Lines dropped so far.
  public var dropped: UInt64 { queue.dropped.withLock { $0.total } }

  /// See `LogHandler`.
  public var metadata: Logger.Metadata {
    get { handler.metadata }
    set { handler.metadata = newValue }
  }

  /// See `LogHandler`.
  public var metadataProvider: Logger.MetadataProvider? {
    get { handler.metadataProvider }
    set { handler.metadataProvider = newValue }
  }

  /// See `LogHandler`.
  public var logLevel: Logger.Level {
    get { handler.logLevel }
    set { handler.logLevel = newValue }
  }

  /// See `LogHandler`.
  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { handler[metadataKey: key] }
    set { handler[metadataKey: key] = newValue }
  }

  /// Takes a line, or drops and counts it. Cost: an allocation, two locks, and a system call when the thread sleeps.
  public func log(event: LogEvent) {
    let handler = handler
    queue.dropped.withLock { dropped in
      say(&dropped, to: handler)
      if dropped.unsaid == 0, queue.thread.offer({ handler.log(event: event) }) { return }
      dropped.total += 1
      dropped.unsaid += 1
    }
  }

  /// Logs how many lines were dropped, if there is room for that by now.
  private func say(_ dropped: inout Queue.Dropped, to handler: any LogHandler) {
    if dropped.unsaid == 0 { return }
    let notice = LogEvent(
      level: .warning, message: "lines dropped here, because the log did not take them in time: \(dropped.unsaid)",
      metadata: nil, source: "Baton", file: #fileID, function: #function, line: #line)
    if queue.thread.offer({ handler.log(event: notice) }) { dropped.unsaid = 0 }
  }

  private final class Queue: Sendable {
    struct Dropped {
      var total: UInt64 = 0
      /// The dropped lines that no logged line has reported yet.
      var unsaid: UInt64 = 0
    }

    let thread: SideThread
    let dropped = Mutex(Dropped())

    init(linesMax: Int) { thread = SideThread(name: "baton-log", jobsMax: linesMax) }
  }
}

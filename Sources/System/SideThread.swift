import CBatonShims
import Glibc
import Synchronization

/// A thread for calls that may block, so that the thread of a loop never makes them: closing a descriptor that somebody
/// else handed over, writing to a log that nobody reads, asking a file system that waits for a disk.
///
/// It runs one job after the other, in order, and holds a bounded number of them. It starts with the first job, and it
/// has every signal blocked: signals are for the thread of the loop. `offer` takes a lock for a few instructions; the
/// thread holds that lock for as few, and never while it runs a job.
///
/// Nobody ever waits for the thread to end, because a job may never return. When its owner goes, it finishes its jobs
/// and ends.
public final class SideThread: Sendable {
  /// Something to be done.
  public typealias Job = @Sendable () -> Void

  private let core: Core

  /// A thread of that name (at most 15 bytes), which holds so many jobs at most.
  public init(name: String, jobsMax: Int) { core = Core(name: name, jobsMax: jobsMax) }

  deinit { core.end() }

  /// Hands a job over. Cost: an allocation and a lock, and a system call when the thread sleeps.
  ///
  /// - Returns: false if the thread holds as many jobs as it may, or cannot be started. The job is not run then.
  public func offer(_ job: @escaping Job) -> Bool { core.offer(job) }

  /// Jobs that were handed over and have not ended.
  public var pending: Int { core.pending }

  /// Waits until every job has ended, for a bounded time. For the end of a process, not for a loop.
  ///
  /// - Returns: false if some job has not ended by then.
  @discardableResult
  public func waitUntilIdle(milliseconds: Int) -> Bool {
    for _ in 0..<milliseconds {
      if pending == 0 { return true }
      usleep(1000)
    }
    return pending == 0
  }

  /// The state that the thread and its owner share. The thread keeps it until it ends.
  private final class Core: @unchecked Sendable {
    // Unchecked: the word is only changed by atomic operations, everything else is behind the lock or constant.
    private struct State {
      var jobs: [Job] = []
      var running = 0
      var isStarted = false
      var isOver = false
    }

    private let name: String
    private let jobsMax: Int
    private let state = Mutex(State())
    /// Counts jobs, for the thread to sleep on.
    private let word: UnsafeMutablePointer<Atomic<UInt32>>

    init(name: String, jobsMax: Int) {
      self.name = name
      self.jobsMax = jobsMax
      word = .allocate(capacity: 1)
      word.initialize(to: Atomic(0))
    }

    deinit {
      word.deinitialize(count: 1)
      word.deallocate()
    }

    /// As futex(2) takes it.
    private var futex: UnsafePointer<UInt32> { UnsafeRawPointer(word).assumingMemoryBound(to: UInt32.self) }

    var pending: Int { state.withLock { $0.jobs.count + $0.running } }

    func offer(_ job: @escaping Job) -> Bool {
      let isTaken = state.withLock { state in
        if state.jobs.count + state.running >= jobsMax { return false }
        if !state.isStarted {
          // On the first job, so that a loop which never has one has no thread either.
          if !start() { return false }
          state.isStarted = true
        }
        state.jobs.append(job)
        change()
        return true
      }
      if isTaken { wake() }
      return isTaken
    }

    func end() {
      let isStarted = state.withLock { state in
        state.isOver = true
        change()
        return state.isStarted
      }
      if isStarted { wake() }
    }

    /// There is something to look at. Behind the lock.
    private func change() { word.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent) }

    private func wake() { _ = shim_futex_wake(futex, CInt.max) }

    private func start() -> Bool {
      let box = Unmanaged.passRetained(self)
      let failure = shim_thread_start(name, Self.threadMain, box.toOpaque())
      if failure != 0 { box.release() }
      return failure == 0
    }

    private static let threadMain: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
      guard let argument else { return nil }
      Unmanaged<Core>.fromOpaque(argument).takeRetainedValue().work()
      return nil
    }

    private func work() {
      while true {
        let seen = word.pointee.load(ordering: .acquiring)
        let (jobs, isOver) = state.withLock { state in
          let jobs = state.jobs
          state.jobs = []
          state.running = jobs.count
          return (jobs, state.isOver)
        }
        for job in jobs {
          job()
          state.withLock { $0.running -= 1 }
        }
        if !jobs.isEmpty { continue }
        if isOver { return }
        // A wake, a change, a signal: it looks again in any case.
        _ = shim_futex_wait(futex, seen, -1)
      }
    }
  }
}

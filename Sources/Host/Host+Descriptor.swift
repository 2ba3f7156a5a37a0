import BatonChannel
import BatonSharedMemory
import BatonSystem
import CBatonShims

// A descriptor to wait on, for a program whose loop waits for descriptors (epoll(7), poll(2), kqueue-like libraries).
//
// A controller wakes a sleeping host by a futex, for which no such loop can wait. A host that announces its sleep here
// says so in another way (`SleepWord.State.asleep`): the controller then sends a byte over the host's control socket.
// The descriptor is an epoll set of both sockets, so it can also be read when a controller ends.
extension Host {
  /// A descriptor that can be read (POLLIN) when a sleep that `announceSleep` began is over. It belongs to the host and
  /// stays the same. Do not read from it: call `endSleep`.
  ///
  /// - Throws: `.exhausted` if the process has no descriptor left.
  public mutating func descriptor() throws(BatonError) -> CInt {
    if sockets.isMade { return sockets.number }
    try sockets.make()
    watchSockets()
    return sockets.number
  }

  /// Announces that this thread will sleep until the descriptor can be read: for 100 ms at most, because a controller
  /// that is away may come back meanwhile. The caller sleeps, and calls `endSleep`.
  ///
  /// Cost: a fence; while requests to sleeping controllers have not been announced, a system call for each.
  ///
  /// - Returns: false if there is something to do: do not sleep.
  public mutating func announceSleep() -> Bool {
    precondition(sockets.isMade, "`descriptor` comes first")
    if submissionsUnrung > 0 { ringForAll() }
    if channelA.hasLost || channelB.hasLost { maintain() }
    missesLeft = 0
    // The next look ends the sleep, even where it finds an answer at once (`nextFast`).
    looksLeft = 1
    sleep.announce(as: .asleep)
    sockets.beginSleep()
    if !hasAnswer, handedBack.count == 0, !isSubsystemGone { return true }
    endSleep()
    return false
  }

  /// The sleep is over, whatever has ended it. Cost: two system calls.
  public mutating func endSleep() {
    if !sockets.endSleep() { return }
    sleep.withdraw()
    missesLeft = 0
    maintain()
  }

  /// Adds the control sockets that have come to be since the last call.
  mutating func watchSockets() {
    if !sockets.isMade { return }
    channelA.watch(in: sockets.number)
    channelB.watch(in: sockets.number)
  }
}

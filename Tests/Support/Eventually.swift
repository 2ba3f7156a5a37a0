import Glibc

/// Waits for what somebody else does in his own time: the kernel, which takes apart what was closed, or another test of
/// this process, whose child holds on to every open file from when it has been forked until it executes its program.
///
/// Bounded by looks, not by time.
///
/// - Returns: whether it came.
package func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
  for _ in 0..<10_000 {
    if try condition() { return true }
    usleep(1000)
  }
  return false
}

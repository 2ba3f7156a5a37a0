import ArgumentParser
import Baton
import BatonController

/// The options for how a controller waits, and how long it keeps its functions.
package struct ControllerBehaviour: ParsableArguments {
  @Option(help: "Waiting strategy when idle.") package var wait: WaitStrategy = .standard
  @Option(
    help: "Time to keep a contended function: adaptive, pending, or a time such as 200us (default: adaptive).",
    transform: ResidencyPolicy.parse)
  var residency: ResidencyPolicy = .standard
  @Option(
    help: "Silence of the peer after which this controller kills it and takes over, at least 20ms (default: 1s).",
    transform: Deadline.parse)
  var deadline: Deadline = .standard
  @Option(help: .hidden) var stopAt: StopOrder?

  package init() {}

  /// The same as words of a command line.
  package var words: [String] {
    [
      "--wait", wait.name, "--residency", residency.defaultValueDescription, "--deadline", "\(deadline.nanoseconds)ns",
    ]
  }

  package var options: ControllerOptions {
    var options = ControllerOptions()
    options.waiting = wait
    options.residency = residency
    options.deadlineNanoseconds = deadline.nanoseconds
    options.stopOrder = stopAt
    return options
  }
}

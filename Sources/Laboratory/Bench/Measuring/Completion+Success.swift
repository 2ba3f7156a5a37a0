import Baton

extension Completion {
  /// Anything but success ends the measurement.
  func expectSuccess() throws(BatonError) {
    if status == .success { return }
    throw BatonError(.system, "a request to controller \(service.controller)", "was answered: \(status)")
  }
}

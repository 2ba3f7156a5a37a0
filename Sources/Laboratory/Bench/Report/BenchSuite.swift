import ArgumentParser

/// What `bench` measures, by subject.
enum BenchSuite: String, ExpressibleByArgument, CaseIterable {
  /// The right to serve, from one process to the other and back.
  case handoff
  /// A request from a host to a controller and back, on a null unit, one at a time.
  case dispatch
  /// Many requests at a time: how many per second, how late they are at a given load, and what fighting costs.
  case throughput
  /// Real storage, compared with fio on the same file.
  case storage
  /// A unit as a disk over NBD, compared with other servers on the same file.
  case nbd
  /// The death of a controller, and what hosts see of it.
  case takeover
  /// The cost of many units and hosts, and the cost of idling.
  case scale
}

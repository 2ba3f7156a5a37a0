import Baton
import BatonCommandKit
import BatonSystem

// Where the load goes: checked against the units that there are.
extension WorkloadOptions {
  /// The parts of the units, one list for each of the job's hosts.
  func targets(on status: SubsystemStatus) throws -> [[WorkloadTarget]] {
    if let unit = target.unit, !status.units.indices.contains(unit) {
      throw BatonError(
        .invalid, "unit \(unit)", "does not exist", fix: "this subsystem has units 0 to \(status.units.count - 1)")
    }
    let chosen = target.unit.map { [status.units[$0]] } ?? status.units
    if verify, let null = chosen.first(where: { $0.kind == "null" }) {
      throw BatonError(
        .invalid, "unit \(null.unit)", "is a null unit: it keeps nothing that could be verified",
        fix: "name another with --unit")
    }
    let sizes = try sizes(on: chosen)
    if let size = target.size, size.bytes < UInt64(sizes.max) {
      throw BatonError(
        .invalid, "--size \(size.bytes)", "is less than one request, \(sizes.max) bytes",
        fix: "give a larger --size or a smaller --bs")
    }
    // Hosts that verify must not write to each other's blocks.
    let parts = verify ? numjobs : 1
    let whole = try chosen.map { try part(of: $0, sizes, parts: parts) }
    return (0..<numjobs).map { host in
      whole.map { target in
        if parts == 1 { return target }
        let size = target.size / UInt64(parts) / UInt64(sizes.grain) * UInt64(sizes.grain)
        return WorkloadTarget(unit: target.unit, offset: target.offset + UInt64(host) * size, size: size)
      }
    }
  }

  /// Of a replay, every size: multiples of the largest block of all units.
  private func sizes(on units: [SubsystemStatus.UnitStatus]) throws -> RequestSizes {
    guard logs.readIolog != nil else { return try requests.sizes() }
    return RequestSizes(Int(units.map(\.blockSize).max() ?? 512))
  }

  /// What is replayed on those targets, and the plan's sizes with it.
  func addReplay(to plan: inout WorkloadPlan, on status: SubsystemStatus) throws {
    guard let readIolog = logs.readIolog else { return }
    let units = plan.targets.map { status.units[Int($0.unit)] }
    var log = try ReplayLog(at: readIolog)
    if logs.replayNoStall { log = log.withoutTimes }
    let replay = ReplayPlan(
      log, on: plan.targets, grainSize: Int(units.map(\.blockSize).max() ?? 512), timeScale: logs.replayTimeScale)
    plan.sizes = RequestSizes(from: replay.grainSize, to: replay.longest)
    plan.replay = replay
  }

  /// Where the host with that number of so many logs what it submits, if it does.
  func addIolog(to plan: inout WorkloadPlan, on status: SubsystemStatus, host: Int, of hosts: Int) {
    guard let writeIolog = logs.writeIolog else { return }
    plan.iolog = IologPlan(
      path: hosts == 1 ? writeIolog : "\(writeIolog).\(host + 1)",
      names: plan.targets.map { target in
        let path = status.units[Int(target.unit)].path
        // The log separates words by spaces.
        return path.isEmpty || path.contains(where: \.isWhitespace) ? "unit\(target.unit)" : path
      })
  }

  private func part(
    of unit: SubsystemStatus.UnitStatus, _ sizes: RequestSizes, parts: Int
  ) throws(BatonError) -> WorkloadTarget {
    let grain = UInt64(sizes.grain)
    guard grain % unit.blockSize == 0 else {
      throw BatonError(
        .invalid, "\(requests.sizeOption) \(sizes.grain)",
        "is not a multiple of unit \(unit.unit)'s block size, \(unit.blockSize)")
    }
    let start = target.offset?.bytes ?? 0
    guard start % grain == 0 else {
      throw BatonError(.invalid, "--offset \(start)", "is not a multiple of the request size, \(grain) bytes")
    }
    guard start < unit.size else {
      throw BatonError(
        .invalid, "--offset \(start)", "is behind the end of unit \(unit.unit), which has \(unit.size) bytes")
    }
    let room = unit.size - start
    let size = min(target.size?.bytes ?? room, room) / grain * grain
    guard size / UInt64(parts) / grain * grain >= UInt64(sizes.max) else {
      let whose = parts > 1 ? "one of \(parts) parts of unit \(unit.unit) has" : "unit \(unit.unit) has"
      throw BatonError(
        .invalid, "\(requests.sizeOption) \(sizes.max)", "is more than \(whose), \(room / UInt64(parts)) bytes",
        fix: "give a smaller \(requests.sizeOption), or name another unit with --unit")
    }
    return WorkloadTarget(unit: UInt32(unit.unit), offset: start, size: size)
  }
}

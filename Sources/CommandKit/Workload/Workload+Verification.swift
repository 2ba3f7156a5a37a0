import Baton
import BatonSystem

// Verification: what is written carries stamps, and what is read must carry the right ones.
extension Workload {
  /// Notes what each grain of a request must hold, and stamps the data of a write.
  mutating func stamp(_ wanted: WantedRequest, _ place: (unit: UInt32, block: UInt64), _ entry: Int) {
    let size = plan.sizes.grain
    for index in 0..<wanted.grains {
      let last = written[wanted.grain + index, default: 0]
      let sequence = wanted.isRead ? last : last &+ 1
      sequences[entry * grainsMax + index] = sequence
      if wanted.isRead { continue }
      Stamp(unit: place.unit, block: place.block + UInt64(index), sequence: sequence)
        .write(host.arena.baseAddress! + entry * bufferSize + index * size, count: size)
    }
  }

  /// Checks what was read, or notes what was written.
  mutating func settle(_ request: Issued, _ entry: Int, isSuccess: Bool) {
    let sequences = entry * grainsMax..<entry * grainsMax + request.grains
    if request.isRead {
      if isSuccess, self.sequences[sequences].contains(where: { $0 > 0 }) {
        result.verifiedReads += 1
        check(request, entry)
      }
      return
    }
    for (index, place) in sequences.enumerated() {
      // The content after a failed write is unknown.
      written[request.grain + index] = isSuccess ? self.sequences[place] : nil
    }
  }

  /// Whether the grains that were read hold what was written there last, where that is known.
  @discardableResult
  private mutating func check(_ request: Issued, _ entry: Int) -> Bool {
    let size = plan.sizes.grain
    let place = grains.place(of: request.grain)
    for index in 0..<request.grains {
      let sequence = sequences[entry * grainsMax + index]
      if sequence == 0 { continue }
      let block = place.block + UInt64(index)
      let stamp = Stamp(unit: place.unit, block: block, sequence: sequence)
      let address = host.arena.baseAddress! + entry * bufferSize + index * size
      guard let mismatch = stamp.mismatch(address, count: size) else { continue }
      if result.mismatch == nil { result.mismatch = Self.name(place.unit, Int(block), size) + ": \(mismatch)" }
      return false
    }
    return true
  }

  package static func name(_ unit: UInt32, _ block: Int, _ blockSize: Int) -> String {
    "unit \(unit) block \(block) (bytes \(block * blockSize) to \((block + 1) * blockSize - 1))"
  }

  /// Reads every grain again that this run has written, each through the other controller than its neighbour, and
  /// checks it. `report` is called now and then, and may end it early.
  ///
  /// - Returns: grains checked.
  /// - Throws: `VerificationFailure` if one is not as it was written, `BatonError` if one cannot be read or no
  ///   controller is left.
  @discardableResult
  package mutating func verifyAll(_ report: () -> WorkloadStep = { .goOn }) throws -> UInt64 {
    precondition(plan.verifies, "nothing was stamped")
    var failure: BatonError?
    var patience = AnswerWait()
    let blocks = written.keys.sorted()
    var next = 0
    var outstanding = 0
    var turns = 0
    var isStopping = false
    while next < blocks.count && !isStopping || outstanding > 0 {
      while next < blocks.count, !isStopping, submitCheck(of: blocks[next], to: next & 1 == 0 ? .a : .b) {
        next += 1
        outstanding += 1
      }
      var progress = false
      while let completion = host.next() {
        progress = true
        outstanding -= 1
        let entry = Int(completion.cookie)
        freeEntries.append(entry)
        if completion.status == .success {
          if check(issued[entry], entry) { blocksVerified += 1 }
        } else {
          let place = grains.place(of: issued[entry].grain)
          failure = BatonError(
            .system, Self.name(place.unit, Int(place.block), plan.sizes.grain),
            "cannot be read: \(completion.status)")
        }
      }
      if result.mismatch != nil || failure != nil { isStopping = true }
      let now = monotonicNanoseconds()
      if progress { patience.answeredAt = now }
      turns += 1
      if turns & 0xff == 0 || !progress {
        switch report() {
        case .goOn: break
        case .finish: isStopping = true
        case .abandon: return blocksVerified
        }
      }
      if !progress {
        if let loss = patience.exhaustion(host, at: now, isFinishing: true) { throw loss }
        host.wait(nanoseconds: 20_000_000)
      }
    }
    if let mismatch = result.mismatch { throw VerificationFailure(description: mismatch) }
    if let failure { throw failure }
    return blocksVerified
  }

  /// Reads one grain again; false if there is no room now.
  private mutating func submitCheck(of grain: Int, to controller: ControllerIdentity) -> Bool {
    guard let entry = freeEntries.last else { return false }
    let place = grains.place(of: grain)
    let size = UInt64(plan.sizes.grain)
    let request = Request(
      .read, unit: place.unit, offset: place.block * size, length: size, buffer: UInt64(entry * bufferSize))
    guard host.submit(request, to: controller, cookie: UInt64(entry)) else { return false }
    freeEntries.removeLast()
    issued[entry] = Issued(isRead: true, grain: grain, grains: 1)
    sequences[entry * grainsMax] = written[grain, default: 0]
    return true
  }
}

#if Simulation
  import BatonController

  /// A simplification of a seed's scenario: the shrinking tries them one by one, and keeps those with which the run
  /// still fails.
  enum Edit: Equatable, CustomStringConvertible {
    case requests(Int)
    case hosts(Int)
    /// A life ends in no way of its own.
    case spare(seat: Int, life: Int)
    case skip(disturbance: Int)
    case without(Trouble)

    /// What a machine may do to those who run on it.
    enum Trouble: String, CaseIterable {
      case errors, retries, short, torn, stores, priorities, oddRequests, slowExits, lateTransfers
    }

    var description: String {
      switch self {
      case .requests(let count): "requests=\(count)"
      case .hosts(let count): "hosts=\(count)"
      case .spare(let seat, let life): "spare=\(seat).\(life)"
      case .skip(let index): "skip=\(index)"
      case .without(let trouble): "without=\(trouble.rawValue)"
      }
    }

    /// From the words of a command line.
    init?(_ text: some StringProtocol) {
      let parts = String(text).split(separator: "=", maxSplits: 1).map { String($0) }
      guard parts.count == 2 else { return nil }
      let numbers = parts[1].split(separator: ".").compactMap { Int($0) }
      switch (parts[0], numbers.count) {
      case ("requests", 1): self = .requests(numbers[0])
      case ("hosts", 1): self = .hosts(numbers[0])
      case ("spare", 2): self = .spare(seat: numbers[0], life: numbers[1])
      case ("skip", 1): self = .skip(disturbance: numbers[0])
      default:
        guard parts[0] == "without", let trouble = Trouble(rawValue: parts[1]) else { return nil }
        self = .without(trouble)
      }
    }

    func apply(to scenario: inout Scenario) {
      switch self {
      case .requests(let count):
        for index in scenario.hosts.indices {
          scenario.hosts[index].requests = min(scenario.hosts[index].requests, count)
        }
      case .hosts(let count):
        scenario.hosts = Array(scenario.hosts.prefix(max(count, 1)))
        // What happens to the others does not. Its place stays.
        for index in scenario.disturbances.indices {
          if let host = scenario.disturbances[index].host, host >= scenario.hosts.count {
            scenario.disturbances[index].kind = .pause(0)
          }
        }
      case .spare(let seat, let life):
        guard seat < scenario.lives.count, life < scenario.lives[seat].count else { return }
        scenario.lives[seat][life].fate = .none
      case .skip(let index):
        // Its place stays, so that the others keep their numbers.
        guard index < scenario.disturbances.count else { return }
        scenario.disturbances[index].kind = .pause(0)
      case .without(let trouble):
        switch trouble {
        case .errors: scenario.machine.error_odds = 0
        case .retries: scenario.machine.retry_odds = 0
        case .short: scenario.machine.short_odds = 0
        case .torn: scenario.machine.tear_odds = 0
        case .stores: scenario.machine.buffer_stores = 0
        case .priorities: scenario.machine.uses_priorities = false
        case .slowExits: scenario.machine.exit_delay_max = 0
        case .lateTransfers: scenario.machine.late_delay_max = 10_000
        case .oddRequests:
          for index in scenario.hosts.indices {
            for kind in 2..<scenario.hosts[index].weights.count { scenario.hosts[index].weights[kind] = 0 }
          }
        }
      }
    }

    /// Everything that might be left out of a scenario, the largest first.
    static func candidates(for scenario: Scenario) -> [Edit] {
      var candidates: [Edit] = []
      let most = scenario.hosts.map(\.requests).max() ?? 1
      var count = most / 16
      while count < most {
        if count > 0 { candidates.append(.requests(count)) }
        count = max(count * 2, 1)
      }
      if scenario.hosts.count > 1 { candidates.append(.hosts(1)) }
      for (seat, lives) in scenario.lives.enumerated() {
        for (life, plan) in lives.enumerated() where plan.fate != .none {
          candidates.append(.spare(seat: seat, life: life))
        }
      }
      for (index, each) in scenario.disturbances.enumerated() where each.kind != .pause(0) {
        candidates.append(.skip(disturbance: index))
      }
      for trouble in Trouble.allCases {
        var changed = scenario
        Edit.without(trouble).apply(to: &changed)
        if changed.description != scenario.description || trouble == .oddRequests {
          candidates.append(.without(trouble))
        }
      }
      return candidates
    }
  }
#endif

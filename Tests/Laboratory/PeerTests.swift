import Baton
import Testing

@testable import BatonLaboratory

@Suite("Peers: what their programs print is taken strictly, and failures are named")
struct PeerTests {
  private func figures(_ text: String, turns: UInt64 = 3, hasCurve: Bool = false) -> PeerFigures? {
    PeerFigures(parsing: text, turns: turns, hasCurve: hasCurve)
  }

  @Test("A figure, and a curve with it")
  func right() {
    #expect(figures("ns_per_request 12.50\n")?.nanosecondsPerTurn == 12.5)
    let curve = figures("ns_per_request 12.50\ntimer_ns 25\n0 1\n100 2\n", hasCurve: true)
    #expect(curve?.timerNanoseconds == 25)
    #expect(curve?.buckets == [.init(nanoseconds: 0, count: 1), .init(nanoseconds: 100, count: 2)])
  }

  @Test(
    "Anything else is no figure",
    arguments: [
      "", "\n", "ns_per_request 12.50", "ns_per_request\n", "ns_per_request x\n", "ns_per_request nan\n",
      "ns_per_request inf\n", "ns_per_request 0\n", "ns_per_request -1\n", "ns_per_request 1 \n", " ns_per_request 1\n",
      "ns_per_turn 1\n", "ns_per_request 1\nns_per_request 1\n", "ns_per_request 1\n\n", "warning\nns_per_request 1\n",
    ])
  func noFigure(_ text: String) { #expect(figures(text) == nil) }

  @Test(
    "Nor is a curve that contradicts itself",
    arguments: [
      "ns_per_request 1\n", "ns_per_request 1\ntimer_ns 1\n", "ns_per_request 1\n1 3\n",
      "ns_per_request 1\ntimer_ns 1\n1 2\n", "ns_per_request 1\ntimer_ns 1\n1 4\n",
      "ns_per_request 1\ntimer_ns 1\n2 1\n1 2\n", "ns_per_request 1\ntimer_ns 1\n1 1\n1 2\n",
      "ns_per_request 1\ntimer_ns 1\n1 3\n2 0\n", "ns_per_request 1\ntimer_ns 1\n1 -3\n",
      "ns_per_request 1\ntimer_ns 1\n1 \(UInt64.max)\n2 4\n", "ns_per_request 1\ntimer_ns 1\n1 3\n\n",
    ])
  func noCurve(_ text: String) { #expect(figures(text, hasCurve: true) == nil) }

  @Test("A curve that nobody asked for is no figure")
  func curveUnasked() { #expect(figures("ns_per_request 1\ntimer_ns 1\n1 3\n") == nil) }

  @Test("Each peer carries requests; rings and queues have nothing to hand over")
  func modes() {
    for peer in Peer.allCases {
      #expect(peer.supports(.roundTrip) && peer.supports(.throughput))
    }
    #expect(Peer.allCases.filter { $0.supports(.handOver) }.count == 6)
  }
}

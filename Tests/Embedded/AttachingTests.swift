import Baton
import BatonOwnership
import BatonTestSupport
import Glibc
import Testing

@Suite("Attaching: a host that waits for a controller")
struct AttachingTests {
  @Test("The only controller that was reached dies while it attaches: the host waits for the peer")
  func reachedOneDies() throws {
    let laboratory = try Laboratory()
    try laboratory.stop(.b)
    let host = TestHost(try Host(of: laboratory.subsystem))
    // a dies without having answered, and b serves from now on.
    laboratory.drop(.a)
    try laboratory.start(.b)
    let thread = TurningThread { [laboratory] in laboratory.poll(.b) }
    defer { thread.end() }
    try host.waitUntilAttached()
    #expect(host.isAttached(to: .b))
  }

  @Test("Where nobody answers, the host waits for as long as it was told, and says so")
  func nobodyAnswers() throws {
    let laboratory = try Laboratory()
    let host = TestHost(try Host(of: laboratory.subsystem))
    laboratory.drop(.a)
    laboratory.drop(.b)
    let error = #expect(throws: BatonError.self) { try host.waitUntilAttached(nanoseconds: 20_000_000) }
    #expect(error?.problem.contains("none answered within 20 ms") == true)
  }

  @Test("A subsystem that is destroyed meanwhile ends the wait at once")
  func destroyed() throws {
    let laboratory = try Laboratory()
    let host = TestHost(try Host(of: laboratory.subsystem))
    laboratory.drop(.a)
    laboratory.drop(.b)
    try laboratory.subsystem.destroy()
    let error = #expect(throws: BatonError.self) { try host.waitUntilAttached(nanoseconds: 60_000_000_000) }
    #expect(error?.code == .missing)
  }
}

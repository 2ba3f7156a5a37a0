import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import Glibc

// Orphans: recovered requests whose hosts have not come back, and the hosts that the controller waits for.
extension Controller {
  /// A host has come back: the controller answers requests with unknown outcome as such.
  mutating func bindRecovered(_ place: HostPlace) {
    for request in recovery.requests where request.pointee.origin.place == place && request.pointee.isOrphan {
      if isUnanswered(request) {
        channels.address(request.pointee.origin).pointee.beginRequest()
        answer(request, .controllerLost, term: 0)
      }
      end(request)
    }
  }

  /// The peer's journal held orphans whose hosts are attached here already.
  mutating func bindAttached() {
    recovery.beginAnsweringOrphans()
    for place in HostPlace.all where hosts[place].phase == .attached { bindRecovered(place) }
  }

  /// Now and then: gives up the requests of hosts whose process is gone.
  mutating func tendExpected() {
    if recovery.isEmpty { return }
    var isAlive = [Bool?](repeating: nil, count: Journal.hostPlaces)
    for request in recovery.requests {
      let place = request.pointee.origin.place
      guard hosts[place].phase == .expected, !request.pointee.isDone else { continue }
      if isAlive[place.number] == nil {
        let host = region.journal(of: identity).host(place.number).pointee
        isAlive[place.number] =
          host.start_time != 0 && ProcessIdentity.startTicks(of: "\(host.pid)") == host.start_time
          && !(host.pid == UInt64(getpid()) && EndedHosts.contains(hosts[place].identity))
      }
      // No host waits for it; and after the drain proof nothing of it reaches the storage any more.
      guard isAlive[place.number] == false else { continue }
      if request.pointee.isOrphan || functions.address(request.pointee.function.index).pointee.isDrained {
        end(request)
      }
    }
  }

  /// The place of a host that is not attached is free when none of its requests is under recovery any more.
  mutating func forget(_ place: HostPlace) {
    guard hosts[place].phase == .expected, !recovery.names(place) else { return }
    hosts.forget(place)
    region.journal(of: identity).host(place.number).pointee.identity = 0
    takeover.journal.forget(place)
  }

  /// Whether a request was given up, and came by a channel to that controller.
  func isOrphan(_ request: UnsafeMutablePointer<AcceptedRequest>, of owner: ControllerIdentity) -> Bool {
    request.pointee.isOrphan && request.pointee.origin.controller == owner
  }

  /// A new life of the peer joins: the orphans of its channels become its own. Their hosts will ask that life, and it
  /// must not take the orphans for new requests. Its journal, which has been read to its end, is written here for the
  /// last time.
  mutating func handOrphansOver() {
    if recovery.isEmpty { return }
    let journal = region.journal(of: identity.peer)
    let entries = JournalEntries(journal)
    // Every entry below the top has left the journal, and the entries above it were never used.
    var entry: Int32 = 0
    for request in recovery.requests where isOrphan(request, of: identity.peer) {
      let place = request.pointee.origin.place
      precondition(entry < Journal.capacity, "orphans stand in this controller's own journal, which is as large")
      journal.host(place.number).pointee = region.journal(of: identity).host(place.number).pointee
      if journal.top.loadRelaxed() <= UInt64(entry) { journal.top.storeReleasing(UInt64(entry) + 1) }
      entries[RequestIndex(entry)].enter(request.pointee, channel: request.pointee.origin)
      entry += 1
      end(request)
    }
    removeDone()
  }
}

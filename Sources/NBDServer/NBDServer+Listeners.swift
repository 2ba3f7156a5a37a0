import BatonChannel
import BatonController
import BatonRing
import BatonSystem
import CBatonShims
import Glibc

// Listening sockets: got from the peer or bound, handed to the peer, accepted on; and the peer's own, while this
// controller serves in its place. The peer holds each of them all the time, so the kernel lets clients wait, whichever
// controller dies: for a moment nobody accepts at the address, but its listening socket never closes.
extension NBDServer {
  /// After an accept that failed: descriptors or memory are short.
  private static var restNanoseconds: UInt64 { 100_000_000 }

  /// Work that is not needed in every turn.
  mutating func tend(_ controller: inout Controller, _ now: UInt64) {
    tending.begin(at: now, standsIn: controller.standsIn, serves: controller.isServing)
    if !acquisition.isDone, failure == nil, !controller.isLeaving { acquire(&controller, now) }
    if acquisition.isDone, controller.isServing { handOver(to: controller.peersLife) }
    if controller.isLeaving { bidFarewell(at: now) }
    tendClients(at: now)
    if lingering.count > 0 {
      lingering.tend(at: now)
      controller.setFrontEndConnections(clients.occupied + lingering.count)
    }
    listenForPeer(&controller)
    tendPeersListeners(controller)
    arm(&controller, now)
    waitForExtents(&controller)
  }

  // MARK: Acquiring them

  /// One step: asks the peer, or binds the sockets that it does not have.
  private mutating func acquire(_ controller: inout Controller, _ now: UInt64) {
    if acquisition.asked >= 0 {
      if takeAnswer() {
        acquisition.endAsking()
        bind(wasAnswered: true, &controller, now)
      } else if acquisition.asked >= 0, acquisition.isLate(at: now) {
        acquisition.endAsking()
        bind(wasAnswered: false, &controller, now)
      } else if acquisition.asked >= 0, !acquisition.isWaiting {
        acquisition.setWaiting(controller.ring.waitToRead(acquisition.asked, for: .handedListeners, index: 0))
      }
      return
    }
    guard acquisition.beginStep(at: now) else { return }
    // Bound by now, or there is none to bind.
    if missing.isEmpty { return bind(wasAnswered: false, &controller, now) }
    do throws(BatonError) {
      let socket = try ControlMessage.connect(
        path: subsystem.location.socket(of: identity.peer), to: identity.peer)
      // Any other process that listens there has no descriptors that this loop should close.
      guard controller.isPeer(over: socket.number) else {
        return bind(wasAnswered: true, &controller, now)
      }
      try ControlMessage.sendAttach(over: socket, kind: UInt32(BATON_ATTACH_ASK), descriptor: -1)
      acquisition.beginAsking(socket, at: now)
      acquisition.setWaiting(
        acquisition.isWaiting || controller.ring.waitToRead(acquisition.asked, for: .handedListeners, index: 0))
    } catch {
      // The peer is not running.
      bind(wasAnswered: error.code == .missing, &controller, now)
    }
  }

  /// The addresses without a socket.
  private var missing: [NBDAddress] {
    let there = listeners.own.compactMap { NBDAddress.text(of: $0.socket) }
    return options.addresses.filter { !there.contains($0.description) }
  }

  /// Reads the peer's answer. True when it is complete.
  private mutating func takeAnswer() -> Bool {
    while true {
      var message = baton_listener_message()
      var passed: [CInt] = []
      let count = ControlMessage.receive(over: acquisition.asked, &message, passed: &passed)
      let listener = OwnedDescriptor(passed.first ?? -1)
      for surplus in passed.dropFirst() { shim_close_foreign(surplus) }
      if count == -Int(EAGAIN) || count == -Int(EINTR) { return false }
      guard count == MemoryLayout<baton_listener_message>.size, message.magic == baton_host_magic,
        message.kind == UInt32(BATON_ATTACH_LISTENER)
      else {
        // The peer has gone, or refuses: ask again.
        acquisition.endAsking()
        return false
      }
      if listener.number < 0 { return true }
      // An unwanted one is closed here; the peer closes its copy when it is given the new ones.
      let text = NBDAddress.text(of: listener.number)
      if missing.contains(where: { $0.description == text }) {
        options.logger.info("controller \(identity): NBD clients come to \(text ?? "") as before")
        listeners.add(listener, isPeers: false)
      }
    }
  }

  private mutating func bind(wasAnswered: Bool, _ controller: inout Controller, _ now: UInt64) {
    for address in missing {
      do throws(BatonError) {
        listeners.add(try address.listen(), isPeers: false)
        options.logger.info("controller \(identity): NBD clients come to \(address)")
      } catch {
        let busyNanoseconds = acquisition.noteBusy(at: now)
        // The kernel may still be taking an earlier life's socket apart, or the peer may have it.
        let isPatient = error.code == .busy && busyNanoseconds < options.busyNanosecondsMax
        if isPatient || error.code == .busy && !wasAnswered { return }
        failure = error
        options.logger.critical("controller \(identity): cannot listen: \(error)")
        controller.beginStop()
        return
      }
    }
    acquisition.end()
    do throws(BatonError) {
      try addressFile(of: identity).write(options.addresses)
    } catch {
      // Clients come here all the same: the note is for the day when this controller is gone and its peer starts again.
      options.logger.warning("controller \(identity): cannot note its NBD addresses: \(error)")
    }
  }

  /// Listens where the peer used to, if the peer is gone and nobody has its sockets because this controller was killed
  /// while it stood in. Once for each time that it stands in.
  private mutating func listenForPeer(_ controller: inout Controller) {
    guard controller.standsIn, acquisition.isDone else {
      if !controller.standsIn { listeners.endStandingIn() }
      return
    }
    // A process of its own binds them itself, after it has asked for them here.
    if listeners.hasLookedForPeers || controller.isPeerRunning { return }
    listeners.lookForPeers()
    guard controller.peersListeners.isEmpty else { return }
    for address in addressFile(of: identity.peer).read() where !options.addresses.contains(address) {
      do throws(BatonError) {
        controller.keepPeersListener(try address.listen())
      } catch {
        // Another process listens there by now.
        options.logger.info("controller \(identity): not in place of controller \(identity.peer): \(error)")
      }
    }
  }

  // MARK: Handing them over

  /// Gives the peer's present life this controller's listening sockets, once.
  private mutating func handOver(to life: UInt64) {
    if life == listeners.handedTo { return }
    if life == 0 {
      listeners.setHandedTo(0)
      return
    }
    let own = listeners.own
    do throws(BatonError) {
      let socket = try ControlMessage.connect(
        path: subsystem.location.socket(of: identity.peer), to: identity.peer)
      for (number, listener) in own.enumerated() {
        try check(
          ControlMessage.sendListener(over: socket.number, listener.socket, number: number, count: own.count),
          "control socket", doing: "handing a listening socket over")
      }
      if own.isEmpty {
        try check(
          ControlMessage.sendListener(over: socket.number, -1, number: 0, count: 0), "control socket",
          doing: "saying that there is no listening socket")
      }
      listeners.setHandedTo(life)
    } catch {
      // Tried again in a moment; if the peer has gone, there is nobody to hand anything to.
      options.logger.debug("controller \(identity): \(error)")
    }
  }

  // MARK: The peer's

  /// While this controller stands in, the peer's clients come here.
  private mutating func tendPeersListeners(_ controller: borrowing Controller) {
    let isThere = listeners.hasPeers
    if controller.standsIn, !isThere {
      for listener in controller.peersListeners {
        // A copy: the controller closes its own when the peer hands over new ones.
        let copy = fcntl(listener, F_DUPFD_CLOEXEC, 0)
        if copy < 0 { continue }
        let text = NBDAddress.text(of: copy) ?? ""
        options.logger.info("controller \(identity): NBD clients of controller \(identity.peer) come here: \(text)")
        listeners.add(OwnedDescriptor(copy), isPeers: true)
      }
    } else if !controller.standsIn, isThere {
      listeners.closePeers()
    }
  }

  // MARK: Accepting

  /// Accepts where clients may come, and stops accepting where they may not.
  private mutating func arm(_ controller: inout Controller, _ now: UInt64) {
    let isReady = controller.isServing && host.pointee.isAttached(to: identity) && acquisition.isDone
    for index in listeners.indices where listeners[index].isOpen {
      let isWanted = isReady && (!listeners[index].isPeers || controller.standsIn)
      if isWanted, let waiting = listeners.takeWaiting(index) { take(waiting, of: index, &controller, now) }
      let number = UInt32(truncatingIfNeeded: index)
      if isWanted {
        guard !listeners[index].isArmed, listeners[index].waiting < 0, listeners[index].restsUntil <= now,
          hasPlace(isTCP: listeners[index].isTCP) || longestIdle(now) != nil
        else { continue }
        listeners.setArmed(
          index, controller.ring.accept(listeners[index].socket, for: .clientAccept, index: number))
      } else if listeners[index].isArmed, !listeners[index].isCancelled {
        listeners.setCancelled(index, controller.ring.cancel(.clientAccept, index: number))
      }
    }
    // Asked for again at once; this costs only further turns of this loop.
    if controller.isServing, !host.pointee.isAttached(to: identity) { tending.setDue() }
  }

  /// An accept has ended.
  mutating func accepted(_ index: Int, _ result: Int32, _ controller: inout Controller) {
    guard listeners.indices.contains(index) else { return }
    listeners.endAccept(index)
    tending.setDue()
    if result < 0 {
      // Ended on purpose, or a client that went before it was accepted: nothing of note.
      if result != -ECANCELED, result != -ECONNABORTED, result != -EINTR, result != -EAGAIN {
        listeners.rest(index, until: monotonicNanoseconds() + Self.restNanoseconds)
        options.logger.warning(
          "controller \(identity): cannot accept an NBD client: \(String(cString: strerror(-result)))")
      }
      return
    }
    if controller.isLeaving {
      // It comes again, to the controller that accepts then.
      close(result)
    } else {
      take(result, of: index, &controller, monotonicNanoseconds())
    }
  }

  /// A client that was accepted, now or before: it gets a place, or waits for one.
  private mutating func take(_ socket: CInt, of index: Int, _ controller: inout Controller, _ now: UInt64) {
    switch admit(socket, &controller, now) {
    case .admitted: break
    case .waits: listeners.keep(waiting: socket, index)
    case .refused: close(socket)
    }
  }
}

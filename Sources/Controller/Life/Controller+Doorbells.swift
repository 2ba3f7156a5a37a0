import BatonChannel
import BatonOwnership
import BatonSharedMemory
import BatonSubsystem
import BatonSystem
import CBatonShims
import Glibc

// Doorbells: waking the peer.
extension Controller {
  /// Rings the peer if it sleeps, because a word has changed that concerns it.
  mutating func ringPeer() {
    turn.due.remove(.peer)
    // Sync point "sleep": the words and hints are published before the look whether the peer sleeps.
    AsymmetricFence.light(supported: sleep.usesMembarrier)
    guard let bell = link.takePeerSleep() else { return }
    if bell == .word, link.ringPeer() {
      count(.peerDoorbells)
    } else {
      ringPeerAlways()
    }
  }

  /// Rings the peer, whether it sleeps or not: the peer then turns its loop, or it is silent.
  mutating func ringPeerAlways() {
    count(.peerDoorbells)
    if control.toPeer >= 0 {
      if ControlMessage.send(byte: CInt(BATON_MESSAGE_DOORBELL), over: control.toPeer) { return }
    }
    // Connecting wakes it as well as a byte does. A peer that does not run needs no waking.
    _ = connectToPeer()
  }

  /// Connects to the peer, in place of the connection that there may be. False when nobody listens.
  mutating func connectToPeer() -> Bool {
    if control.toPeer >= 0 { control.disposal.end(socket: control.toPeer) }
    control.toPeer = -1
    do throws(BatonError) {
      let socket = try ControlMessage.connect(path: control.peerSocketPath, to: identity.peer)
      try ControlMessage.sendAttach(over: socket, kind: UInt32(BATON_ATTACH_PEER), descriptor: -1)
      control.toPeer = socket.release()
      return true
    } catch {
      options.logger.debug("controller \(identity): cannot connect to the peer: \(error)")
      return false
    }
  }
}

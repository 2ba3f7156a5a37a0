import BatonSystem
import BatonTestSupport
import CBatonShims
import Glibc

/// A connection to a control socket whose other end is another process as the kernel has it: one that connected it and
/// is gone. What is said over it this process says.
func strangersConnection(to path: String) throws -> OwnedDescriptor {
  let socket = Glibc.socket(
    AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
  let connection = OwnedDescriptor(try check(socket < 0 ? -errno : socket, path, doing: "making a socket"))
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, connection.number, 3)
  let words = ["perl", "-MSocket", "-e", "open(S, '+<&=3') and connect(S, sockaddr_un($ARGV[0])) or exit 1", path]
  var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  var pid: pid_t = 0
  let failure = posix_spawnp(&pid, "perl", &actions, nil, &arguments, environ)
  try check(-failure, "perl", doing: "starting it")
  var status: CInt = 0
  while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  guard status == 0 else { throw BatonError(.system, "perl", "could not connect to \(path): status \(status)") }
  return connection
}

/// Sends one record with several descriptors: 0 or more, or -errno.
func send(_ bytes: [UInt8], _ descriptors: [CInt], over socket: CInt) -> Int {
  // cmsg(3): length, level and type, and then the descriptors.
  let head = 16
  var control = [UInt8](repeating: 0, count: head + (descriptors.count * 4 + 7) / 8 * 8)
  control.withUnsafeMutableBytes { space in
    space.storeBytes(of: head + descriptors.count * 4, as: Int.self)
    space.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: CInt.self)
    space.storeBytes(of: 1 /* SCM_RIGHTS */, toByteOffset: 12, as: CInt.self)
    for (index, descriptor) in descriptors.enumerated() {
      space.storeBytes(of: descriptor, toByteOffset: head + index * 4, as: CInt.self)
    }
  }
  var payload = bytes
  return payload.withUnsafeMutableBytes { payload in
    control.withUnsafeMutableBytes { control in
      var part = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
      return withUnsafeMutablePointer(to: &part) { part in
        var message = msghdr()
        message.msg_iov = part
        message.msg_iovlen = 1
        if !descriptors.isEmpty {
          message.msg_control = control.baseAddress
          message.msg_controllen = control.count
        }
        let sent = sendmsg(socket, &message, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL))
        return sent < 0 ? -Int(errno) : sent
      }
    }
  }
}

/// TCP sockets whose close waits for seconds: they linger over data that nobody reads. `kept` holds the other ends
/// open.
final class LingeringSockets {
  private(set) var sockets: [CInt] = []
  private var kept: [CInt] = []

  init(count: Int, seconds: CInt) throws {
    let listener = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    kept.append(listener)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    try withUnsafeMutablePointer(to: &address) { pointer in
      try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        guard bind(listener, pointer, length) == 0, listen(listener, 64) == 0,
          getsockname(listener, pointer, &length) == 0
        else { throw BatonError(result: -Int(errno), "socket", doing: "listening") }
        let zeroes = [UInt8](repeating: 0, count: 65536)
        for _ in 0..<count {
          let socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
          guard connect(socket, pointer, length) == 0 else {
            throw BatonError(result: -Int(errno), "socket", doing: "connecting")
          }
          kept.append(accept(listener, nil, nil))
          var lingering = linger(l_onoff: 1, l_linger: seconds)
          setsockopt(socket, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
          while Glibc.send(socket, zeroes, zeroes.count, CInt(MSG_DONTWAIT)) > 0 {}
          sockets.append(socket)
        }
      }
    }
  }

  /// Lets go of them here, where a copy is on its way: that waits for nobody.
  func letGo() {
    for socket in sockets { close(socket) }
    sockets = []
  }

  deinit {
    for descriptor in kept { close(descriptor) }
    letGo()
  }
}

/// How often this thread has waited for something.
var voluntarySwitches: Int {
  var usage = rusage()
  getrusage(1 /* RUSAGE_THREAD */, &usage)
  return usage.ru_nvcsw
}

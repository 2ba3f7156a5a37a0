import Baton
import BatonCommandKit
import BatonSystem
import CBatonShims
import Glibc

/// As much of HTTP/1.1 as a scrape needs: one GET or HEAD for each connection, which then ends. One client after the
/// other, each with a short time: nobody but the collector on this machine is expected.
///
/// A package would bring Foundation into the executable that runs in production, which is several times as large as all
/// of it; and a request line is what is read here.
struct MetricsServer: ~Copyable {
  private let socket: OwnedDescriptor
  private let path: String?

  /// A client that has not sent its request by then is dropped.
  private static let patienceMilliseconds: CInt = 1000
  /// More than the headers of any collector.
  private static let requestMax = 16_384

  /// Listens on `unix:PATH` or a port of the loopback.
  init(_ address: NBDAddress) throws(BatonError) {
    let fix = "stop the process that listens there, or give another address with --listen"
    let number: CInt
    switch address {
    case .unix(let path):
      if shim_stream_is_answered(path) == 1 {
        throw BatonError(.busy, "\(address)", "another process listens there", fix: fix)
      }
      var facts = stat()
      // Only a socket is removed: any other file there makes `bind` fail.
      if lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFSOCK { unlink(path) }
      number = try check(shim_stream_listen_unix(path), "\(address)", doing: "listening", fix: fix)
      self.path = path
    case .tcp(let host, let port):
      guard host.hasPrefix("127.") || host == "::1" else {
        throw BatonError(
          .invalid, "\(address)", "is not on the loopback: metrics have no access control",
          fix: "use tcp:PORT or unix:PATH, and a proxy in front of it")
      }
      number = try check(shim_stream_listen_tcp(host, port), "\(address)", doing: "listening", fix: fix)
      path = nil
    }
    socket = OwnedDescriptor(number)
  }

  deinit { if let path { unlink(path) } }

  /// Answers until a signal comes. `page` makes the text for `/metrics`.
  func run(_ interruption: borrowing Interruption, page: () throws -> String) throws {
    while true {
      interruption.wait(orReadable: [socket.number], milliseconds: -1)
      if interruption.take() != 0 { return }
      var waiting = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
      if poll(&waiting, 1, 0) <= 0 { continue }
      let number = accept(socket.number, nil, nil)
      if number < 0 {
        // One that has gone already, or no descriptor for it now.
        if errno == EMFILE || errno == ENFILE { usleep(10_000) }
        continue
      }
      let client = OwnedDescriptor(number)
      guard fcntl(number, F_SETFD, FD_CLOEXEC) == 0, fcntl(number, F_SETFL, O_NONBLOCK) == 0 else { continue }
      if let request = Self.request(client.number) { Self.send(Self.answer(request, page), to: client.number) }
    }
  }

  /// The first line of a request whose headers have all come; nil: none came in time.
  private static func request(_ client: CInt) -> String? {
    let deadline = monotonicNanoseconds() + UInt64(patienceMilliseconds) * 1_000_000
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while bytes.count < requestMax {
      if bytes.firstRange(of: Array("\r\n\r\n".utf8)) != nil {
        return String(decoding: bytes.prefix { $0 != 13 }, as: UTF8.self)
      }
      let now = monotonicNanoseconds()
      var waiting = pollfd(fd: client, events: Int16(POLLIN), revents: 0)
      guard now < deadline, poll(&waiting, 1, CInt((deadline - now) / 1_000_000 + 1)) > 0 else { return nil }
      let count = read(client, &buffer, buffer.count)
      if count < 0, errno == EINTR || errno == EAGAIN { continue }
      if count <= 0 { return nil }
      bytes += buffer[..<count]
    }
    return ""
  }

  /// The whole answer to a request line.
  static func answer(_ line: String, _ page: () throws -> String) -> String {
    let words = line.split(separator: " ")
    guard words.count == 3, words[2].hasPrefix("HTTP/1.") else {
      return response("400 Bad Request", "This is no HTTP request.\n")
    }
    guard words[0] == "GET" || words[0] == "HEAD" else {
      return response("405 Method Not Allowed", "Only GET.\n", more: "Allow: GET, HEAD\r\n")
    }
    let isHead = words[0] == "HEAD"
    switch words[1].prefix(while: { $0 != "?" }) {
    case "/metrics":
      do {
        return response("200 OK", try page(), type: "text/plain; version=0.0.4; charset=utf-8", isHead: isHead)
      } catch {
        return response("503 Service Unavailable", "\(error)\n", isHead: isHead)
      }
    case "/": return response("200 OK", "Baton's metrics are at /metrics\n", isHead: isHead)
    default: return response("404 Not Found", "Metrics are at /metrics\n", isHead: isHead)
    }
  }

  private static func response(
    _ status: String, _ body: String, type: String = "text/plain; charset=utf-8", more: String = "",
    isHead: Bool = false
  ) -> String {
    "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\(more)"
      + "Connection: close\r\n\r\n" + (isHead ? "" : body)
  }

  private static func send(_ text: String, to client: CInt) {
    let deadline = monotonicNanoseconds() + UInt64(patienceMilliseconds) * 1_000_000
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { write(client, $0.baseAddress!, $0.count) }
      if count > 0 {
        bytes = bytes.dropFirst(count)
        continue
      }
      if count < 0, errno == EINTR { continue }
      let now = monotonicNanoseconds()
      var waiting = pollfd(fd: client, events: Int16(POLLOUT), revents: 0)
      guard count < 0, errno == EAGAIN, now < deadline, poll(&waiting, 1, patienceMilliseconds) > 0 else { return }
    }
  }
}

import Foundation
import Testing

@testable import BatonCommandKit

@Suite("Log lines: plain, with times, as JSON")
struct LogLineTests {
  @Test("Each form of one message")
  func forms() {
    let moment = "2026-11-22T05:46:37.123456Z"
    func line(_ form: StandardErrorLog.Form, _ message: String = "host 1 left") -> String {
      StandardErrorLog.line(form, "baton", .info, message, at: moment)
    }
    #expect(line(.plain) == "baton: host 1 left")
    #expect(StandardErrorLog.line(.plain, "baton", .warning, "x", at: "") == "baton: warning: x")
    #expect(line(.timed) == "05:46:37.123456 baton: info: host 1 left")
    #expect(
      line(.json) == #"{"time":"2026-11-22T05:46:37.123456Z","level":"info","label":"baton","message":"host 1 left"}"#)
  }

  @Test("Whatever a message holds, its line is one object")
  func escaped() throws {
    let message = "a \"b\" \\ c\nd\t\u{1}é"
    let line = StandardErrorLog.line(.json, "baton", .error, message, at: WallClock.moment)
    #expect(!line.contains("\n"))
    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String]
    #expect(object?["message"] == message && object?["level"] == "error")
    #expect(object?["time"]?.count == 27 && object?["time"]?.hasSuffix("Z") == true)
  }
}

import Baton
import BatonCommandKit
import BatonSystem
import Glibc

/// The terminal as a screen that is drawn as a whole: no echo, no cursor, keys one by one. What was on the terminal
/// before is shown again when this goes.
struct TerminalScreen: ~Copyable {
  private let before: termios

  /// - Throws: an error if the terminal cannot be set.
  init() throws(BatonError) {
    var present = termios()
    guard tcgetattr(STDIN_FILENO, &present) == 0 else {
      throw BatonError(result: -Int(errno), "terminal", doing: "reading its settings")
    }
    var raw = present
    // Signals from the keyboard still come; but one that stops the process would leave the terminal as it is here.
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
    withUnsafeMutableBytes(of: &raw.c_cc) { bytes in
      bytes[Int(VSUSP)] = 0
      bytes[Int(VMIN)] = 0
      bytes[Int(VTIME)] = 0
    }
    guard tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0 else {
      throw BatonError(result: -Int(errno), "terminal", doing: "setting it")
    }
    before = present
    // The alternate screen, without a cursor (xterm's control sequences).
    Console.write("\u{1b}[?1049h\u{1b}[?25l", to: STDOUT_FILENO)
  }

  deinit {
    Console.write("\u{1b}[?25h\u{1b}[?1049l", to: STDOUT_FILENO)
    var before = before
    tcsetattr(STDIN_FILENO, TCSANOW, &before)
  }

  /// Draws all lines, from the top.
  func draw(_ lines: [String]) {
    var text = "\u{1b}[H"
    for (index, line) in lines.enumerated() {
      // The first and the last line in reverse.
      let isBar = index == 0 || index == lines.count - 1
      text += (isBar ? "\u{1b}[7m" : "") + line + "\u{1b}[K" + (isBar ? "\u{1b}[0m" : "")
      if index < lines.count - 1 { text += "\r\n" }
    }
    Console.write(text + "\u{1b}[J", to: STDOUT_FILENO)
  }

  /// The keys that were pressed since the last look.
  func keys() -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = read(STDIN_FILENO, &buffer, buffer.count)
    return count > 0 ? Array(buffer[..<count]) : []
  }
}

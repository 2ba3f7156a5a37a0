import BatonSystem

/// The backing of a unit, as its creator names it.
///
///     PATH[:SIZE]      a file or a block device; with SIZE, a file that does not exist yet is created
///     mem:SIZE         shared memory, gone with the subsystem
///     null:SIZE        nothing: writes vanish, reads leave the buffer as it is
///                      (a PATH that begins with a bare word and a colon is written ./word:...)
///     fault:RULES:REST any of these with faults; RULES are comma-separated:
///                      delay=5ms      every operation begins that much later, at most 10s
///                      error-after=N  every operation after the first N fails with an I/O error
///                      error-every=N  every Nth operation fails with an I/O error
///                      short=BYTES    one system call transfers at most so much
///     as:NAME:REST     any of these with a name, by which NBD clients find it, as well as by its number
public struct UnitSpecification: Sendable, Equatable {
  /// The location of a unit's blocks.
  public enum Backing: Sendable, Equatable {
    /// A regular file or a block device.
    case path(String)
    /// Shared memory.
    case memory
    /// Nowhere.
    case null
  }

  /// The location of the blocks.
  public var backing: Backing
  /// Size in bytes; nil if the file or device itself determines it.
  public var size: UInt64?
  /// The faults on purpose.
  public var faults: FaultPlan
  /// Whether the page cache is used where O_DIRECT could be.
  public var isBuffered = false
  /// The name that NBD clients may use instead of `unitN`; empty: none.
  public var name = ""

  /// Bytes of a name, at most.
  public static let nameMax = 255

  /// From the parts.
  public init(_ backing: Backing, size: UInt64? = nil, faults: FaultPlan = FaultPlan(), isBuffered: Bool = false) {
    self.backing = backing
    self.size = size
    self.faults = faults
    self.isBuffered = isBuffered
  }

  /// From a command line's word.
  public init(parsing text: String) throws(BatonError) {
    var rest = text[...]
    var faults = FaultPlan()
    var name = ""
    if rest.hasPrefix("as:") {
      rest = rest.dropFirst("as:".count)
      guard let colon = rest.firstIndex(of: ":") else {
        throw Self.invalid(text, "has a name and nothing behind it")
      }
      name = String(rest[..<colon])
      rest = rest[rest.index(after: colon)...]
      try Self.checkName(name, within: text)
    }
    if rest.hasPrefix("fault:") {
      rest = rest.dropFirst("fault:".count)
      guard let colon = rest.firstIndex(of: ":") else {
        throw Self.invalid(text, "has rules for faults and nothing behind them")
      }
      faults = try FaultPlan(parsing: rest[..<colon], within: text)
      rest = rest[rest.index(after: colon)...]
    }
    let colon = rest.lastIndex(of: ":")
    let size = colon.flatMap { ByteCount.parse(rest[rest.index(after: $0)...]) }
    let head = size == nil ? rest : rest[..<colon!]
    if head.isEmpty { throw Self.invalid(text, "names no file") }
    if size == nil, Backing.named.contains(where: { rest == $0.word || rest.hasPrefix("\($0.word):") }) {
      let word = colon.map { rest[rest.index(after: $0)...] } ?? ""
      if word.isEmpty { throw Self.invalid(text, "names no size") }
      throw Self.invalid(text, "has the size '\(word)', not a whole number of bytes, K, M, G or T, such as 1536k")
    }
    try Self.checkWord(before: head, hasSize: size != nil, rest, within: text)
    let named = Backing.named.first { $0.word == head }
    self.init(named?.backing ?? .path(String(head)), size: size, faults: faults)
    self.name = name
  }

  /// Refuses an unknown bare word before a colon: a typing error would otherwise create a file of that name.
  private static func checkWord(
    before head: Substring, hasSize: Bool, _ rest: Substring, within text: String
  ) throws(BatonError) {
    let words = Backing.named.map(\.word)
    if words.contains(String(head)) { return }
    let word = head.prefix { $0 != ":" }
    let isBare = word.utf8.allSatisfy { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ".") }
    guard isBare, hasSize || word.count < head.count else { return }
    let meant = (words + ["fault", "as"]).min { distance($0, word) < distance($1, word) }
    let isOurs = meant.map { $0 == word } ?? false
    // A letter or two: more is another word.
    let suggestion = meant.flatMap { (1...2).contains(distance($0, word)) && word.count > 1 ? $0 : nil }
    throw BatonError(
      .invalid, "unit '\(text)'",
      isOurs
        ? "has '\(word):' in the wrong place"
        : "has '\(word):', which is neither \(words.map { "\($0):, " }.joined())fault: nor as:",
      fix: (suggestion.map { "did you mean '\($0)\(rest.dropFirst(word.count))'? " } ?? "")
        + "a file of that name is written './\(rest)'")
  }

  /// The number of letters that must be changed, added or removed to turn one word into the other.
  private static func distance(_ one: some StringProtocol, _ other: some StringProtocol) -> Int {
    let other = Array(other)
    var row = Array(0...other.count)
    for (index, letter) in one.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for place in other.indices {
        let changed = diagonal + (letter == other[place] ? 0 : 1)
        diagonal = row[place + 1]
        row[place + 1] = min(changed, diagonal + 1, row[place] + 1)
      }
    }
    return row[other.count]
  }

  /// A name that a client can ask for, and that does not look like the number of a unit.
  private static func checkName(_ name: String, within text: String) throws(BatonError) {
    guard isName(name) else {
      throw invalid(
        text, "has a name '\(name)', which is not 1 to \(nameMax) bytes without blanks, or is the number of a unit")
    }
  }

  /// Whether it is a name that a unit can have.
  public static func isName(_ name: String) -> Bool {
    let isNumber = name.hasPrefix("unit") && name.utf8.dropFirst(4).allSatisfy { (0x30...0x39).contains($0) }
    return (1...nameMax).contains(name.utf8.count) && name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f } && !isNumber
  }

  static func invalid(_ text: some StringProtocol, _ problem: String) -> BatonError {
    let words = Backing.named.map { "\($0.word):SIZE" }
    let all = (["PATH[:SIZE]"] + words.dropLast()).joined(separator: ", ") + (words.last.map { " or \($0)" } ?? "")
    return BatonError(
      .invalid, "unit '\(text)'", problem,
      fix: "a unit is \(all), with fault:RULES: before it for faults on purpose, and "
        + "as:NAME: before that for a name")
  }
}

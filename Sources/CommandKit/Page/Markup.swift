/// A piece of a page: well-formed, and escaped wherever text enters it.
///
/// Text becomes markup by a string literal or by `Markup(_:)`, both of which escape, elements by `tag`. There is no
/// other way in, so a name of a case, a unit or a processor cannot break the page or add to it.
package struct Markup: ExpressibleByStringInterpolation, ExpressibleByArrayLiteral {
  /// The text for the file.
  package private(set) var source: String

  /// Text, escaped.
  package init(_ text: String) { source = Self.escaped(text) }
  package init(stringLiteral text: String) { self.init(text) }

  /// One after the other.
  package init(_ pieces: [Markup]) { source = pieces.map(\.source).joined() }
  package init(arrayLiteral pieces: Markup...) { self.init(pieces) }

  /// An element. One without contents is closed at once, which SVG takes for every element and HTML for those that
  /// never have any.
  fileprivate init(element name: String, _ attributes: KeyValuePairs<String, String?>, _ contents: Markup?) {
    source = "<\(name)"
    for (key, value) in attributes {
      if let value { source += " \(key)=\"\(Self.escaped(value))\"" }
    }
    source += contents.map { ">\($0.source)</\(name)>" } ?? "/>"
  }

  /// A style sheet, which is not escaped: it may hold neither `<` nor `&`.
  package static func style(_ sheet: StaticString) -> Markup {
    var style = Markup("")
    style.source = "<style>\(sheet)</style>"
    return style
  }

  /// A table in a box of its own, which scrolls where the page must not.
  package func scrolling(_ title: String) -> Markup {
    tag("div", ["class": "scroll", "role": "region", "aria-label": title, "tabindex": "0"], self)
  }

  package static func + (one: Markup, other: Markup) -> Markup { [one, other] }

  /// Characters that markup has a use for become references. Control characters that neither HTML nor XML may hold
  /// become the replacement character.
  private static func escaped(_ text: String) -> String {
    var escaped = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": escaped.append(contentsOf: "&amp;".unicodeScalars)
      case "<": escaped.append(contentsOf: "&lt;".unicodeScalars)
      case ">": escaped.append(contentsOf: "&gt;".unicodeScalars)
      case "\"": escaped.append(contentsOf: "&quot;".unicodeScalars)
      case "'": escaped.append(contentsOf: "&#39;".unicodeScalars)
      case "\t", "\n": escaped.append(scalar)
      case "\u{0}"..<" ", "\u{7f}"..."\u{9f}", "\u{fffe}", "\u{ffff}": escaped.append("\u{fffd}")
      default: escaped.append(scalar)
      }
    }
    return String(escaped)
  }
}

/// An element with contents, even if they are empty. An attribute that is nil is left out.
package func tag(_ name: String, _ attributes: KeyValuePairs<String, String?> = [:], _ contents: Markup...) -> Markup {
  Markup(element: name, attributes, Markup(contents))
}

/// An element that never has contents.
package func void(_ name: String, _ attributes: KeyValuePairs<String, String?> = [:]) -> Markup {
  Markup(element: name, attributes, nil)
}

/// What every page has in common: a document that needs nothing else, and its heading.
package enum PageFrame {
  /// The whole file, HTML that is well-formed XML too.
  package static func document(title: String, _ body: Markup...) -> String {
    let page = tag(
      "html", ["lang": "en", "xmlns": "http://www.w3.org/1999/xhtml"],
      tag(
        "head", [:], void("meta", ["charset": "utf-8"]),
        void("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
        void("meta", ["name": "color-scheme", "content": "light dark"]), tag("title", [:], Markup(title)),
        Markup.style(PageStyle.sheet)),
      tag("body", [:], Markup(body)))
    return "<!DOCTYPE html>\n\(page.source)\n"
  }

  /// The heading: what the page is about, and its most important figures.
  package static func heading(
    eyebrow: String, title: String, lead: String, tiles: [(name: String, value: String, note: String)],
    _ more: Markup = []
  ) -> Markup {
    tag(
      "header", [:],
      tag(
        "div", ["class": "inner"], tag("p", ["class": "eyebrow"], Markup(eyebrow)), tag("h1", [:], Markup(title)),
        tag("p", ["class": "lead"], Markup(lead)),
        tag("dl", ["class": "tiles"], Markup(tiles.map { tile($0.name, $0.value, $0.note) })), more))
  }

  private static func tile(_ name: String, _ value: String, _ note: String) -> Markup {
    tag(
      "div", [:], tag("dt", [:], Markup(name)), tag("dd", ["class": "value"], Markup(value)),
      tag("dd", ["class": "note"], Markup(note)))
  }
}

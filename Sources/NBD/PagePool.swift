/// The pages of one connection's memory that are in use: one bit per page.
///
/// Runs of pages are taken first-fit from the bottom, so that a connection with little in flight touches little memory,
/// and the same again and again. Cost: for one page a look at the first word that is not full; for a run one look at
/// each run in use before it. No allocation after `init`.
package struct PagePool: ~Copyable {
  /// Bytes of a page.
  package static let pageSize = 4096

  private let words: UnsafeMutablePointer<UInt64>
  /// Number of pages.
  package let count: Int
  /// Pages that are not in use.
  package private(set) var free: Int
  /// No word before this one has a free page.
  private var firstWord = 0

  private var wordCount: Int { (count + 63) / 64 }

  /// A pool of so many pages, none in use.
  package init(count: Int) {
    precondition(count > 0, "a pool without pages")
    self.count = count
    free = count
    words = .allocate(capacity: (count + 63) / 64)
    clear()
  }

  deinit { words.deallocate() }

  /// Frees all pages.
  package mutating func clear() {
    words.initialize(repeating: 0, count: wordCount)
    // Bits behind the last page are never free.
    if count % 64 != 0 { words[wordCount - 1] = ~0 << UInt64(count % 64) }
    free = count
    firstWord = 0
  }

  /// Takes a run of pages whose first one is a multiple of `alignment`.
  ///
  /// - Returns: the first page, or -1 if there is no such run at present.
  package mutating func take(_ pages: Int, alignment: Int = 1) -> Int {
    precondition(pages > 0 && alignment > 0, "a run of no pages")
    if pages > free { return -1 }
    if pages == 1, alignment == 1 {
      while words[firstWord] == ~0 { firstWord += 1 }
      let bit = (~words[firstWord]).trailingZeroBitCount
      words[firstWord] |= 1 << UInt64(bit)
      free -= 1
      return firstWord * 64 + bit
    }
    var start = (firstWord * 64 + alignment - 1) / alignment * alignment
    while start + pages <= count {
      let used = nextUsed(from: start, before: start + pages)
      if used == start + pages {
        mark(start, pages, isUsed: true)
        free -= pages
        return start
      }
      start = (used + alignment) / alignment * alignment
    }
    return -1
  }

  /// Frees a run.
  package mutating func giveBack(_ first: Int, _ pages: Int) {
    mark(first, pages, isUsed: false)
    free += pages
    firstWord = min(firstWord, first / 64)
  }

  /// The first page in use from `start` on, or `end`.
  private func nextUsed(from start: Int, before end: Int) -> Int {
    var page = start
    while page < end {
      let rest = words[page / 64] >> UInt64(page % 64)
      if rest != 0 { return min(page + rest.trailingZeroBitCount, end) }
      page = (page / 64 + 1) * 64
    }
    return end
  }

  private func mark(_ first: Int, _ pages: Int, isUsed: Bool) {
    precondition(first >= 0 && pages > 0 && first + pages <= count, "pages outside of the pool")
    var page = first
    let end = first + pages
    while page < end {
      let bit = page % 64
      let part = min(64 - bit, end - page)
      let mask: UInt64 = (~0 >> UInt64(64 - part)) << UInt64(bit)
      if isUsed {
        words[page / 64] |= mask
      } else {
        precondition(words[page / 64] & mask == mask, "pages were given back that were not in use")
        words[page / 64] &= ~mask
      }
      page += part
    }
  }
}

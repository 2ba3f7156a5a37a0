/// A table of fixed size: its memory is taken once and given back with it. Debug builds check every look-up.
///
/// In place of a bare pointer, where a loop looks something up for each request: an array would count references and
/// check for exclusive access there. A look-up outside of the table is a broken invariant of ours; what comes from
/// others is checked before it becomes an index.
@frozen
public struct Table<Element>: ~Copyable {
  @usableFromInline let base: UnsafeMutablePointer<Element>
  /// Entries.
  public let count: Int

  /// So many entries of that value.
  @inlinable
  public init(repeating value: Element, count: Int) {
    self.count = count
    base = Self.allocate(count)
    base.initialize(repeating: value, count: count)
  }

  /// So many entries, each made from its index.
  @inlinable
  public init(count: Int, _ element: (Int) -> Element) {
    self.count = count
    base = Self.allocate(count)
    for index in 0..<count { (base + index).initialize(to: element(index)) }
  }

  @inlinable
  deinit {
    base.deinitialize(count: count)
    base.deallocate()
  }

  /// Memory that begins with a cache line: an entry of one line's size touches one line, and not two.
  @usableFromInline
  static func allocate(_ count: Int) -> UnsafeMutablePointer<Element> {
    precondition(count >= 0, "a table of less than nothing")
    return UnsafeMutableRawPointer.allocate(
      byteCount: max(count, 1) * MemoryLayout<Element>.stride, alignment: max(MemoryLayout<Element>.alignment, 64)
    ).bindMemory(to: Element.self, capacity: max(count, 1))
  }

  /// The entry with that index, where it lies.
  @inlinable @inline(__always)
  public func address(_ index: Int) -> UnsafeMutablePointer<Element> {
    assert(index >= 0 && index < count, "an index outside of its table")
    return base + index
  }

  /// The entry with that index.
  @inlinable
  public subscript(_ index: Int) -> Element {
    @inline(__always) unsafeAddress { UnsafePointer(address(index)) }
    @inline(__always) nonmutating unsafeMutableAddress { address(index) }
  }

  /// The indices of all entries.
  @inlinable
  public var indices: Range<Int> { 0..<count }
}

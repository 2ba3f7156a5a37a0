import CBatonShims

/// Where the parts of a region with so many units lie. A region in which they lie elsewhere is damaged.
struct RegionLayout {
  let unitCount: Int

  static var membershipOffset: UInt64 { 4096 }
  static var controllersOffset: UInt64 { membershipOffset + UInt64(MemoryLayout<baton_membership_record>.stride) }
  static var journalsOffset: UInt64 { controllersOffset + 2 * UInt64(MemoryLayout<baton_controller_record>.stride) }
  static var linksOffset: UInt64 { journalsOffset + 2 * UInt64(Journal.byteCount) }
  static var linkBytes: UInt64 { UInt64(BATON_LINK_CAPACITY) * 8 }
  static var functionsOffset: UInt64 { linksOffset + 2 * linkBytes }
  var unitsOffset: UInt64 {
    Self.functionsOffset + UInt64(unitCount + 1) * UInt64(MemoryLayout<baton_function_record>.stride)
  }
  var stringsOffset: UInt64 { unitsOffset + UInt64(unitCount) * UInt64(MemoryLayout<baton_unit_record>.stride) }

  /// Writes the offsets into the header of a new region.
  func describe(in header: inout baton_region_header) {
    header.unit_count = UInt32(unitCount)
    header.membership_offset = Self.membershipOffset
    header.controllers_offset = Self.controllersOffset
    header.journals_offset = Self.journalsOffset
    header.links_offset = Self.linksOffset
    header.functions_offset = Self.functionsOffset
    header.units_offset = unitsOffset
    header.strings_offset = stringsOffset
  }

  /// Whether the parts lie where `describe` puts them. Nothing is reached through an offset before this.
  static func isSound(_ header: baton_region_header) -> Bool {
    guard header.unit_count > 0, header.unit_count <= UInt32(Region.unitsMax) else { return false }
    let layout = RegionLayout(unitCount: Int(header.unit_count))
    return header.membership_offset == membershipOffset && header.controllers_offset == controllersOffset
      && header.journals_offset == journalsOffset && header.links_offset == linksOffset
      && header.functions_offset == functionsOffset && header.units_offset == layout.unitsOffset
      && header.strings_offset == layout.stringsOffset
      && header.strings_count <= header.size && header.strings_offset + header.strings_count <= header.size
  }
}

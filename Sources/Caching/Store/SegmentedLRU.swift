// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Which stored answer has to make room: a segmented LRU (R. Karedla, J. S. Love, B. G. Wherry, "Caching strategies to improve disk system
/// performance", IEEE Computer 27(3), 1994).
///
///     new ──► [ probation ] ──hit──► [ protected ] ──overflow──┐
///     evicted ◄──oldest──┘    ▲                                │
///                             └────────────────────────────────┘
///
/// What is asked for once never pushes out what is asked for twice: a scan through the site costs the probation segment and no more. Both
/// segments are doubly linked lists over one array, so every step takes the same short time. Sizes are bytes.
struct SegmentedLRU {
    enum Segment: UInt8 { case free, probation, protected }

    private struct Node {
        var segment = Segment.free
        var cost = 0
        /// Towards the newer, towards the older; -1 is none.
        var newer = -1
        var older = -1
    }

    private struct List {
        var newest = -1
        var oldest = -1
        var bytes = 0
    }

    private var nodes: [Node] = []
    private var free: [Int] = []
    private var probation = List()
    private var protected = List()
    /// Bytes that the protected segment may hold: 80 % of the whole, Karedla's range being 60 to 90.
    private(set) var protectedLimit: Int

    init(limit: Int) { protectedLimit = SegmentedLRU.share(of: limit) }

    private static func share(of limit: Int) -> Int { limit / 5 * 4 }

    var bytes: Int { probation.bytes + protected.bytes }
    var protectedBytes: Int { protected.bytes }

    /// The next to go.
    var oldest: Int? { probation.oldest >= 0 ? probation.oldest : protected.oldest >= 0 ? protected.oldest : nil }

    mutating func setLimit(_ limit: Int) {
        protectedLimit = SegmentedLRU.share(of: limit)
        shrinkProtected()
    }

    /// Takes a new one in and returns its slot.
    mutating func insert(cost: Int) -> Int {
        let slot: Int
        if let spare = free.popLast() {
            slot = spare
        } else {
            slot = nodes.count
            nodes.append(Node())
        }
        nodes[slot].cost = cost
        link(slot, .probation)
        return slot
    }

    /// It was asked for.
    mutating func touch(_ slot: Int) {
        if nodes[slot].segment == .protected, protected.newest == slot { return }
        unlink(slot)
        link(slot, .protected)
        shrinkProtected()
    }

    mutating func remove(_ slot: Int) {
        unlink(slot)
        nodes[slot] = Node()
        free.append(slot)
    }

    func segment(of slot: Int) -> Segment { nodes.indices.contains(slot) ? nodes[slot].segment : .free }

    private mutating func shrinkProtected() {
        while protected.bytes > protectedLimit, protected.oldest >= 0, protected.oldest != protected.newest {
            let slot = protected.oldest
            unlink(slot)
            link(slot, .probation)
        }
    }

    private mutating func link(_ slot: Int, _ segment: Segment) {
        var list = self[segment]
        nodes[slot].segment = segment
        nodes[slot].newer = -1
        nodes[slot].older = list.newest
        if list.newest >= 0 { nodes[list.newest].newer = slot } else { list.oldest = slot }
        list.newest = slot
        list.bytes += nodes[slot].cost
        self[segment] = list
    }

    private mutating func unlink(_ slot: Int) {
        let node = nodes[slot]
        if node.segment == .free { return }
        var list = self[node.segment]
        if node.newer >= 0 { nodes[node.newer].older = node.older } else { list.newest = node.older }
        if node.older >= 0 { nodes[node.older].newer = node.newer } else { list.oldest = node.newer }
        list.bytes -= node.cost
        self[node.segment] = list
    }

    private subscript(segment: Segment) -> List {
        get { segment == .protected ? protected : probation }
        set { if segment == .protected { protected = newValue } else { probation = newValue } }
    }
}

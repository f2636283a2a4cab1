// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Reads the answer section of a DNS message (RFC 1035 §4) for the records that a question asked for.
///
/// Whoever answers may send anything, so each read is checked, names are bounded, and compression pointers only lead backwards. The
/// records of the wanted type count whatever name they stand under: behind a CNAME they stand under another, and who may lie about
/// that may lie about the addresses. An alias' time to live bounds the answer's.
struct DNSMessage {
    private let bytes: [UInt8]
    private var at = 0

    /// More records than this are not read: no upstream has as many endpoints.
    static let recordLimit = 256
    /// RFC 2181 §8: a time to live with its first bit set is zero.
    private static let timeToLiveLimit: UInt32 = 1 << 31

    private struct Malformed: Error {}

    private enum RecordType {
        static let cname: UInt16 = 5
        static let dname: UInt16 = 39
    }

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    static func answer(_ bytes: [UInt8], to record: NameQuestion.Record) -> NameAnswer {
        var message = DNSMessage(bytes)
        do throws(Malformed) { return try message.read(record) } catch { return .failed(.malformed) }
    }

    private mutating func read(_ wanted: NameQuestion.Record) throws(Malformed) -> NameAnswer {
        try skip(4)  // identity and flags are the resolver's business
        let questions = try number16()
        let answers = try number16()
        try skip(4)
        for _ in 0..<questions {
            try skipName()
            try skip(4)
        }
        var records: [NameRecord] = []
        var least = UInt32.max
        for _ in 0..<answers {
            try skipName()
            let type = try number16()
            let isInternet = try number16() == 1
            let timeToLive = UInt32(try number16()) << 16 | UInt32(try number16())
            let length = Int(try number16())
            guard length <= bytes.count - at else { throw Malformed() }
            let end = at + length
            let isWanted = isInternet && type == wanted.rawValue
            if isWanted || isInternet && (type == RecordType.cname || type == RecordType.dname) {
                least = min(least, timeToLive < DNSMessage.timeToLiveLimit ? timeToLive : 0)
            }
            if isWanted && records.count < DNSMessage.recordLimit {
                records.append(try value(of: wanted, length: length))
                guard at == end else { throw Malformed() }
            }
            at = end
        }
        return records.isEmpty ? .failed(.empty) : .records(records, timeToLive: .seconds(Int64(least)))
    }

    private mutating func value(of record: NameQuestion.Record, length: Int) throws(Malformed) -> NameRecord {
        switch record {
        case .a:
            guard length == 4 else { throw Malformed() }
            let bits = UInt32(try number16()) << 16 | UInt32(try number16())
            return .address(SocketAddress(host: .v4(bits), port: 0))
        case .aaaa:
            guard length == 16 else { throw Malformed() }
            var groups: [UInt64] = []
            for _ in 0..<8 { groups.append(UInt64(try number16())) }
            let high = groups[0..<4].reduce(0) { $0 << 16 | $1 }
            let low = groups[4..<8].reduce(0) { $0 << 16 | $1 }
            return .address(SocketAddress(host: .v6(high: high, low: low, scope: 0), port: 0).folded)
        case .srv:
            let priority = try number16()
            let weight = try number16()
            let port = try number16()
            return .service(target: try name(), port: port, priority: priority, weight: weight)
        }
    }

    // MARK: Pieces

    private mutating func number16() throws(Malformed) -> UInt16 {
        guard at + 2 <= bytes.count else { throw Malformed() }
        defer { at += 2 }
        return UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
    }

    private mutating func skip(_ n: Int) throws(Malformed) {
        guard n <= bytes.count - at else { throw Malformed() }
        at += n
    }

    /// The name that a record stands under, which may have any octets.
    private mutating func skipName() throws(Malformed) {
        while true {
            guard at < bytes.count else { throw Malformed() }
            let length = Int(bytes[at])
            if length & 0xC0 == 0xC0 { return try skip(2) }
            guard length < 64 else { throw Malformed() }
            try skip(1 + length)
            if length == 0 { return }
        }
    }

    /// A name in lower case, its labels joined by dots. A label with anything but letters, digits, `-` and `_` is refused: no host
    /// has such a name, and it would stand in a log and in `Host`.
    private mutating func name() throws(Malformed) -> String {
        var text: [UInt8] = []
        var place = at
        var hasJumped = false
        while true {
            guard place < bytes.count else { throw Malformed() }
            let length = Int(bytes[place])
            if length & 0xC0 == 0xC0 {
                guard place + 1 < bytes.count else { throw Malformed() }
                let target = (length & 0x3F) << 8 | Int(bytes[place + 1])
                // Backwards only, so that no name goes round in a circle.
                guard target < place else { throw Malformed() }
                if !hasJumped { at = place + 2 }
                hasJumped = true
                place = target
                continue
            }
            guard length < 64, place + 1 + length <= bytes.count else { throw Malformed() }
            if length == 0 {
                if !hasJumped { at = place + 1 }
                return String(decoding: text, as: UTF8.self)
            }
            if !text.isEmpty { text.append(UInt8(ascii: ".")) }
            for byte in bytes[place + 1..<place + 1 + length] {
                guard let letter = DNSMessage.letter(byte) else { throw Malformed() }
                text.append(letter)
            }
            guard text.count <= 253 else { throw Malformed() }
            place += 1 + length
        }
    }

    private static func letter(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            byte
        default: nil
        }
    }
}
